"""An import resumes where it was acknowledged, keeps its pace, and stops when told to."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors.files.checkpoint import CheckpointFile
from connectors.files.errors import DeliveryError, Rejected, SourceFileError
from connectors.files.importer import Importer, ImportResult
from connectors.files.mapping import load_mapping, parse_mapping
from connectors.files.pacing import CompressedTime, ConstantRate, Pacer
from connectors.files.pipeline import Pipeline
from connectors.files.rejects import RejectReport

BANK = Path(__file__).parent / "data" / "import_bank_200.csv"


class MemorySink:
    """Keeps what it is sent; the broker "dies" when `fail_after` records were sent."""

    def __init__(self, name: str = "memory", fail_after: int | None = None) -> None:
        self.name = name
        self.sent: list[str] = []
        self.acknowledged = 0
        self.fail_after = fail_after

    def destination(self) -> str:
        return self.name

    def send(self, topic: str, records: Any) -> None:
        self.sent += records["event_id"].to_pylist()
        if self.fail_after is not None and len(self.sent) >= self.fail_after:
            raise DeliveryError("the broker is gone")

    def flush(self) -> None:
        self.acknowledged = len(self.sent)


class Clock:
    """Seconds that pass only when somebody looks at the clock or waits."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class WaitingStop(threading.Event):
    """Event whose wait moves the clock instead of the world."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.now += timeout or 0.0
        return self.is_set()


def run(
    sink: MemorySink, folder: Path, fresh: bool = False, window: int = 16, **options: Any
) -> ImportResult:
    pipeline = Pipeline(load_mapping("bank_marketing"), [BANK], window)
    return Importer(pipeline, [BANK], sink, folder, **options).run(fresh=fresh)


@pytest.fixture
def whole(tmp_path: Path) -> list[str]:
    sink = MemorySink()
    assert run(sink, tmp_path / "whole").status == "done"
    assert len(set(sink.sent)) == len(sink.sent) == 400
    return sink.sent


def test_a_second_run_sends_nothing_and_fresh_sends_the_same(
    tmp_path: Path, whole: list[str]
) -> None:
    for fresh, sent, status in ((False, whole, "done"), (False, [], "already_done"),
                                (True, whole, "done")):  # fmt: skip
        sink = MemorySink()
        assert run(sink, tmp_path, fresh).status == status
        assert sink.sent == sent
        assert sink.acknowledged == len(sent)


@pytest.mark.parametrize("window", [7, 16, 400])
def test_a_broken_import_goes_on_where_it_was_acknowledged(
    tmp_path: Path, whole: list[str], window: int
) -> None:
    first = MemorySink(fail_after=120)
    with pytest.raises(DeliveryError):
        # Each look at the clock takes 0.3 s, so that checkpoints are written on the way.
        run(first, tmp_path, window=7, clock=Clock(0.3))
    second = MemorySink()
    result = run(second, tmp_path, window=window)
    assert result.progress.resumed == first.acknowledged
    assert second.sent == whole[first.acknowledged :]
    assert window == 400 or 0 < first.acknowledged < 120


def test_another_destination_or_file_starts_anew(tmp_path: Path, whole: list[str]) -> None:
    run(MemorySink("cluster/topic=1"), tmp_path)
    recreated = MemorySink("cluster/topic=2")
    assert run(recreated, tmp_path).status == "done"
    assert recreated.sent == whole


def test_a_damaged_checkpoint_costs_a_repetition_only(tmp_path: Path, whole: list[str]) -> None:
    done = run(MemorySink(), tmp_path)
    done.checkpoint.write_bytes(b'{"records": 3')
    sink = MemorySink()
    run(sink, tmp_path)
    assert sink.sent == whole


def test_limit_is_gone_on_from(tmp_path: Path, whole: list[str]) -> None:
    parts = []
    for status in ("limit", "limit", "done"):
        sink = MemorySink()
        assert run(sink, tmp_path, limit=150).status == status
        parts += sink.sent
    assert parts == whole


def test_stop_is_noted_and_gone_on_from(tmp_path: Path, whole: list[str]) -> None:
    stop, first = threading.Event(), MemorySink()
    result = run(first, tmp_path, stop=stop, on_progress=lambda p: p.sent < 90 or stop.set())
    assert result.status == "stopped"
    assert len(first.sent) == first.acknowledged == result.progress.acknowledged == 96
    second = MemorySink()
    run(second, tmp_path)
    assert first.sent + second.sent == whole


def test_stop_ends_a_wait(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    result = run(MemorySink(), tmp_path, stop=stop, pacer=ConstantRate(1e-6))
    assert (result.status, result.progress.sent) == ("stopped", 0)


def test_a_file_that_breaks_off_keeps_what_was_read_before(tmp_path: Path) -> None:
    broken = tmp_path / "b.csv"
    broken.write_bytes(BANK.read_bytes() + b'"never closed' + b"x" * (9 << 20))
    sink = MemorySink()
    pipeline = Pipeline(load_mapping("bank_marketing"), [BANK, broken], 16)
    with pytest.raises(SourceFileError, match="quote"):
        Importer(pipeline, [BANK, broken], sink, tmp_path / "home").run()
    assert sink.acknowledged == len(sink.sent) > 0


def sent_at(pacer: Pacer, tmp_path: Path, mapping: str, file: Path) -> list[tuple[float, int]]:
    """(clock, records sent so far, event time) after each part of a paced import."""
    clock = Clock()
    steps: list[tuple[float, int]] = []
    pipeline = Pipeline(parse_mapping(mapping), [file], 16)
    importer = Importer(
        pipeline, [file], MemorySink(), tmp_path, pacer, stop=WaitingStop(clock), clock=clock,
        on_progress=lambda p: steps.append((clock.now, p.sent)),
    )  # fmt: skip
    assert importer.run().status == "done"
    return steps


TIMED = """
workspace: w
source: s
time: {column: t, format: epoch_s}
identifiers: {id: i}
events: [{kind: a}]
"""


def timed_file(tmp_path: Path, times: list[int]) -> Path:
    file = tmp_path / "t.csv"
    file.write_text("i,t\n" + "".join(f"{i},{t}\n" for i, t in enumerate(times)))
    return file


def test_rate_is_kept(tmp_path: Path) -> None:
    file = timed_file(tmp_path, [1_700_000_000] * 101)
    steps = sent_at(ConstantRate(20), tmp_path, TIMED, file)
    assert steps[-1][1] == 101
    assert steps[-1][0] == pytest.approx(5.0, abs=0.15)
    assert all(sent <= now * 20 + 1 + 1e-6 for now, sent in steps)


def test_speed_follows_event_time(tmp_path: Path) -> None:
    times = [1_700_000_000 + offset for offset in [0, 0, 100, 150, 1_000]]
    steps = sent_at(CompressedTime(100), tmp_path, TIMED, timed_file(tmp_path, times))
    reached = {sent: now for now, sent in reversed(steps)}
    assert reached[2] == 0.0
    assert reached[3] == pytest.approx(1.0, abs=0.01)
    assert reached[4] == pytest.approx(1.5, abs=0.01)
    assert reached[5] == pytest.approx(10.0, abs=0.01)


def test_pacers_refuse_what_is_no_pace() -> None:
    for pacer in (ConstantRate, CompressedTime):
        with pytest.raises(ValueError, match="greater than 0"):
            pacer(0)


def test_rate_catches_up() -> None:
    pacer = ConstantRate(10)
    times = np.zeros(1000, dtype=np.int64)
    assert pacer.due(times, 0.0)[0] == 1
    assert pacer.due(times, 5.0)[0] == 50


def test_checkpoint_files_are_replaced_whole(tmp_path: Path) -> None:
    file = CheckpointFile.of(tmp_path, "files/my crm", "m", ["f"], "d")
    assert file.path.name.startswith("files-my-crm-")
    file.save(5, False, "s", ["f"])
    file.save(9, True, "s", ["f"])
    assert (file.load().records, file.load().done) == (9, True)
    assert [p.name for p in tmp_path.iterdir()] == [file.path.name]


def test_report_of_rejected_rows_is_replaced_and_summed_up(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "r.jsonl"
    for rows in (3, 1, 0):
        with RejectReport(path) as report:
            for row in range(rows):
                report.add(Rejected("f.csv", row + 1, ("time: bad", "events[0].amount: bad")))
        assert report.rows == rows
        assert path.exists() == (rows > 0)
        if rows:
            assert len(path.read_text().splitlines()) == rows
            assert [(r.place, r.rows, r.first_row) for r in report.reasons] == [
                ("time", rows, 1), ("events[0].amount", rows, 1),
            ]  # fmt: skip
