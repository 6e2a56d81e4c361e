"""``leadstream features list`` and ``collisions``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluate_support import excerpt

from streams.cli import main as cli


def features(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["leadstream", "features", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


def test_list_documents_every_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = features(monkeypatch, capsys, "list", "bank", "--json")
    told = json.loads(out)
    columns = {column["name"]: column for column in told["columns"]}
    assert status == 0
    assert len(columns) == 28
    assert columns["pdays"] == {
        "name": "pdays",
        "words": "time since the contact of an earlier campaign",
        "unit": "days",
        "kind": "numeric",
        "source": "numbers.pdays",
        "transform": "standard: (x - 999) / 300",
        "missing": "no event told it",
    }
    status, out, _ = features(monkeypatch, capsys, "list", "bank")
    assert status == 0 and "catalogue 1-" in out


def test_list_of_no_workspace_names_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = features(monkeypatch, capsys, "list", "bakn")
    assert status == 2 and "bank" in err and "Traceback" not in err


def test_collisions_of_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = str(excerpt("online_shoppers", 400, tmp_path))
    status, out, _ = features(monkeypatch, capsys, "collisions", "online_shoppers", file, "--json")
    assert status == 0
    found = {one["column"]: one for one in json.loads(out)["collisions"]}
    assert found["month"]["events"] == 400
    assert found["browser"]["texts"] > 2
