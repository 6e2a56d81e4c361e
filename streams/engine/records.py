"""Kafka record batches (format v2) as columns: positions of keys and values in one buffer.

A fetch response of one partition becomes one :class:`RecordSlice`. Batches are split, filtered
(aborted transactions, control records) and decompressed one by one; the records inside are
walked by one compiled loop, never by Python.

Format: https://kafka.apache.org/documentation/#recordbatch
"""

# ruff: noqa: ANN001, ANN202  (numba infers the types of its kernels)

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.record.util import calc_crc32c
from numba import njit
from numpy.typing import NDArray

from streams.engine.errors import InvalidRecord
from streams.engine.packed import Packed

HEADER_BYTES = 61
_LENGTH = struct.Struct(">qi")
_HEADER = struct.Struct(">qiibIhiqqqhii")
_CONTROL_KEY = struct.Struct(">hh")
_ABORT_MARKER = 0
_RECORD_BYTES_MIN = 7  # length, attributes, two deltas, two lengths, headers
_CODECS: dict[int, Callable[[bytes], bytes]] = {
    1: gzip_decode,
    2: snappy_decode,
    3: lz4_decode,
    4: zstd_decode,
}


@dataclass(frozen=True, slots=True)
class RecordSlice:
    """Consecutive records of one partition, in offset order, as positions in ``buffer``.

    ``key_length`` and ``value_length`` are -1 for null. No record lies between ``start_offset``
    and the first one; ``next_offset`` is where reading goes on, and may lie beyond the last
    record, behind transaction markers or compacted records. A slice may be empty.
    """

    topic: str
    partition: int
    start_offset: int
    buffer: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    key_start: NDArray[np.int64]
    key_length: NDArray[np.int64]
    value_start: NDArray[np.int64]
    value_length: NDArray[np.int64]
    next_offset: int

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values."""
        return int(np.maximum(self.key_length, 0).sum() + np.maximum(self.value_length, 0).sum())

    @property
    def offset(self) -> int:
        """Offset of the first record, or where reading began if there is none."""
        return int(self.offsets[0]) if len(self.offsets) else self.start_offset

    @property
    def packed_keys(self) -> Packed:
        """Keys where they lie."""
        return Packed(self.buffer, self.key_start, self.key_length)

    def keys(self) -> list[bytes | None]:
        """Keys as Python bytes, ``None`` for null."""
        return self.packed_keys.to_list()

    def values(self) -> list[bytes | None]:
        """Values as Python bytes, ``None`` for null."""
        return Packed(self.buffer, self.value_start, self.value_length).to_list()

    def after(self, offset: int) -> RecordSlice:
        """Return the part at or beyond ``offset``."""
        at = int(np.searchsorted(self.offsets, offset))
        rest = self.rows(at, len(self))
        return replace(rest, start_offset=max(offset, self.start_offset))

    def rows(self, start: int, stop: int) -> RecordSlice:
        """Return records ``start`` to ``stop``; reading goes on at the record behind them."""
        cut = slice(start, stop)
        begin = self.start_offset if start == 0 else int(self.offsets[start - 1]) + 1
        end = self.next_offset if stop >= len(self) else int(self.offsets[stop])
        return RecordSlice(
            self.topic,
            self.partition,
            begin,
            self.buffer,
            self.offsets[cut],
            self.timestamps[cut],
            self.key_start[cut],
            self.key_length[cut],
            self.value_start[cut],
            self.value_length[cut],
            end,
        )


def joined(parts: list[RecordSlice], max_bytes: int) -> list[RecordSlice]:
    """One slice instead of several that follow each other, if their buffers are small."""
    if len(parts) < 2 or sum(len(p.buffer) for p in parts) > max_bytes:
        return parts
    begin = np.cumsum([0, *(len(p.buffer) for p in parts[:-1])])
    first = parts[0]
    whole = RecordSlice(
        first.topic,
        first.partition,
        first.start_offset,
        np.concatenate([p.buffer for p in parts]),
        np.concatenate([p.offsets for p in parts]),
        np.concatenate([p.timestamps for p in parts]),
        np.concatenate([p.key_start + b for p, b in zip(parts, begin, strict=True)]),
        np.concatenate([p.key_length for p in parts]),
        np.concatenate([p.value_start + b for p, b in zip(parts, begin, strict=True)]),
        np.concatenate([p.value_length for p in parts]),
        parts[-1].next_offset,
    )
    return [whole]


@njit(nogil=True, cache=True)
def _parse(  # type: ignore[no-untyped-def]
    buffer, at, end, count, base_offset, base_timestamp, append_timestamp, out, row
):
    """Walk ``count`` records; returns (records written, position) or (-1, position)."""
    for _ in range(count):
        fields = np.empty(4, np.int64)  # length, timestamp delta, offset delta, key length
        for i in range(4):
            if i == 1:
                at += 1  # attributes, unused
            shift, raw = np.uint64(0), np.uint64(0)
            while True:
                if at >= end or shift > 63:
                    return -1, at
                b = buffer[at]
                at += 1
                raw |= np.uint64(b & 0x7F) << shift
                if b < 0x80:
                    break
                shift += np.uint64(7)
            fields[i] = np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1))
            if i == 0:
                if fields[0] < 0 or fields[0] > end - at:
                    return -1, at
                record_end = at + fields[0]
        key_length = fields[3]
        key_start = at
        if key_length < -1 or key_length > record_end - at:  # never add what may overflow
            return -1, at
        if key_length > 0:
            at += key_length
        shift, raw = np.uint64(0), np.uint64(0)
        while True:
            if at >= end or shift > 63:
                return -1, at
            b = buffer[at]
            at += 1
            raw |= np.uint64(b & 0x7F) << shift
            if b < 0x80:
                break
            shift += np.uint64(7)
        value_length = np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1))
        if value_length < -1 or value_length > record_end - at:
            return -1, at
        out[0, row] = base_offset + fields[2]
        out[1, row] = append_timestamp if append_timestamp >= 0 else base_timestamp + fields[1]
        out[2, row] = key_start
        out[3, row] = key_length
        out[4, row] = at
        out[5, row] = value_length
        row += 1
        at = record_end
    return row, at


class RecordReader:
    """Reads the record batches of one fetch response, slice by slice.

    Args:
        topic: Topic name, for the slices.
        partition: Partition number.
        data: The record set of the response; the last batch may be cut off.
        aborted: ``(producer id, first offset)`` of aborted transactions; empty or ``None`` when
            reading uncommitted.
        fetch_offset: Records below it are skipped.
        check_crc: Verify each batch's CRC32-C.
    """

    def __init__(
        self,
        topic: str,
        partition: int,
        data: bytes,
        aborted: Sequence[tuple[int, int]] | None,
        fetch_offset: int,
        *,
        check_crc: bool,
    ) -> None:
        self.topic, self.partition = topic, partition
        self.next_offset = fetch_offset
        self._first = fetch_offset
        self._data = data
        self._aborted = sorted(aborted or [], key=lambda x: x[1])
        self._aborting: set[int] = set()
        self._check_crc = check_crc

    def slices(self, max_rows: int) -> Iterator[RecordSlice]:
        """Yield slices of about ``max_rows`` records, cut between record batches.

        Their offset ranges follow each other without a gap; the last one may be empty.
        """
        parts: list[tuple[bytes, int, int, int, int, int]] = []
        rows, begin = 0, self.next_offset
        for part in self._batches():
            parts.append(part)
            rows += part[2]
            if rows >= max_rows:
                end = self.next_offset
                yield self._build(parts, rows, begin, end)
                parts, rows, begin = [], 0, end
        if self.next_offset > begin:
            yield self._build(parts, rows, begin, self.next_offset)

    def _batches(self) -> Iterator[tuple[bytes, int, int, int, int, int]]:
        data, at = self._data, 0
        while at + HEADER_BYTES <= len(data):
            base_offset, length = _LENGTH.unpack_from(data, at)
            end = at + 12 + length
            if end > len(data):
                return
            (
                _,
                _,
                _,
                magic,
                crc,
                attributes,
                last_delta,
                base_ts,
                max_ts,
                producer,
                _,
                _,
                count,
            ) = _HEADER.unpack_from(data, at)
            where = f"{self.topic}-{self.partition} at offset {base_offset}"
            if magic != 2:
                raise InvalidRecord(f"{where}: record format v{magic} is older than Kafka 0.11")
            if self._check_crc and calc_crc32c(memoryview(data)[at + 21 : end]) != crc:
                raise InvalidRecord(f"{where}: checksum of the record batch does not match")
            start, at = at + HEADER_BYTES, end
            if self._skip(base_offset, attributes, producer, data, start):
                self.next_offset = max(self.next_offset, base_offset + last_delta + 1)
                continue
            if base_offset + last_delta + 1 <= self.next_offset:
                continue
            piece = _decompressed(attributes & 7, data[start:end], where)
            if not 0 <= count <= len(piece) // _RECORD_BYTES_MIN:
                raise InvalidRecord(f"{where}: a batch of {len(piece)} bytes for {count} records")
            stamp = max_ts if attributes & 8 else -1
            self.next_offset = base_offset + last_delta + 1
            if count:
                yield piece, len(piece), count, base_offset, base_ts, stamp

    def _skip(
        self, base_offset: int, attributes: int, producer: int, data: bytes, start: int
    ) -> bool:
        while self._aborted and self._aborted[0][1] <= base_offset:
            self._aborting.add(self._aborted.pop(0)[0])
        if attributes & 0x20:  # control batch: a commit or abort marker
            if _marker_type(data, start) == _ABORT_MARKER:
                self._aborting.discard(producer)
            return True
        return bool(attributes & 0x10) and producer in self._aborting

    def _build(
        self, parts: list[tuple[bytes, int, int, int, int, int]], rows: int, begin: int, end: int
    ) -> RecordSlice:
        buffer = np.frombuffer(b"".join(p[0] for p in parts), np.uint8)
        out = np.empty((6, rows), np.int64)
        row = at = 0
        for _, size, count, base_offset, base_ts, stamp in parts:
            row, where = _parse(buffer, at, at + size, count, base_offset, base_ts, stamp, out, row)
            if row < 0:
                raise InvalidRecord(
                    f"{self.topic}-{self.partition}: damaged record batch at offset "
                    f"{base_offset} (byte {where})"
                )
            at += size
        columns = (out[0], out[1], out[2], out[3], out[4], out[5])
        read = RecordSlice(self.topic, self.partition, begin, buffer, *columns, end)
        # a batch may begin below the offset that was asked for
        return read.after(self._first) if rows and read.offset < self._first else read


def _decompressed(kind: int, data: bytes, where: str) -> bytes:
    if not kind:
        return data
    try:
        return bytes(_CODECS[kind](data))
    except Exception as error:
        raise InvalidRecord(f"{where}: cannot be decompressed ({error!r})") from error


def _marker_type(data: bytes, start: int) -> int:
    # record: length, attributes, timestamp delta, offset delta, key length are one byte each here
    return int(_CONTROL_KEY.unpack_from(data, start + 5)[1])
