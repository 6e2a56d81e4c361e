"""Made-up timeline records that pass through every kernel of scoring and its ledger."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from models.workspaces import WorkspaceConfig
from streams.arrow_schemas import arrow_schema
from streams.engine.columns import InputBatch

_AT_US = 1_700_000_000_000_000
_DAY_US = 86_400_000_000
_LEADS = ("0" * 31 + "1", "0" * 31 + "2")


def made_up_batch(config: WorkspaceConfig) -> InputBatch:
    """Events of two leads, one of which is won, then a tick behind the other's deadline."""
    first = config.targets[0]
    won = [*first.positive_kinds, *first.negative_kinds][0]
    who = [(_LEADS[0], "warm"), (_LEADS[1], "warm"), (_LEADS[1], won), ("", "")]
    deadline = _AT_US + 2 * max(t.horizon_us for t in config.targets) + _DAY_US
    rows: list[dict[str, Any]] = []
    for number, (lead, kind) in enumerate(who):
        at = _AT_US + number if lead else deadline
        rows.append(
            {
                "record_kind": "event" if lead else "tick",
                "workspace": config.name,
                "lead_id": lead,
                "event_id": str(number),
                "kind": kind,
                "source": "warm",
                "occurred_at": at,
                "received_at": at,
                "numbers": [],
                "texts": [],
                "late": False,
                "watermark": at,
                "epoch": at // config.workspace.epoch_us,
                "source_topic": "crm.events",
                "source_partition": 0,
                "source_offset": number,
            }
        )
    n = len(rows)
    return InputBatch(
        "lead.timeline",
        0,
        np.arange(n, dtype=np.int64),
        np.zeros(n, np.int64),
        pa.array([lead.encode() for lead, _ in who], pa.binary()),
        pa.RecordBatch.from_pylist(rows, schema=arrow_schema("timeline_event")),
    )
