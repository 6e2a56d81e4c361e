"""The supervisor keeps processes running, and ends every one of them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streams import supervisor
from streams.settings import Settings
from streams.supervisor import Supervisor, worker_command

FOREVER = "import time\nwhile True: time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


def python(program: str) -> list[str]:
    return [sys.executable, "-S", "-c", program]


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@contextmanager
def running(**programs: str) -> Iterator[Supervisor]:
    watched = Supervisor({name: python(program) for name, program in programs.items()})
    watched.start()
    try:
        yield watched
    finally:
        watched.stop()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_that_dies_is_started_again_and_the_others_are_left_alone() -> None:
    with running(one=FOREVER, two=FOREVER) as watched:
        before = watched.pids
        os.kill(before["one"], signal.SIGKILL)
        until(lambda: watched.pids.get("one", before["one"]) != before["one"])
        assert watched.pids["two"] == before["two"]
        assert watched.restarts == 1
        last = watched.pids
    assert not any(alive(pid) for pid in last.values())


def test_pauses_between_restarts_grow_and_shrink_again_once_it_ran(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "_FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(supervisor, "_LONGEST_BACKOFF_S", 0.04)
    pauses: list[float] = []
    monkeypatch.setattr(
        supervisor.log, "warning", lambda _, **told: pauses.append(told["restart_in_s"])
    )
    watched = Supervisor({"one": python("raise SystemExit(3)")})
    watched._children["one"].backoff_s = 0.01
    watched.start()
    try:
        until(lambda: len(pauses) >= 5)
        assert pauses[:5] == [0.01, 0.02, 0.04, 0.04, 0.04]
        monkeypatch.setattr(supervisor, "_HEALTHY_S", 0.0)
        watched._children["one"].command = python(FOREVER)
        until(lambda: watched._children["one"].backoff_s == 0.01)
    finally:
        watched.stop()


def test_stop_asks_first_so_that_work_can_be_finished(tmp_path: Path) -> None:
    done = tmp_path / "done"
    polite = (
        "import signal, sys, pathlib\n"
        f"def end(*_): pathlib.Path({str(done)!r}).write_text('finished'); sys.exit(0)\n"
        f"signal.signal(signal.SIGTERM, end); pathlib.Path({str(tmp_path / 'up')!r}).touch()\n"
        "signal.pause()"
    )
    with running(one=polite):
        until((tmp_path / "up").exists)
    assert done.read_text() == "finished"


def test_what_does_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(supervisor, "_STOP_S", 0.3)
    up = tmp_path / "up"
    program = f"{STUBBORN}open({str(up)!r}, 'w').close()\n{FOREVER}"
    with running(one=program) as watched:
        until(up.exists)
        (pid,) = watched.pids.values()
    assert not alive(pid)


def test_nothing_is_started_once_stop_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_FIRST_BACKOFF_S", 0.0)
    watched = Supervisor({f"n{i}": python("raise SystemExit(1)") for i in range(4)})
    for child in watched._children.values():
        child.backoff_s = 0.0
    watched.start()
    until(lambda: watched.restarts >= 2)
    watched.stop()
    count = watched.restarts
    time.sleep(0.3)  # longer than the watch's turn; nothing to wait for when nothing happens
    assert watched.restarts == count
    assert watched.pids == {}


def test_run_ends_all_on_sigterm(tmp_path: Path) -> None:
    """As ``leadstream up`` runs it: in the foreground, until a signal."""
    import subprocess

    script = (
        "import sys; from streams.supervisor import Supervisor\n"
        f"code = {FOREVER!r}\n"
        "s = Supervisor({n: [sys.executable, '-S', '-c', code] for n in 'ab'})\n"
        "import threading\n"
        "def tell():\n"
        "    import time\n"
        "    while len(s.pids) < 2: time.sleep(0.01)\n"
        "    print(*s.pids.values(), flush=True)\n"
        "threading.Thread(target=tell).start()\n"
        "sys.exit(s.run())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not any(alive(pid) for pid in pids)


def test_a_worker_gets_the_settings_of_its_parent() -> None:
    settings = Settings(
        kafka_bootstrap="somewhere:9092", topic_prefix="t.", policy="barrier", log_level="error"
    )
    command = worker_command("scoring", settings, instance="scoring-7")
    assert command[1:5] == ["-m", "streams.cli.main", "worker", "scoring"]
    assert {
        "--bootstrap=somewhere:9092", "--prefix=t.", "--policy=barrier", "--instance=scoring-7",
        "--log-level=error",
    } <= set(command)  # fmt: skip
