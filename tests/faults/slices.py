"""Slices of records without a broker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.engine.records import RecordSlice


def slice_of(
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None] | None = None,
    *,
    topic: str = "in",
    partition: int = 0,
    start: int = 0,
    offsets: Sequence[int] | None = None,
    end: int | None = None,
) -> RecordSlice:
    """Records at ``start``, ``start + 1``, … or at ``offsets``."""
    keys = [b"k"] * len(values) if keys is None else keys
    places, buffer = [], bytearray(b"before")
    for pair in zip(keys, values, strict=True):
        for data in pair:
            places += [len(buffer), -1 if data is None else len(data)]
            buffer += data or b""
    buffer += b"behind"
    columns = np.array(places, np.int64).reshape(-1, 4).T
    at = np.arange(start, start + len(values)) if offsets is None else np.array(offsets, np.int64)
    return RecordSlice(
        topic,
        partition,
        start,
        np.frombuffer(bytes(buffer), np.uint8),
        at,
        at + 1_700_000_000_000,
        *columns,
        end if end is not None else (int(at[-1]) + 1 if len(at) else start),
    )
