"""The demo from the command line to its last line, on a real broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from streams.cli import demo
from streams.demo.processes import noted, stop_leftovers


def test_everything_that_is_sent_is_scored_exactly_once(
    kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEADSTREAM_HOME", str(tmp_path))
    monkeypatch.delenv("LEADSTREAM_DATA", raising=False)
    app = typer.Typer()
    demo.register(app)
    options = [f"--bootstrap={kafka}", f"--prefix={prefix}", "--rate=200", "--seconds=3"]
    result = CliRunner().invoke(app, [*options, "--plain", "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout.strip().splitlines()[-1])
    assert figures["events"] == figures["scores"] > 200
    assert (figures["missing"], figures["duplicate"], figures["restarts"]) == (0, 0, 0)
    assert figures["time_to_first_score_s"] > 0
    assert 0 <= figures["latency_ms_p50"] <= figures["latency_ms_p99"]
    assert set(figures["auc"]) == {"bank", "shop"}
    assert figures["labels"]["shop"] > 0
    said = result.stderr
    for words in ("streaming | sent", "top leads", "0 missing, 0 twice", "where to look next"):
        assert words in said, said
    # nothing is left but the logs
    assert noted(tmp_path / "demo") == {"workers": {}}
    assert stop_leftovers(tmp_path / "demo") == 0
    assert "task_open" in (tmp_path / "demo" / "scoring.log").read_text()
