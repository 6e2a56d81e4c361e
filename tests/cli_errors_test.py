"""What the installed command prints when something is wrong that its user can mend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("leadstream")


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"LEADSTREAM_HOME": str(home), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [COMMAND, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )


@pytest.mark.parametrize(
    "arguments",
    [("read", "leads.latest"), ("topics", "describe"), ("rebuild", "scoring")],
    ids=lambda a: a[0],
)
def test_without_a_broker_it_says_how_to_start_one(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 1, done.stderr
    assert "leadstream dev up" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_configuration_is_named_with_exit_status_2(tmp_path: Path) -> None:
    missing = tmp_path / "nothing"
    done = run(
        tmp_path, "worker", "scoring", "--bootstrap", "127.0.0.1:9", "--workspaces", str(missing)
    )
    assert done.returncode == 2, done.stderr
    assert str(missing) in done.stderr
    assert "Traceback" not in done.stderr
