"""Records leave in the order of event time, however they come in and however much waits."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.files.events import Chunk
from connectors.files.timeline import Timeline, Window

TOPICS = ("crm.events", "market.indicators")


def chunk(topic: str, times: list[int], seq: list[int]) -> Chunk:
    array = np.array(times, dtype=np.int64)
    order = np.array(seq, dtype=np.int64)
    records = pa.RecordBatch.from_pydict({"seq": pa.array(order), "pad": ["x" * 50] * len(seq)})
    return Chunk(topic, array, order, order, records)


def drain(windows: list[Window]) -> list[tuple[int, str, int]]:
    """(time, topic, seq) of each record, in the total order of the windows."""
    out = []
    for window in windows:
        for at in range(window.count):
            [(topic, one)] = window.part(at, at + 1)
            out.append((int(window.times[at]), topic, one["seq"][0].as_py()))
    return out


@settings(max_examples=150, deadline=None)
@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(0, 40), st.sampled_from(TOPICS)), max_size=12), max_size=8
    ),
    size=st.integers(1, 7),
    memory=st.sampled_from([1, 700, 1 << 20]),
    steps=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_merge_equals_sorting(
    batches: list[list[tuple[int, str]]], size: int, memory: int, steps: list[bool]
) -> None:
    expected: list[tuple[int, int, str]] = []
    windows: list[Window] = []
    seq, low = 0, 0
    with Timeline(size, memory) as timeline:
        for batch, advance in zip(batches, steps, strict=False):
            for topic in TOPICS:
                times = [low + t for t, where in batch if where == topic]
                numbers = list(range(seq, seq + len(times)))
                seq += len(times)
                expected += [(t, n, topic) for t, n in zip(times, numbers, strict=True)]
                if times:
                    timeline.push(chunk(topic, times, numbers))
            if advance:
                low += 10
                windows += timeline.release(low)
                assert all(w.count == size for w in windows)
                assert all((w.times < low).all() for w in windows)
        windows += timeline.release(None)
        assert timeline.waiting == 0
    assert all(w.count == size for w in windows[:-1])
    assert drain(windows) == [(t, topic, n) for t, n, topic in sorted(expected)]


def test_a_part_of_a_window_has_each_record_once() -> None:
    with Timeline(100) as timeline:
        timeline.push(chunk("crm.events", [1, 3, 5, 7], [1, 3, 5, 7]))
        timeline.push(chunk("market.indicators", [2, 6], [2, 6]))
        [window] = timeline.release(None)
    for cut in range(7):
        parts = [*window.part(0, cut), *window.part(cut, window.count)]
        assert sorted(n for _, part in parts for n in part["seq"].to_pylist()) == [1, 2, 3, 5, 6, 7]
    assert [topic for topic, _ in window.part(0, 6)] == ["market.indicators", "crm.events"]


def test_waiting_records_go_to_disk_and_the_files_go_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rng = np.random.default_rng(7)
    times = rng.integers(0, 1_000_000, (40, 500))
    before = pa.total_allocated_bytes()
    with Timeline(256, memory_bytes=100_000) as timeline:
        for i, some in enumerate(times):
            timeline.push(chunk("crm.events", some.tolist(), list(range(i * 500, i * 500 + 500))))
        gc.collect()
        assert list(tmp_path.rglob("*.arrow"))
        assert pa.total_allocated_bytes() - before < 400_000
        got = np.concatenate([window.times for window in timeline.release(None)])
    assert got.tolist() == sorted(times.ravel().tolist())
    assert not list(tmp_path.iterdir())
