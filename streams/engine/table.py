"""A table of fixed-width rows by 128-bit key, in one numpy array.

Compiled open addressing (linear probing, backward-shift deletion) finds rows; processors work on
whole columns of ``rows`` and say which rows they touched. What was touched since the last
:meth:`Table.take_changes` goes to the changelog.
"""

# ruff: noqa: ANN001, ANN202  (numba infers the types of its kernels)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

_EMPTY = -1


@njit(nogil=True, cache=True, inline="always")
def _slot_of(hi, lo, mask):  # type: ignore[no-untyped-def]
    h = (hi ^ (lo * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xD6E8FEB86659FD93)
    return np.int64((h ^ (h >> np.uint64(32))) & np.uint64(mask))


@njit(nogil=True, cache=True)
def _find(index, keys, wanted, out):  # type: ignore[no-untyped-def]
    mask = len(index) - 1
    for i in range(len(wanted)):
        hi, lo = wanted[i, 0], wanted[i, 1]
        slot = _slot_of(hi, lo, mask)
        out[i] = -1
        while index[slot] >= 0:
            row = index[slot]
            if keys[row, 0] == hi and keys[row, 1] == lo:
                out[i] = row
                break
            slot = (slot + 1) & mask


@njit(nogil=True, cache=True)
def _insert(index, keys, wanted, free, free_count, used, out, is_new):  # type: ignore[no-untyped-def]
    mask = len(index) - 1
    for i in range(len(wanted)):
        hi, lo = wanted[i, 0], wanted[i, 1]
        slot = _slot_of(hi, lo, mask)
        row = np.int64(-1)
        while index[slot] >= 0:
            at = index[slot]
            if keys[at, 0] == hi and keys[at, 1] == lo:
                row = at
                break
            slot = (slot + 1) & mask
        is_new[i] = row < 0
        if row < 0:
            if free_count > 0:
                free_count -= 1
                row = free[free_count]
            else:
                row = used
                used += 1
            keys[row, 0], keys[row, 1] = hi, lo
            index[slot] = row
        out[i] = row
    return free_count, used


@njit(nogil=True, cache=True)
def _remove(index, keys, wanted, out):  # type: ignore[no-untyped-def]
    mask = len(index) - 1
    for i in range(len(wanted)):
        hi, lo = wanted[i, 0], wanted[i, 1]
        slot = _slot_of(hi, lo, mask)
        out[i] = -1
        while index[slot] >= 0:
            row = index[slot]
            if keys[row, 0] == hi and keys[row, 1] == lo:
                out[i] = row
                break
            slot = (slot + 1) & mask
        if out[i] < 0:
            continue
        # close the gap: move back each entry whose home lies at or before it
        gap = slot
        index[gap] = _EMPTY
        slot = (slot + 1) & mask
        while index[slot] >= 0:
            row = index[slot]
            home = _slot_of(keys[row, 0], keys[row, 1], mask)
            if ((slot - home) & mask) >= ((slot - gap) & mask):
                index[gap] = row
                index[slot] = _EMPTY
                gap = slot
            slot = (slot + 1) & mask


@njit(nogil=True, cache=True)
def _rebuild(index, keys, live):  # type: ignore[no-untyped-def]
    mask = len(index) - 1
    for row in live:
        slot = _slot_of(keys[row, 0], keys[row, 1], mask)
        while index[slot] >= 0:
            slot = (slot + 1) & mask
        index[slot] = row


@dataclass(frozen=True, slots=True)
class TableChanges:
    """What changed: keys with their new rows, and keys that were deleted."""

    keys: NDArray[np.uint64]
    rows: NDArray[np.void]
    deleted: NDArray[np.uint64]


class Table:
    """Rows of one structured dtype by 128-bit key.

    Args:
        name: Name in the changelog.
        dtype: Fixed-width structured dtype of a row; new rows start as ``default``.
        default: Values of a new row; zeros when not given.
        capacity: Rows to start with; it doubles as needed.
        meaning: What the fields' values stand for, if names and types do not say it, such as the
            hash of a catalogue; stored rows of another meaning are refused.
    """

    def __init__(
        self,
        name: str,
        dtype: np.dtype[np.void],
        *,
        default: NDArray[np.void] | None = None,
        capacity: int = 1024,
        meaning: str = "",
    ) -> None:
        if dtype.hasobject:
            raise TypeError(f"table {name}: rows are plain bytes, objects cannot be stored")
        self.name, self.dtype, self.meaning = name, dtype, meaning
        self.default = np.zeros((), dtype) if default is None else default
        self.rows: NDArray[np.void] = np.empty(capacity, dtype)
        self.keys: NDArray[np.uint64] = np.zeros((capacity, 2), np.uint64)
        self._index = np.full(_index_size(capacity), _EMPTY, np.int64)
        self._free = np.empty(capacity, np.int64)
        self._free_count = 0
        self._used = 0
        self._alive = np.zeros(capacity, np.bool_)
        self._touched: list[NDArray[np.int64]] = []
        self._deleted: list[NDArray[np.uint64]] = []

    def __len__(self) -> int:
        return self._used - self._free_count

    @property
    def nbytes(self) -> int:
        """Bytes held, the index and free capacity included."""
        return int(
            self.rows.nbytes
            + self.keys.nbytes
            + self._index.nbytes
            + self._free.nbytes
            + self._alive.nbytes
        )

    def live_rows(self) -> NDArray[np.int64]:
        """Row numbers in use, ascending."""
        return np.flatnonzero(self._alive[: self._used]).astype(np.int64)

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Row numbers of ``keys`` ``[n, 2]``; -1 where absent."""
        out = np.empty(len(keys), np.int64)
        _find(self._index, self.keys, keys, out)
        return out

    def find_or_insert(
        self, keys: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Row numbers of ``keys`` ``[n, 2]`` and whether this call created them (first occurrence).

        Views of ``rows`` taken before are stale afterwards. New rows are counted as touched.
        """
        self._reserve(len(keys))
        out, is_new = np.empty(len(keys), np.int64), np.empty(len(keys), np.bool_)
        self._free_count, self._used = _insert(
            self._index, self.keys, keys, self._free, self._free_count, self._used, out, is_new
        )
        new = out[is_new]
        if len(new):
            self.rows[new] = self.default
            self._alive[new] = True
            self._touched.append(new)
        return out, is_new

    def touch(self, rows: NDArray[np.int64]) -> None:
        """Say that these rows were written to."""
        self._touched.append(rows)

    def delete(self, keys: NDArray[np.uint64]) -> None:
        """Remove ``keys`` ``[n, 2]``; absent ones are ignored."""
        out = np.empty(len(keys), np.int64)
        _remove(self._index, self.keys, keys, out)
        gone = out >= 0
        rows = out[gone]
        self._alive[rows] = False
        self._free[self._free_count : self._free_count + len(rows)] = rows
        self._free_count += len(rows)
        self._deleted.append(keys[gone])

    def take_changes(self) -> TableChanges:
        """Return copies of what changed since the last call, in key order of the table's rows."""
        touched = (
            np.unique(np.concatenate(self._touched)) if self._touched else np.empty(0, np.int64)
        )
        touched = touched[self._alive[touched]]
        keys = self.keys[touched]
        deleted = np.concatenate(self._deleted) if self._deleted else np.empty((0, 2), np.uint64)
        if len(deleted):
            deleted = deleted[self.find(deleted) < 0]  # deleted and inserted again: only the row
        self._touched, self._deleted = [], []
        return TableChanges(keys, self.rows[touched], deleted)

    def load(self, keys: NDArray[np.uint64], rows: NDArray[np.void]) -> None:
        """Write rows from the changelog; a later row of a key wins. No change to report."""
        at, _ = self.find_or_insert(keys)
        self.rows[at] = rows
        self._touched = []

    def unload(self, keys: NDArray[np.uint64]) -> None:
        """Apply deletions from the changelog; they do not count as changed."""
        self.delete(keys)
        self._deleted = []

    def clear(self) -> None:
        """Forget all rows and changes; nothing of it counts as a change."""
        fresh = Table(self.name, self.dtype, default=self.default, meaning=self.meaning)
        self.__dict__.update(fresh.__dict__)

    def _reserve(self, more: int) -> None:
        # rows on the free list are used first, yet counting them out keeps this simple
        need = self._used + more
        if need > len(self.rows):
            size = max(need, 2 * len(self.rows))
            for name in ("rows", "keys", "_free", "_alive"):
                old = getattr(self, name)
                new = np.zeros((size, *old.shape[1:]), old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)
        if 2 * need > len(self._index):
            self._index = np.full(_index_size(need), _EMPTY, np.int64)
            _rebuild(self._index, self.keys, self.live_rows())


def _index_size(rows: int) -> int:
    return 1 << max(4, int(2 * rows).bit_length())
