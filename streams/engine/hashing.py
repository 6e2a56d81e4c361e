"""Stable hashes of byte strings in columns: XXH64 pairs as row keys, murmur2 as in Kafka.

Compiled loops over ``(buffer, start, length)`` positions; ``xxhash`` and aiokafka's ``murmur2`` are
the references in the tests. Sources: https://github.com/Cyan4973/xxHash (XXH64 specification),
``org.apache.kafka.common.utils.Utils.murmur2``.
"""

# ruff: noqa: ANN001, ANN201, ANN202  (numba infers the types of its kernels)

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

_P1 = np.uint64(0x9E3779B185EBCA87)
_P2 = np.uint64(0xC2B2AE3D27D4EB4F)
_P3 = np.uint64(0x165667B19E3779F9)
_P4 = np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)


@njit(inline="always")
def _rotl(x, r):  # type: ignore[no-untyped-def]
    return (x << np.uint64(r)) | (x >> np.uint64(64 - r))


@njit(inline="always")
def _read64(b, at):  # type: ignore[no-untyped-def]
    v = np.uint64(0)
    for i in range(8):
        v |= np.uint64(b[at + i]) << np.uint64(8 * i)
    return v


@njit(inline="always")
def _read32(b, at):  # type: ignore[no-untyped-def]
    v = np.uint64(0)
    for i in range(4):
        v |= np.uint64(b[at + i]) << np.uint64(8 * i)
    return v


@njit(inline="always")
def _round(acc, lane):  # type: ignore[no-untyped-def]
    return _rotl(acc + lane * _P2, 31) * _P1


@njit(nogil=True, cache=True)
def xxh64(buffer, start, length, seed):  # type: ignore[no-untyped-def]
    """XXH64 of ``buffer[start:start + length]`` with ``seed``."""
    at, end = start, start + length
    seed = np.uint64(seed)
    if length >= 32:
        v1, v2, v3, v4 = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
        while at + 32 <= end:
            v1 = _round(v1, _read64(buffer, at))
            v2 = _round(v2, _read64(buffer, at + 8))
            v3 = _round(v3, _read64(buffer, at + 16))
            v4 = _round(v4, _read64(buffer, at + 24))
            at += 32
        h = _rotl(v1, 1) + _rotl(v2, 7) + _rotl(v3, 12) + _rotl(v4, 18)
        for v in (v1, v2, v3, v4):
            h = (h ^ _round(np.uint64(0), v)) * _P1 + _P4
    else:
        h = seed + _P5
    h += np.uint64(length)
    while at + 8 <= end:
        h = _rotl(h ^ _round(np.uint64(0), _read64(buffer, at)), 27) * _P1 + _P4
        at += 8
    if at + 4 <= end:
        h = _rotl(h ^ (_read32(buffer, at) * _P1), 23) * _P2 + _P3
        at += 4
    while at < end:
        h = _rotl(h ^ (np.uint64(buffer[at]) * _P5), 11) * _P1
        at += 1
    h = (h ^ (h >> np.uint64(33))) * _P2
    h = (h ^ (h >> np.uint64(29))) * _P3
    return h ^ (h >> np.uint64(32))


@njit(nogil=True, cache=True)
def _hash128(buffer, start, length, out):  # type: ignore[no-untyped-def]
    for i in range(len(start)):
        n = max(length[i], 0)
        out[i, 0] = xxh64(buffer, start[i], n, 0)
        out[i, 1] = xxh64(buffer, start[i], n, 1)


@njit(nogil=True, cache=True)
def _murmur2(buffer, start, length, partitions, out):  # type: ignore[no-untyped-def]
    m = np.uint32(0x5BD1E995)
    for i in range(len(start)):
        n = length[i]
        h = np.uint32(0x9747B28C) ^ np.uint32(n)
        at = start[i]
        for _ in range(n // 4):
            k = np.uint32(_read32(buffer, at))
            k = np.uint32(k * m)
            k ^= k >> np.uint32(24)
            k = np.uint32(k * m)
            h = np.uint32(h * m) ^ k
            at += 4
        rest = n % 4
        if rest == 3:
            h ^= np.uint32(buffer[at + 2]) << np.uint32(16)
        if rest >= 2:
            h ^= np.uint32(buffer[at + 1]) << np.uint32(8)
        if rest >= 1:
            h ^= np.uint32(buffer[at])
            h = np.uint32(h * m)
        h ^= h >> np.uint32(13)
        h = np.uint32(h * m)
        h ^= h >> np.uint32(15)
        out[i] = np.int32(h & np.uint32(0x7FFFFFFF)) % partitions


@njit(nogil=True, cache=True)
def _parse_hex(buffer, start, out):  # type: ignore[no-untyped-def]
    """32 hex digits to two big-endian words; returns the first row that is not hex or -1."""
    for i in range(len(start)):
        for half in range(2):
            v = np.uint64(0)
            for j in range(16):
                c = buffer[start[i] + half * 16 + j]
                if 48 <= c <= 57:
                    d = c - 48
                elif 97 <= c <= 102:
                    d = c - 87
                else:
                    return i
                v = (v << np.uint64(4)) | np.uint64(d)
            out[i, half] = v
    return -1


def positions(
    column: pa.Array,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Return buffer, starts and lengths of a string or binary column; nulls have length 0."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type):
        column = column.cast(pa.binary())
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    buffer = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    start = ends[:-1].astype(np.int64)
    return buffer, start, np.diff(ends).astype(np.int64)


def hash128(column: pa.Array) -> NDArray[np.uint64]:
    """Row keys of a string or binary column.

    Returns:
        ``[n, 2]`` uint64: XXH64 with seeds 0 and 1.
    """
    buffer, start, length = positions(column)
    return hash128_at(buffer, start, length)


def hash128_at(
    buffer: NDArray[np.uint8], start: NDArray[np.int64], length: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Row keys of byte strings at positions of a buffer; a negative length counts as empty."""
    out = np.empty((len(start), 2), np.uint64)
    _hash128(buffer, start, length, out)
    return out


def murmur2(column: pa.Array, partitions: int) -> NDArray[np.int32]:
    """Partition numbers as Kafka's Java client would choose them for these keys."""
    buffer, start, length = positions(column)
    out = np.empty(len(start), np.int32)
    _murmur2(buffer, start, length, partitions, out)
    return out


def hex_to_keys(column: pa.Array) -> NDArray[np.uint64]:
    """Row keys of 32-digit lower-case hex ids (lead ids), without hashing them again.

    Raises:
        ValueError: an id is not 32 lower-case hex digits.
    """
    buffer, start, length = positions(column)
    out = np.empty((len(start), 2), np.uint64)
    wrong = np.flatnonzero(length != 32)
    row = int(wrong[0]) if len(wrong) else _parse_hex(buffer, start, out)
    if row >= 0:
        raise ValueError(f"not an id of 32 lower-case hex digits: {column[row]!r}")
    return out


def keys_to_hex(keys: NDArray[np.uint64]) -> list[str]:
    """Turn row keys back into 32-digit hex ids."""
    text = keys.astype(">u8").tobytes().hex()
    return [text[i : i + 32] for i in range(0, len(text), 32)]
