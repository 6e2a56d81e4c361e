"""Source events of a made-up CRM, and what an evaluation of them gave."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scoring_support import CATALOGUE, DAY, SECOND, START, target

from connectors.files import shipped
from models.workspaces import Workspace, WorkspaceConfig
from streams.arrow_schemas import arrow_schema
from streams.evaluation.local import Run

CRM = WorkspaceConfig(
    Workspace("acme", epoch="6h", allowed_lateness="1h"),
    CATALOGUE,
    (
        target("conversion", 20.0, stage_kinds=("call",), every_days=3.0),
        target("upsell", 5.0, max_pending=1),
    ),
)


def crm(seed: int, leads: int, signal: float, silent: float = 0.3) -> list[dict[str, Any]]:
    """Events of leads, by time of arrival; ``signal`` is how much the age tells of the outcome,
    ``silent`` the share of those lost of which nobody says so.

    As in a CRM's export, what is known only afterwards stands on the closing event: the amount of
    those that were won.
    """
    draw = np.random.default_rng(seed)
    events = []

    def add(who: int, at: float, kind: str, **fields: Any) -> None:
        moment = START + round(at * DAY) // SECOND * SECOND
        events.append(
            {
                "event_id": f"{who}-{len(events)}",
                "workspace": "acme",
                "source": "files/crm",
                "source_type": "crm",
                "kind": kind,
                "occurred_at": moment,
                "received_at": moment,
                "identifiers": [("crm_id", f"c{who}")],
                "numbers": list(fields.items()),
                "texts": [("plan", str(draw.choice(["free", "pro"])))],
            }
        )

    for who in range(leads):
        born, age = draw.uniform(0, leads / 40), draw.uniform(20, 60)
        add(who, born, "visit", age=age)
        for _ in range(draw.integers(0, 4)):
            add(who, born + draw.exponential(3.0), "call")
        won = draw.random() < 1 / (1 + np.exp(-signal * (age - 40) / 10))
        closed = born + 1 + draw.exponential(6.0)
        if won:
            add(who, closed, "won", spend=draw.uniform(1_000, 2_000))
        elif draw.random() >= silent:
            add(who, closed, "lost", spend=0.0)
        add(who, closed + 1, "visit", spend=2_000.0 * won)
    return sorted(events, key=lambda row: row["received_at"])


def batches(events: list[dict[str, Any]], size: int = 4096) -> Iterator[tuple[str, pa.RecordBatch]]:
    whole = pa.RecordBatch.from_pylist(events, schema=arrow_schema("source_event"))
    for start in range(0, len(events), size):
        yield "crm.events", whole.slice(start, size)


def excerpt(name: str, rows: int, folder: Path) -> Path:
    """The first rows of a shipped excerpt."""
    path = folder / f"{name}.csv"
    with gzip.open(shipped.shipped_excerpt(name) or "", "rt") as lines:
        path.write_text("".join(line for line, _ in zip(lines, range(rows + 1), strict=False)))
    return path


def exact(run: Run) -> tuple[str, bytes]:
    """Every label and its prediction, bit for bit."""
    table = run.rows.table.drop_columns(["features"])
    return repr(table.to_pylist()), run.rows.features().tobytes()
