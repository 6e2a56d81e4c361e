"""The input of an evaluation: source events of files, then a heartbeat that ends the last epoch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from models.workspaces import WorkspaceConfig
from streams.arrow_schemas import arrow_schema
from streams.identity import limits

HEARTBEAT = limits.HEARTBEAT

Batches = Iterable[tuple[str, pa.RecordBatch]]


def closed(
    batches: Batches, workspaces: Mapping[str, WorkspaceConfig]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Pass batches on, then one heartbeat a workspace and topic used, past its last epoch.

    Events of the future do not count: identity refuses them, and a heartbeat behind them too.
    """
    latest = pa.scalar(time.time_ns() // 1000 + limits.MAX_AHEAD_US, pa.timestamp("us"))
    newest: dict[tuple[str, str], int] = {}
    for topic, values in batches:
        if "workspace" in values.schema.names and "occurred_at" in values.schema.names:
            known = values.filter(pc.less_equal(values.column("occurred_at"), latest))
            for name in pc.unique(known.column("workspace")).to_pylist():
                mine = known.filter(pc.equal(known.column("workspace"), name))
                at = pc.max(mine.column("occurred_at")).value
                newest[topic, name] = max(at, newest.get((topic, name), at))
        yield topic, values
    for (topic, name), at in sorted(newest.items()):
        if name in workspaces:
            yield topic, _heartbeat(workspaces[name], at)


def count_events(values: pa.RecordBatch) -> int:
    """How many records of files a batch holds: all but heartbeats."""
    if "kind" not in values.schema.names:
        return int(values.num_rows)
    return int(pc.sum(pc.not_equal(values.column("kind"), HEARTBEAT)).as_py() or 0)


def _heartbeat(config: WorkspaceConfig, last_us: int) -> pa.RecordBatch:
    at = last_us + config.workspace.allowed_lateness_us + config.workspace.epoch_us
    moment = datetime.fromtimestamp(at / 1e6, UTC).replace(tzinfo=None)
    row: dict[str, Any] = {
        "event_id": f"heartbeat-{config.name}-{at}",
        "workspace": config.name,
        "source": "evaluation",
        "source_type": "api",
        "kind": HEARTBEAT,
        "occurred_at": moment,
        "received_at": moment,
        "identifiers": [],
        "numbers": [],
        "texts": [],
    }
    return pa.RecordBatch.from_pylist([row], schema=arrow_schema("source_event"))
