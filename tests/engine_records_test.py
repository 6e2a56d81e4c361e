"""The compiled record parser against aiokafka's own builder and reader."""

from __future__ import annotations

import struct

import pytest
from aiokafka.record.control_record import ABORT_MARKER, COMMIT_MARKER
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.engine.errors import InvalidRecord
from streams.engine.records import HEADER_BYTES, RecordReader, RecordSlice, joined
from tests.faults.slices import slice_of

BYTES = st.none() | st.binary(max_size=40)
ROWS = st.lists(st.tuples(BYTES, BYTES, st.integers(-5, 5)), min_size=1, max_size=30)
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def batch(
    rows: list[tuple[bytes | None, bytes | None, int]],
    base_offset: int,
    *,
    codec: int = 0,
    producer: int = -1,
    transactional: bool = False,
) -> bytes:
    builder = DefaultRecordBatchBuilder(
        2, codec, int(transactional), producer, 0 if producer >= 0 else -1, 0, 10_000_000
    )
    for at, (key, value, shift) in enumerate(rows):
        assert builder.append(at, 1_700_000_000_000 + shift, key, value, [("h", b"x")]) is not None
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, base_offset)
    return bytes(data)


def marker(base_offset: int, producer: int, kind: object) -> bytes:
    key = struct.pack(">hh", 0, 0 if kind is ABORT_MARKER else 1)
    data = bytearray(
        batch([(key, b"\0" * 6, 0)], base_offset, producer=producer, transactional=True)
    )
    attributes = struct.unpack_from(">h", data, 21)[0] | 0x20
    return changed(data, 21, struct.pack(">h", attributes))


def changed(data: bytes | bytearray, at: int, new: bytes) -> bytes:
    """The batch with other bytes and the right checksum."""
    out = bytearray(data)
    out[at : at + len(new)] = new
    struct.pack_into(">I", out, 17, calc_crc32c(memoryview(bytes(out))[21:]))
    return bytes(out)


def read(
    data: bytes,
    fetch_offset: int = 0,
    aborted: list[tuple[int, int]] | None = None,
    rows: int = 10,
) -> list[RecordSlice]:
    return list(RecordReader("t", 0, data, aborted, fetch_offset, check_crc=True).slices(rows))


def flat(slices: list[RecordSlice]) -> list[tuple[int, int, bytes | None, bytes | None]]:
    return [
        row
        for part in slices
        for row in zip(
            part.offsets.tolist(), part.timestamps.tolist(), part.keys(), part.values(), strict=True
        )
    ]


def assert_gapless(slices: list[RecordSlice], start: int, end: int) -> None:
    assert [s.start_offset for s in slices] == [start, *(s.next_offset for s in slices)][:-1]
    assert slices[-1].next_offset == end


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
@given(
    batches=st.lists(ROWS, min_size=1, max_size=5), skip=st.integers(0, 40), size=st.integers(1, 40)
)
@settings(deadline=None, max_examples=40)
def test_equals_what_was_built(
    codec: int, batches: list[list[tuple[bytes | None, bytes | None, int]]], skip: int, size: int
) -> None:
    data, want, base = b"", [], 100
    for rows in batches:
        data += batch(rows, base, codec=codec)
        for at, (key, value, shift) in enumerate(rows):
            want.append((base + at, 1_700_000_000_000 + shift, key, value))
        base += len(rows)
    start = min(100 + skip, base - 1)
    slices = read(data, start, rows=size)
    assert flat(slices) == [row for row in want if row[0] >= start]
    assert_gapless(slices, start, base)
    middle = len(slices[0]) // 2
    halves = [slices[0].rows(0, middle), slices[0].rows(middle, len(slices[0]))]
    assert flat(halves) == flat(slices[:1])
    assert_gapless(halves, slices[0].start_offset, slices[0].next_offset)


