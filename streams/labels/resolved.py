"""Feature rows that became labels, and labels that were taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int64]

WAITING, WON, LOST, MATURED, DROPPED = range(5)
"""Status of a row. A dropped one has no label, for it is younger than its lead's outcome."""
RETRACTED = "retracted"
OUTCOMES = np.array(["", "won", "lost", "matured", RETRACTED], object)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Rows that became labels, or whose label is taken back, in the order in which they did.

    Attributes:
        rows: Copies of the kept rows ``[n]``.
        event_ids: UTF-8 of the event as of which each row was taken ``[n]``.
        outcome: ``won``, ``lost`` or ``matured`` of each, ``retracted`` where it is taken back.
        positive: Whether it counts as positive.
        resolved_at: µs of event time.
        event: Number of the event that resolved it, -1 for a tick.
    """

    rows: NDArray[np.void]
    event_ids: NDArray[np.object_]
    outcome: NDArray[np.object_]
    positive: NDArray[np.bool_]
    resolved_at: I8
    event: I8

    def of_target(self, index: int) -> Resolved:
        """Only the rows of one target."""
        mine = self.rows["target"] == index
        return Resolved(
            self.rows[mine],
            self.event_ids[mine],
            self.outcome[mine],
            self.positive[mine],
            self.resolved_at[mine],
            self.event[mine],
        )

    @staticmethod
    def joined(parts: Sequence[Resolved]) -> Resolved:
        """One after the other."""
        if len(parts) == 1:
            return parts[0]
        return Resolved(
            np.concatenate([p.rows for p in parts]),
            np.concatenate([p.event_ids for p in parts]),
            np.concatenate([p.outcome for p in parts]),
            np.concatenate([p.positive for p in parts]),
            np.concatenate([p.resolved_at for p in parts]),
            np.concatenate([p.event for p in parts]),
        )
