"""Made-up source events that pass through every kernel of identity."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from streams.arrow_schemas import arrow_schema
from streams.engine.columns import InputBatch

_AT_US = 1_700_000_000_000_000


def made_up_batch(workspace: str) -> InputBatch:
    """Three events of which the last one links the leads of the others."""
    people = [[("user_id", "1")], [("email", "a@b.example")]]
    people.append(people[0] + people[1])
    rows = [
        {
            "event_id": str(number),
            "workspace": workspace,
            "source": "",
            "source_type": "unknown",
            "kind": "warm",
            "occurred_at": _AT_US,
            "received_at": _AT_US,
            "identifiers": identifiers,
            "numbers": [],
            "texts": [],
        }
        for number, identifiers in enumerate(people)
    ]
    n = len(rows)
    return InputBatch(
        "crm.events",
        0,
        np.arange(n, dtype=np.int64),
        np.zeros(n, np.int64),
        pa.array([workspace.encode()] * n, pa.binary()),
        pa.RecordBatch.from_pylist(rows, schema=arrow_schema("source_event")),
    )
