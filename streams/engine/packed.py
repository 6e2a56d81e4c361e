"""Byte strings of many records in one buffer, as they go to the Kafka client without Python's help.

A thousand Avro values are three numpy arrays here instead of a thousand ``bytes``.
"""

# ruff: noqa: ANN001, ANN202  (numba infers the types of its kernels)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from streams.engine.hashing import positions

NULL = -1


@dataclass(frozen=True, slots=True)
class Packed:
    """Byte strings at positions of ``buffer``.

    Attributes:
        buffer: Bytes, in any order and with anything between them.
        start: ``[n]`` int64, where each begins.
        length: ``[n]`` int64, -1 for null.

    Example:
        >>> Packed.of([b"a", None, b""]).to_list()
        [b'a', None, b'']
    """

    buffer: NDArray[np.uint8]
    start: NDArray[np.int64]
    length: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Packed:
        """Copy Python bytes."""
        length = np.array([NULL if v is None else len(v) for v in values], np.int64)
        buffer = np.frombuffer(b"".join([v for v in values if v]), np.uint8)
        return cls(buffer, _starts(np.maximum(length, 0)), length)

    @classmethod
    def of_column(cls, column: pa.Array) -> Packed:
        """Positions of a string or binary column's bytes; nothing is copied.

        Raises:
            TypeError: a column of another type.
        """
        kind = column.type
        if not any(
            is_it(kind)
            for is_it in (
                pa.types.is_string,
                pa.types.is_binary,
                pa.types.is_large_string,
                pa.types.is_large_binary,
            )
        ):
            raise TypeError(f"{kind} is neither string nor binary")
        buffer, start, length = positions(column)
        if column.null_count:
            length = np.where(column.is_null().to_numpy(zero_copy_only=False), NULL, length)
        return cls(buffer, start, length)

    @classmethod
    def of_rows(cls, rows: NDArray[Any], head: bytes) -> Packed:
        """Fixed-width rows ``[n]`` or ``[n, k]`` as raw bytes, each behind ``head``."""
        body = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
        out = np.empty((len(rows), len(head) + body.shape[1]), np.uint8)
        out[:, : len(head)] = np.frombuffer(head, np.uint8)
        out[:, len(head) :] = body
        length = np.full(len(rows), out.shape[1], np.int64)
        return cls(out.reshape(-1), _starts(length), length)

    @classmethod
    def nulls(cls, n: int) -> Packed:
        """``n`` nulls."""
        return cls(np.empty(0, np.uint8), np.zeros(n, np.int64), np.full(n, NULL, np.int64))

    def behind(self, head: bytes) -> Packed:
        """Each one, none of them null, behind ``head``."""
        length = self.length + len(head)
        start = _starts(length)
        return Packed(self._copied(head, start, int(length.sum())), start, length)

    def rows(self, start: int, stop: int) -> Packed:
        """A run of them; nothing is copied."""
        return Packed(self.buffer, self.start[start:stop], self.length[start:stop])

    def take(self, rows: NDArray[np.int64]) -> Packed:
        """Some of them; nothing is copied."""
        return Packed(self.buffer, self.start[rows], self.length[rows])

    def to_list(self) -> list[bytes | None]:
        """Python bytes, ``None`` for null; copies what lies between the first and the last."""
        present = self.length > 0
        if not present.any():
            return [b"" if n == 0 else None for n in self.length.tolist()]
        first = int(self.start[present].min())
        end = int((self.start[present] + self.length[present]).max())
        data = self.buffer[first:end].tobytes()
        return [
            data[s : s + n] if n > 0 else b"" if n == 0 else None
            for s, n in zip((self.start - first).tolist(), self.length.tolist(), strict=True)
        ]

    def to_column(self) -> pa.Array:
        """A binary column with a buffer of its own.

        Raises:
            ValueError: 2 GiB or more in all.
        """
        present = np.maximum(self.length, 0)
        if present.sum() > np.iinfo(np.int32).max:
            raise ValueError(f"{present.sum()} bytes are too many for one binary column")
        ends = np.zeros(len(self) + 1, np.int32)
        np.cumsum(present, out=ends[1:])
        out = self._copied(b"", ends[:-1].astype(np.int64), int(ends[-1]))
        nulls = self.length < 0
        valid = pa.py_buffer(np.packbits(~nulls, bitorder="little")) if nulls.any() else None
        buffers = [valid, pa.py_buffer(ends), pa.py_buffer(out)]
        return pa.Array.from_buffers(pa.binary(), len(self), buffers, int(nulls.sum()))

    def _copied(self, head: bytes, at: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        out, buffer = np.empty(size, np.uint8), self.buffer.view()
        buffer.flags.writeable = False  # one kind of array, so that one kernel is compiled
        _copy_behind(buffer, self.start, self.length, np.frombuffer(head, np.uint8), at, out)
        return out


def _starts(length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each begins when they stand one behind the other."""
    return np.cumsum(length) - length


@njit(nogil=True, cache=True)
def _copy_behind(buffer, start, length, head, at, out):  # type: ignore[no-untyped-def]
    for i in range(len(start)):
        to = at[i]
        for j in range(len(head)):
            out[to + j] = head[j]
        to += len(head)
        for j in range(length[i]):
            out[to + j] = buffer[start[i] + j]
