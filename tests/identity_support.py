"""Source events, batches and readings that the identity tests share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from models.features.catalogue import load_catalogue
from models.targets import Target
from models.workspaces import Workspace, WorkspaceConfig
from schemas.registry import schema_id, schema_json
from streams.engine.changelog import Changelog, ChangeRecords
from streams.engine.codec import Codec
from streams.engine.columns import InputBatch, Outputs
from streams.engine.hashing import murmur2
from streams.engine.processor import Context
from streams.engine.records import RecordSlice
from streams.engine.state import State
from streams.identity.processor import IdentityProcessor

HOUR = 3_600_000_000
MINUTE = 60_000_000
START = 472_222 * HOUR  # some full hour in 2023
PARTITIONS = 3

CODEC = Codec(schema_json("source_event"), schema_id("source_event"))
CONTEXT = Context(0, {"lead.timeline": PARTITIONS}, None, "live", 0)


def workspace(name: str, **settings: Any) -> WorkspaceConfig:
    catalogue = load_catalogue("infra/dev/workspaces/shop/features.yaml")
    target = Target("conversion", ("won",), 30.0, ("lost",))
    settings = {"epoch": "1h", "allowed_lateness": "10m", "dedup_window": 100, **settings}
    return WorkspaceConfig(Workspace(name, **settings), catalogue, (target,))


def processor(*configs: WorkspaceConfig, **kwargs: Any) -> IdentityProcessor:
    configs = configs or (workspace("shop"),)
    return IdentityProcessor({config.name: config for config in configs}, **kwargs)


def event(event_id: str, at: int = START, **fields: Any) -> dict[str, Any]:
    given = {
        "event_id": event_id,
        "workspace": "shop",
        "source": "web/site",
        "source_type": "web",
        "kind": "page_view",
        "occurred_at": at,
        "received_at": at,
        "identifiers": {"anonymous_id": "a1"},
        "account": None,
        "numbers": {"price": 2.5},
        "texts": {"campaign": "spring"},
        "amount_minor": None,
        "currency": None,
        "opportunity_id": None,
        "stage": None,
        "url": None,
        "time_zone": None,
    }
    assert set(fields) <= set(given)
    return {**given, **fields}


def batch(
    events: Sequence[dict[str, Any]],
    first_offset: int = 0,
    keys: Sequence[bytes | None] | None = None,
    log_ms: int = 0,
) -> InputBatch:
    def plain(value: Any) -> Any:
        return list(value.items()) if isinstance(value, dict) else value

    rows = [{name: plain(value) for name, value in e.items()} for e in events]
    if keys is None:
        keys = [e["workspace"].encode() for e in events]
    return InputBatch(
        "web.events",
        2,
        np.arange(first_offset, first_offset + len(rows), dtype=np.int64),
        np.full(len(rows), log_ms, np.int64),
        pa.array(keys, pa.binary()),
        pa.RecordBatch.from_pylist(rows, schema=CODEC.arrow_schema),
    )


class Reading:
    """Everything that some batches gave, as a subscriber of each partition sees it."""

    def __init__(self) -> None:
        self.partitions: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.opportunities: list[dict[str, Any]] = []
        self.rejected: dict[int, tuple[str, str]] = {}

    def add(self, batch: InputBatch, outputs: Outputs) -> None:
        self.add_records(outputs)
        for rejection in outputs.rejections:
            offset = int(batch.offsets[rejection.row])
            assert offset not in self.rejected
            self.rejected[offset] = (rejection.error_class, rejection.message)

    def add_records(self, outputs: Outputs) -> None:
        for out in outputs.records:
            rows = [{"key": k, **row} for k, row in zip(_texts(out.keys), _rows(out), strict=True)]
            if out.topic == "opportunities":
                assert out.partition is None
                self.opportunities += rows
                continue
            assert out.topic == "lead.timeline"
            assert len(rows) > 0
            places = murmur2(out.keys, PARTITIONS).tolist()
            for row, place in zip(rows, places, strict=True):
                if out.partition is not None and row["record_kind"] != "tick":
                    assert out.partition == place
                self.partitions[place if out.partition is None else out.partition].append(row)

    def timeline(self, *kinds: str) -> list[dict[str, Any]]:
        """Records of all partitions by source offset; ticks once for each partition."""
        rows = [row for p in sorted(self.partitions) for row in self.partitions[p]]
        chosen = [row for row in rows if row["record_kind"] in (kinds or ("event",))]
        return sorted(chosen, key=lambda row: row["source_offset"])

    def lead(self, event_id: str) -> str:
        (row,) = [row for row in self.timeline() if row["event_id"] == event_id]
        return str(row["lead_id"])

    def classes(self) -> dict[int, str]:
        return {offset: error_class for offset, (error_class, _) in self.rejected.items()}


def _texts(keys: pa.Array) -> list[str]:
    return [key.decode() if isinstance(key, bytes) else key for key in keys.to_pylist()]


def _rows(out: Any) -> list[dict[str, Any]]:
    values = out.values
    columns = [c.cast(pa.int64()) if pa.types.is_timestamp(c.type) else c for c in values.columns]
    return pa.RecordBatch.from_arrays(columns, names=values.schema.names).to_pylist()


def run(
    identity: IdentityProcessor,
    events: Sequence[dict[str, Any]],
    cuts: Iterable[int] = (),
    state: State | None = None,
    reading: Reading | None = None,
    first_offset: int = 0,
) -> Reading:
    """Process events in the batches that the cuts make."""
    state = identity.new_state() if state is None else state
    reading = Reading() if reading is None else reading
    whole = batch(events, first_offset)
    bounds = sorted({0, len(events), *(c for c in cuts if 0 < c < len(events))})
    for start, stop in pairwise(bounds):
        part = whole.rows(start, stop)
        reading.add(part, identity.process(part, state, CONTEXT))
    return reading


def contents(state: State) -> dict[str, Any]:
    """The state as plain values, without regard to row numbers."""
    found: dict[str, Any] = {f"blob {name}": state.blobs.get(name) for name in state.blobs}
    for name, table in state.tables.items():
        rows = table.live_rows()
        keys = [tuple(key) for key in table.keys[rows].tolist()]
        found[name] = dict(zip(keys, table.rows[rows].tolist(), strict=True))
    return found


def restored(identity: IdentityProcessor, state: State, log: ChangeRecords) -> State:
    """What a restart finds: append the changes of `state` to `log`, read all of it back."""
    changelog = Changelog(state)
    for more in (changelog.layout_records(), changelog.take_changes()):
        log.extend(more)
    fresh = identity.new_state()
    Changelog(fresh).apply(record_slice(log))
    return fresh


def record_slice(log: ChangeRecords) -> RecordSlice:
    """Records in one buffer, as a fetch would bring them."""
    pieces = [piece for pair in zip(log.keys, log.values, strict=True) for piece in pair]
    length = np.array([-1 if piece is None else len(piece) for piece in pieces], np.int64)
    end = np.cumsum(np.maximum(length, 0))
    start = end - np.maximum(length, 0)
    n = len(log.keys)
    return RecordSlice(
        "identity-changelog",
        0,
        0,
        np.frombuffer(b"".join(piece or b"" for piece in pieces), np.uint8),
        np.arange(n, dtype=np.int64),
        np.zeros(n, np.int64),
        start[::2].copy(),
        length[::2].copy(),
        start[1::2].copy(),
        length[1::2].copy(),
        n,
    )
