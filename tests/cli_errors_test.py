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
    [
        ("read", "leads.latest"),
        ("topics", "describe"),
        ("rebuild", "scoring"),
        ("models", "list"),
        ("train", "champion", "bank", "conversion"),
        ("explain", "07a59a9d"),
    ],
    ids=lambda a: a[0],
)
def test_without_a_broker_it_says_how_to_start_one(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 1, done.stderr
    assert "leadstream dev up" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("up", "scorng"), "no role scorng"),
        (("up", "--workspaces", "/nonexistent"), "/nonexistent"),
        (("models", "history", "bank", "conversoin"), "bank conversion"),
        (
            ("evaluate", "bank_marketing", "README.md", "--target", "conversion",
             "--report", "/nonexistent/r.html"),
            "no folder /nonexistent",
        ),
    ],
    ids=["role", "workspaces", "target", "report"],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_reading_says_what_is_missing(tmp_path: Path, kafka: str, prefix: str) -> None:
    done = run(tmp_path, "read", "leads.latest", "--bootstrap", kafka, "--prefix", prefix)
    assert done.returncode == 2 and "leadstream topics create" in done.stderr, done.stderr
    done = run(tmp_path, "read", "leads.latest", "--bootstrap", "127.0.0.1:9")
    assert done.returncode == 1 and "no broker answers at 127.0.0.1:9" in done.stderr, done.stderr


def test_wrong_configuration_is_named_with_exit_status_2(tmp_path: Path) -> None:
    missing = tmp_path / "nothing"
    done = run(
        tmp_path, "worker", "scoring", "--bootstrap", "127.0.0.1:9", "--workspaces", str(missing)
    )
    assert done.returncode == 2, done.stderr
    assert str(missing) in done.stderr
    assert "Traceback" not in done.stderr
