"""Event ids that are the same whenever the same row is imported by the same mapping.

An id is 32 hexadecimal digits: two keyed 64-bit mixes of (row, event number). The keys come from
the digests of mapping and file. Each mix is one-to-one, so two events of one file never share an
id; ids of two files agree with a probability of about 2**-64.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

EVENT_BITS = 6
"""A row gives at most 2**EVENT_BITS events, so (row, event number) fits 64 bits."""

_HEX = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), dtype="S2")
_READ_BYTES = 1 << 20


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes as they lie on disk, hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def digest_of_all(digests: list[str]) -> str:
    """One digest of a file and those joined to it: its own where there are none."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("/".join(digests).encode()).hexdigest()


def row_event(rows: NDArray[np.int64], event: int) -> NDArray[np.int64]:
    """(row, event number) as one integer that sorts by row and then by event number, [n]."""
    return (rows << EVENT_BITS) | np.int64(event)


class EventIds:
    """Ids of the events of one (mapping, file)."""

    def __init__(self, mapping_digest: str, digest_of_file: str) -> None:
        seed = hashlib.sha256(f"{mapping_digest}/{digest_of_file}".encode()).digest()
        self._keys = np.frombuffer(seed, dtype="<u8")

    def of(self, rows: NDArray[np.int64], event: int) -> Any:
        """Arrow string array [n] of the ids of event number `event` of the rows [n]."""
        counter = row_event(rows, event).astype(np.uint64)
        words = np.empty((len(rows), 2), dtype=">u8")
        for half in (0, 1):
            mixed = _mix(counter ^ self._keys[2 * half])
            words[:, half] = _mix(mixed ^ self._keys[2 * half + 1])
        digits = _HEX[words.view(np.uint8)]
        offsets = np.arange(0, 32 * (len(rows) + 1), 32, dtype=np.int32)
        return pa.StringArray.from_buffers(
            len(rows), pa.py_buffer(offsets.tobytes()), pa.py_buffer(digits.tobytes())
        )


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finalizer of splitmix64 (Steele, Lea and Flood 2014): one-to-one on 64 bits."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