@pytest.mark.parametrize("cut", [0, 5, 11, 12, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 3])
def test_a_last_batch_that_is_cut_off_is_left_for_the_next_fetch(cut: int) -> None:
    first = batch([(b"k", b"v", 0)] * 3, 0)
    second = batch([(b"k", b"w", 0)] * 3, 3)
    slices = read(first + second[:cut])
    assert [row[0] for row in flat(slices)] == [0, 1, 2]
    assert slices[-1].next_offset == 3


def test_aborted_transactions_and_markers_leave_no_records() -> None:
    row = [(b"k", b"v", 0)]
    data = (
        batch(row, 0, producer=1, transactional=True)  # aborted
        + batch(row, 1, producer=2, transactional=True)  # committed
        + marker(2, 1, ABORT_MARKER)
        + batch(row, 3, producer=1, transactional=True)  # the same producer's next, committed
        + marker(4, 2, COMMIT_MARKER)
        + batch(row, 5)
        + marker(6, 1, COMMIT_MARKER)
    )
    slices = read(data, aborted=[(1, 0)], rows=1)
    assert [r[0] for r in flat(slices)] == [1, 3, 5]
    assert_gapless(slices, 0, 7)
    assert len(slices[-1]) == 0
    assert [r[0] for r in flat(read(data, aborted=None))] == [0, 1, 3, 5]


def test_a_log_of_markers_only_moves_on() -> None:
    slices = read(marker(7, 1, ABORT_MARKER) + marker(8, 1, COMMIT_MARKER), 7)
    assert flat(slices) == []
    assert_gapless(slices, 7, 9)


def test_damage_is_an_error_and_never_a_record() -> None:
    good = batch([(b"key", b"value", 0)] * 4, 0)
    wrong = [
        good[:-1] + bytes([good[-1] ^ 1]),  # checksum
        changed(good, 16, b"\x01"),  # an old format
        changed(good, 57, struct.pack(">i", 5)),  # more records than there are
        changed(good, 57, struct.pack(">i", 2**31 - 1)),
        changed(good, 57, struct.pack(">i", -1)),
        changed(good, 21, struct.pack(">h", 3)),  # lz4 that is none
        changed(good, 21, struct.pack(">h", 7)),  # a codec that does not exist
    ]
    for data in wrong:
        with pytest.raises(InvalidRecord):
            flat(read(data))


@given(st.integers(HEADER_BYTES, HEADER_BYTES + 50), st.binary(min_size=1, max_size=10))
@settings(deadline=None, max_examples=300)
def test_wild_lengths_never_leave_the_batch(at: int, junk: bytes) -> None:
    good = batch([(b"key", b"value", 0)] * 4, 0)
    data = changed(good, min(at, len(good) - len(junk)), junk)
    try:
        rows = flat(read(data))
    except InvalidRecord:
        return
    assert all(len(k or b"") + len(v or b"") <= len(good) for _, _, k, v in rows)


def test_one_row_of_a_large_slice_copies_one_row() -> None:
    (part,) = read(batch([(b"k", b"v" * 1000, 0)] * 500, 0), rows=1000)
    one = part.rows(250, 251)
    assert (one.keys(), one.values()) == ([b"k"], [b"v" * 1000])
    assert one.nbytes == 1001
    assert [len(p) for p in (part.after(400), part.after(0), part.after(10_000))] == [100, 500, 0]


def test_small_slices_are_joined_and_large_ones_are_not():
    keys, values = [b"a", None, b""], [b"1", b"", None]
    first = slice_of(values, keys, start=5)
    second = slice_of(values[::-1], keys[::-1], start=8)
    assert [id(p) for p in joined([first, second], 0)] == [id(first), id(second)]
    (whole,) = joined([first, second], 1 << 20)
    assert whole.keys() == [*keys, *keys[::-1]]
    assert whole.values() == [*values, *values[::-1]]
    assert whole.offsets.tolist() == [*range(5, 11)]
    assert (whole.start_offset, whole.next_offset) == (first.start_offset, second.next_offset)
