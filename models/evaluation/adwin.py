"""ADWIN: a window of recent values that drops its older part when the mean has changed.

Bifet & Gavaldà 2007, "Learning from time-changing data with adaptive windowing", as river has it
(`river.drift.ADWIN`, held equal by test): the window is kept as buckets of 1, 2, 4, … values, at
most 5 of a size; every 32 values each cut between buckets is tested, and a change found empties
the window at the next value. River's own keeps its state where no snapshot can reach it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled, plain
from models.online.interface import pack_arrays, unpack_arrays

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

DELTA = 0.002
CLOCK, BUCKETS = 32, 5  # river's defaults
_SIZES = 48  # bucket sizes up to 2^47: no stream is longer
_TICK, _DETECTIONS, _DETECTED, _TOP = range(4)  # in `_counts`
_WIDTH, _TOTAL, _VARIANCE = range(3)  # in `_sums`


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the mean, found at value number `place` of a call.

    before: mean of the older values that were dropped; after: of those that were kept.
    """

    place: int
    before: float
    after: float


class Adwin:
    """The detector; values should lie in [0, 1], for which its bound is made.

    Args:
        delta: chance of a false alarm at one check; a smaller one alarms later.
    """

    def __init__(self, delta: float = DELTA) -> None:
        if not 0 < delta < 1:
            raise ValueError(f"delta {delta} is no chance. Fix: between 0 and 1, e.g. {DELTA}")
        self.delta = delta
        self._totals = np.zeros((_SIZES, BUCKETS + 1))
        self._variances = np.zeros((_SIZES, BUCKETS + 1))
        self._used = np.zeros(_SIZES, np.int64)
        self._sums = np.zeros(3)
        self._counts = np.zeros(4, np.int64)

    @property
    def width(self) -> int:
        """How many values the window holds."""
        return int(self._sums[_WIDTH])

    @property
    def mean(self) -> float:
        """Of the window; 0 when it is empty."""
        return float(self._sums[_TOTAL] / self._sums[_WIDTH]) if self.width else 0.0

    @property
    def detections(self) -> int:
        """How many changes were found so far."""
        return int(self._counts[_DETECTIONS])

    def update(self, values: F8) -> list[Change]:
        """Take values [n] one after the other; the changes found among them."""
        values = plain(values, np.float64)
        place = np.empty(len(values) // CLOCK + 1, np.int64)
        means = np.empty((len(place), 2))
        found = _update(
            values, self.delta, self._totals, self._variances, self._used, self._sums,
            self._counts, place, means,
        )  # fmt: skip
        return [Change(int(place[i]), float(means[i, 0]), float(means[i, 1])) for i in range(found)]

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues bit for bit."""
        arrays = {
            "totals": self._totals, "variances": self._variances, "used": self._used,
            "sums": self._sums, "counts": self._counts,
        }  # fmt: skip
        return pack_arrays({"kind": "adwin", "delta": self.delta}, arrays)

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state; ValueError if it is something else."""
        meta, arrays = unpack_arrays(data)
        if meta.get("kind") != "adwin":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'adwin'")
        self.delta = float(meta["delta"])
        self._totals, self._variances = np.array(arrays["totals"]), np.array(arrays["variances"])
        self._used, self._sums = np.array(arrays["used"]), np.array(arrays["sums"])
        self._counts = np.array(arrays["counts"])


@compiled
def _add(value: float, totals: F8, variances: F8, used: I8, sums: F8, counts: I8) -> None:
    """Put one value into the window; merge the two oldest buckets of a size that has six."""
    totals[0, used[0]] = value
    variances[0, used[0]] = 0.0
    used[0] += 1
    sums[0] += 1.0
    if sums[0] > 1.0:
        off = value - sums[1] / (sums[0] - 1.0)
        sums[2] += (sums[0] - 1.0) * off * off / sums[0]
    sums[1] += value
    size = 0
    while used[size] == totals.shape[1]:
        n = 2.0**size
        off = totals[size, 0] / n - totals[size, 1] / n
        to = used[size + 1]
        totals[size + 1, to] = totals[size, 0] + totals[size, 1]
        variances[size + 1, to] = (
            variances[size, 0] + variances[size, 1] + n * n * off * off / (n + n)
        )
        used[size + 1] += 1
        counts[3] = max(counts[3], size + 1)
        for i in range(2, totals.shape[1]):
            totals[size, i - 2] = totals[size, i]
            variances[size, i - 2] = variances[size, i]
        used[size] -= 2
        size += 1


@compiled
def _drop(totals: F8, variances: F8, used: I8, sums: F8, counts: I8) -> None:
    """Take the oldest bucket out of the window."""
    top = counts[3]
    n = 2.0**top
    total, variance = totals[top, 0], variances[top, 0]
    sums[0] -= n
    sums[1] -= total
    off = total / n - sums[1] / sums[0]
    sums[2] -= variance + n * sums[0] * off * off / (n + sums[0])
    for i in range(1, totals.shape[1]):
        totals[top, i - 1] = totals[top, i]
        variances[top, i - 1] = variances[top, i]
    used[top] -= 1
    while top > 0 and used[top] == 0:
        top -= 1
    counts[3] = top


@compiled
def _cut(delta: float, totals: F8, variances: F8, used: I8, sums: F8, counts: I8) -> bool:
    """Whether some cut of the window parts two different means."""
    n0, u0 = 0.0, 0.0
    n1, u1 = sums[0], sums[1]
    limit = np.log(2.0 * np.log(sums[0]) / delta)
    spread = sums[2] / sums[0]
    for size in range(counts[3], -1, -1):
        n = 2.0**size
        for i in range(used[size]):
            n0 += n
            n1 -= n
            u0 += totals[size, i]
            u1 -= totals[size, i]
            if n0 < 5 or n1 < 5:  # river's shortest part
                continue
            m = 1.0 / (n0 - 5.0 + 1.0) + 1.0 / (n1 - 5.0 + 1.0)
            epsilon = np.sqrt(2.0 * m * spread * limit) + 2.0 / 3.0 * limit * m
            if abs(u0 / n0 - u1 / n1) > epsilon:
                return True
    return False


@compiled
def _update(
    values: F8,
    delta: float,
    totals: F8,
    variances: F8,
    used: I8,
    sums: F8,
    counts: I8,
    place: I8,
    means: F8,
) -> int:
    found = 0
    for i in range(len(values)):
        if counts[2]:
            used[:] = 0
            sums[:] = 0.0
            counts[0] = counts[2] = counts[3] = 0
        _add(values[i], totals, variances, used, sums, counts)
        counts[0] += 1
        if counts[0] % 32:
            continue
        width, total = sums[0], sums[1]
        while sums[0] > 1 and _cut(delta, totals, variances, used, sums, counts):
            counts[2] = 1
            _drop(totals, variances, used, sums, counts)
        if counts[2]:
            counts[1] += 1
            place[found] = i
            means[found, 0] = (total - sums[1]) / (width - sums[0])
            means[found, 1] = sums[1] / sums[0]
            found += 1
    return found
