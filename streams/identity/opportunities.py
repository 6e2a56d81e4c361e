"""The records of ``opportunities``: the newest state of each deal, as of its latest event.

An event that wins or loses a target (``positive_kinds``, ``negative_kinds`` of ``targets.yaml``)
says won or lost; every other event leaves the deal open. Amount, currency and stage are those of
the event.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.workspaces import WorkspaceConfig
from streams.engine.columns import OutputBatch
from streams.identity.flat import lengths, mask

TOPIC = "opportunities"

_WORDS = pa.array(["open", "won", "lost"])
_OPEN, _WON, _LOST = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Which kinds of event win and lose a deal; a kind that does both wins."""

    won: pa.Array
    lost: pa.Array

    @classmethod
    def of(cls, config: WorkspaceConfig) -> Outcomes:
        """Outcomes over those targets of a workspace that are about leads and a deal with them."""
        deals = [t for t in config.targets if t.entity == "lead" and not t.positive_by_deadline]
        won = {kind for target in deals for kind in target.positive_kinds}
        lost = {kind for target in deals for kind in target.negative_kinds}
        return cls(pa.array(sorted(won), pa.string()), pa.array(sorted(lost), pa.string()))


def opportunities(
    events: pa.RecordBatch,
    workspace: NDArray[np.int64],
    outcomes: list[Outcomes],
    schema: pa.Schema,
) -> list[OutputBatch]:
    """Records for the events that are about a deal, in order.

    Args:
        events: ``[n]`` timeline events.
        workspace: ``[n]`` number of each event's workspace in ``outcomes``.
        outcomes: Of each workspace.
        schema: Arrow schema of the topic.
    """
    column = events.column("opportunity_id")
    rows = np.flatnonzero(lengths(column) > 0)
    if not len(rows):
        return []
    about = events.take(pa.array(rows))
    status = np.full(len(rows), _OPEN)
    for number in np.unique(workspace[rows]).tolist():
        mine, kind = workspace[rows] == number, about.column("kind")
        status[mine & mask(pc.is_in(kind, outcomes[number].lost))] = _LOST
        status[mine & mask(pc.is_in(kind, outcomes[number].won))] = _WON
    values = pa.RecordBatch.from_arrays(
        [
            _WORDS.take(pa.array(status)) if field.name == "status" else about.column(field.name)
            for field in schema
        ],
        schema=schema,
    )
    keys = pc.binary_join_element_wise(
        about.column("workspace"), about.column("opportunity_id"), "/"
    )
    return [OutputBatch(TOPIC, keys.cast(pa.binary()), values)]
