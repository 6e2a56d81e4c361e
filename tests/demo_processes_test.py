"""The demo's processes: logs are followed, leftovers are cleared, strangers are left alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streams.demo.processes import note, only_one, stop_leftovers
from streams.demo.worker_log import WorkerLog
from streams.engine.errors import ConfigurationError
from streams.supervisor import Supervisor

WAIT_S = 20.0


def test_the_log_tells_the_port_of_the_newest_process(tmp_path: Path) -> None:
    file = tmp_path / "scoring.log"
    log = WorkerLog(file)
    assert log.port is None
    served = json.dumps({"event": "metrics_served", "port": 4711})
    with file.open("a") as out:
        out.write("\x1b[?25h" + served[:20])
        out.flush()
        assert log.port is None  # half a line
        out.write(served[20:] + "\n")
        out.flush()
        assert log.port == 4711
        out.write('{"event": "worker_stops", "level": "error", "reason": "no more"}\n')
        out.flush()
        assert log.complaint == "no more"
        out.write(json.dumps({"event": "metrics_served", "port": 4712}) + "\n")
        out.flush()
        assert log.port == 4712
        assert log.complaint == ""


def test_what_a_command_line_says_in_words_is_a_complaint(tmp_path: Path) -> None:
    file = tmp_path / "scoring.log"
    file.write_text("error: topics are missing\n")
    assert WorkerLog(file).complaint == "error: topics are missing"


def test_two_demos_do_not_run_in_one_folder(tmp_path: Path) -> None:
    with (
        only_one(tmp_path),
        pytest.raises(ConfigurationError, match="another demo"),
        only_one(tmp_path),
    ):
        pass
    with only_one(tmp_path):
        pass


def test_only_workers_of_ours_are_leftovers(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    stranger = subprocess.Popen(sleep)
    ours = subprocess.Popen([*sleep, "streams.cli.main worker"])
    try:
        note(tmp_path, {"workers": {"a": stranger.pid, "b": ours.pid}})
        assert stop_leftovers(tmp_path) == 1
        assert ours.wait(WAIT_S) != 0
        assert stranger.poll() is None
        assert stop_leftovers(tmp_path) == 0
    finally:
        for process in (stranger, ours):
            process.kill()
            process.wait()


def test_each_supervised_process_has_its_own_log_and_count_of_restarts(tmp_path: Path) -> None:
    commands = {
        "dies": [sys.executable, "-c", "print('dies')"],
        "lives": [sys.executable, "-c", "print('lives', flush=True); import time; time.sleep(60)"],
    }
    with (tmp_path / "dies").open("wb") as dies, (tmp_path / "lives").open("wb") as lives:
        supervisor = Supervisor(commands, {"dies": dies, "lives": lives})
        supervisor.start()
        try:
            deadline = time.monotonic() + WAIT_S
            while supervisor.restarts_of("dies") < 1:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert supervisor.restarts_of("lives") == 0
            supervisor.leave()
            assert "lives" in supervisor.pids
        finally:
            supervisor.stop()
    assert "lives" not in supervisor.pids
    assert set((tmp_path / "dies").read_text().split()) == {"dies"}
    assert (tmp_path / "lives").read_text() == "lives\n"
