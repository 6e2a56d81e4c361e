"""Why each score is not the lead's last one: what the lead did, passing time, what models learned.

With f the present model and x the lead's row: model = f(x_last) - logit_last, time = f(x_last aged
to now) - f(x_last), event = f(x_now) - f(x_last aged). They add up to the change. Where the model
is the same as at the last score, f(x_last) is logit_last and the model's part exactly 0; where time
changed nothing in the row, its part is exactly 0. So few rows more than the present ones are
scored: `Earlier` says which, before anything is scored, and `split` makes the parts afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Moved:
    """What moved each score since the lead's last one ``[n]``; NaN at its first."""

    last_logit: F8
    event: F8
    time: F8
    model: F8

    @classmethod
    def untold(cls, n: int) -> Moved:
        """Of n rows: nothing."""
        nothing = np.full(n, np.nan)
        return cls(nothing, nothing, nothing, nothing)


class Earlier:
    """The leads' rows before each of n events, and what the present models say of them.

    Args:
        state: Table of leads with ``last_logit`` and ``last_model`` of each target.
        target: Number of the target.
        rows: Row of each event's lead ``[n]``.
        models: ``Model.code`` of what scores each event ``[n]``; kept in the state.
        before: Rows as of the lead's last score ``[n, C]``.
        aged: The same rows as of now ``[n, C]``.
    """

    def __init__(
        self, state: NDArray[np.void], target: int, rows: I8, models: I8, before: F4, aged: F4
    ) -> None:
        n = len(rows)
        self._logits, self._target, self._rows = state["last_logit"], target, rows
        self._before, self._aged = before, aged
        self._seen, self._stale = np.empty(n, np.bool_), np.empty(n, np.bool_)
        self._moved = np.empty(n, np.bool_)
        self._said_before, self._said_aged = np.empty(n), np.empty(n)
        _plan(
            self._logits, state["last_model"], target, rows, models, before, aged, self._seen,
            self._stale, self._moved,
        )  # fmt: skip

    def with_rows(self, at: I8 | slice, rows: F4) -> tuple[F4, I8, I8]:
        """The present rows of events ``at``, and behind them the earlier ones to be scored.

        Returns:
            All of these, then which events' rows before and which events' aged rows follow.
        """
        stale, moved = _chosen(at, self._stale), _chosen(at, self._moved)
        if not len(stale) and not len(moved):
            return rows, stale, moved
        return np.concatenate((rows, self._before[stale], self._aged[moved])), stale, moved

    def say(self, stale: I8, moved: I8, logits: F8) -> None:
        """Take the logits of what :meth:`with_rows` put behind the present rows."""
        self._said_before[stale] = logits[: len(stale)]
        self._said_aged[moved] = logits[len(stale) :]

    def split(self, logits: F8) -> Moved:
        """Split the change of each score ``[n]``; the state keeps the logits."""
        n = len(logits)
        moved = Moved(np.empty(n), np.empty(n), np.empty(n), np.empty(n))
        _split(
            self._logits, self._target, self._rows, logits, self._seen, self._stale, self._moved,
            self._said_before, self._said_aged, moved.last_logit, moved.event, moved.time,
            moved.model,
        )  # fmt: skip
        return moved


def _chosen(at: I8 | slice, flags: Flags) -> I8:
    """The events among ``at`` that have the flag."""
    if isinstance(at, slice):
        return np.flatnonzero(flags[at]) + int(at.start)
    chosen: I8 = at[flags[at]]
    return chosen


@njit(nogil=True, cache=True)
def _plan(
    last_logit: F8,
    last_model: I8,
    target: int,
    rows: I8,
    models: I8,
    before: F4,
    aged: F4,
    seen: Flags,
    stale: Flags,
    moved: Flags,
) -> None:
    left, right = before.view(np.int32), aged.view(np.int32)  # equal bits score equally
    for i in range(len(rows)):
        row = rows[i]
        seen[i] = not np.isnan(last_logit[row, target])
        stale[i] = seen[i] and last_model[row, target] != models[i]
        last_model[row, target] = models[i]
        if not seen[i]:
            last_logit[row, target] = 0.0  # seen from its next event on
        moved[i] = False
        if seen[i]:
            for column in range(left.shape[1]):
                if left[i, column] != right[i, column]:
                    moved[i] = True
                    break


@njit(nogil=True, cache=True)
def _split(
    last_logit: F8,
    target: int,
    rows: I8,
    logits: F8,
    seen: Flags,
    stale: Flags,
    moved: Flags,
    said_before: F8,
    said_aged: F8,
    last_out: F8,
    event: F8,
    time: F8,
    model: F8,
) -> None:
    for i in range(len(rows)):
        last = last_logit[rows[i], target] if seen[i] else np.nan
        at_last = said_before[i] if stale[i] else last
        at_now = said_aged[i] if moved[i] else at_last
        last_out[i] = last
        event[i], time[i], model[i] = logits[i] - at_now, at_now - at_last, at_last - last
        last_logit[rows[i], target] = logits[i]
