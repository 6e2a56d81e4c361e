"""The audit names columns that know the outcome, and says nothing of those that do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.features.rollups import ROLLUPS
from streams.cli import main as cli

LEADS = 1_200
FEATURES = """
version: 1
attributes:
  - {name: size, type: numeric, transform: {kind: log1p}}
  - {name: region, type: categorical, buckets: 8}
  - {name: budget, type: numeric}
PLANTED
behaviour: {kinds: [engaged], half_lives_days: [7]}
"""
TARGETS = """
targets:
  - {name: conversion, positive_kinds: [won], negative_kinds: [lost], horizon_days: 400}
"""
MAPPING = """
workspace: deals
source: files/deals
time: {column: engaged}
identifiers: {crm_id: deal}
events:
  - kind: engaged
    numbers: NUMBERS
    texts: TEXTS
outcome:
  column: stage
  won: [Won]
  lost: [Lost]
  open: [Open]
  time: {column: closed}
  numbers: OUTCOME
"""
ATTRIBUTES = {
    "value": ("numbers", "value", "  - {name: value, type: numeric}"),
    "loss_reason": ("texts", "loss_reason", "  - {name: loss_reason, type: categorical}"),
    "closed": ("texts", "closed", "  - {name: closed, type: categorical}"),
    "owner_at_close": ("texts", "closer", "  - {name: owner_at_close, type: categorical}"),
    "renewal": ("texts", "renewal", "  - {name: renewal, type: categorical}"),
}

Audit = Callable[..., tuple[int, dict[str, Any]]]


def deals(signal: float) -> str:
    """A CRM's export: what is known at the end stands in the row of the beginning."""
    draw = np.random.default_rng(5)
    lines = ["deal,size,region,budget,engaged,stage,closed,value,loss_reason,closer,renewal"]
    for n in range(LEADS):
        size = draw.lognormal(3, 1)
        score = signal * (np.log(size) - 3)
        won = draw.random() < 1 / (1 + np.exp(-score))
        day = np.datetime64("2024-01-01") + n // 10
        closed = day + int(draw.integers(5, 60))
        renewal = day + 365
        budget = f"{draw.uniform(1, 9):.1f}" if draw.random() < 0.4 else ""
        stage = "Open" if draw.random() < 0.2 else "Won" if won else "Lost"
        end = ["", "", "", ""]
        if stage != "Open":
            reason = str(draw.choice(["price", "timing", ""])) if stage == "Lost" else ""
            value = f"{draw.uniform(100, 900):.0f}" if stage == "Won" else "0"
            end = [str(closed), value, reason, str(draw.choice(["ann", "bob", "eve"]))]
        region = draw.choice(["north", "south", "west"])
        head = f"{n},{size:.1f},{region},{budget},{day},{stage}"
        lines.append(f"{head},{','.join(end)},{renewal}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Audit:
    def run(
        *planted: str,
        signal: float = 0.0,
        with_outcome: bool = False,
        only: str = "",
        account: str = "",
    ) -> tuple[int, dict[str, Any]]:
        maps: dict[str, dict[str, str]] = {
            "numbers": {"size": "size", "budget": "budget"},
            "texts": {"region": "region"},
            "outcome": {},
        }
        for name in planted:
            where, column, _ = ATTRIBUTES[name]
            maps["outcome" if with_outcome else where][name] = column
        lines = [ATTRIBUTES[name][2] for name in planted]
        if account:
            lines += [f"  - {{name: {n}, type: numeric, from: numbers.{n}}}" for n in ROLLUPS]
        attributes = "\n".join(lines)
        folder = tmp_path / "workspaces" / "deals"
        folder.mkdir(parents=True)
        (folder / "workspace.yaml").write_text("name: deals\nepoch: 1d\n")
        (folder / "features.yaml").write_text(FEATURES.replace("PLANTED", attributes))
        (folder / "targets.yaml").write_text(TARGETS)
        text = MAPPING + (f"account: {account}\n" if account else "")
        for where, fields in maps.items():
            text = text.replace(where.upper(), json.dumps(fields))
        (tmp_path / "deals.yaml").write_text(text)
        head, *rows = deals(signal).splitlines()
        kept = [row for row in rows if only in row]
        (tmp_path / "deals.csv").write_text("\n".join([head, *kept]))
        monkeypatch.setenv("LEADSTREAM_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(
            "sys.argv",
            ["leadstream", "features", "audit", str(tmp_path / "deals.yaml"),
             str(tmp_path / "deals.csv"), "--target", "conversion", "--json",
             "--workspaces", str(tmp_path / "workspaces")],
        )  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        told = json.loads(out.splitlines()[-1]) if out else {"error": err}
        return int(ended.value.code or 0), told

    return run


def named(told: dict[str, Any], where: str = "findings") -> set[str]:
    return {finding["column"] for finding in told[where]}


@pytest.mark.parametrize("signal", [0.0, 1.5])
def test_an_honest_mapping_is_left_in_peace_and_hears_what_to_keep_out(
    audit: Audit, signal: float
) -> None:
    status, told = audit(signal=signal)
    assert (status, told["findings"]) == (0, [])
    assert told["labels"] > 800
    assert named(told, "kept_out") == {"value", "closed", "loss_reason", "closer", "renewal"}


@pytest.mark.parametrize("account", ["deal", "budget", "region"])
def test_what_identity_counted_of_accounts_is_no_leak(audit: Audit, account: str) -> None:
    # of an account with one deal only the outcome's event is told how long ago its last event was
    status, told = audit(signal=1.5, account=account)
    assert (status, told["findings"], told["columns"]) == (0, [], 15)
    assert not {n for n in named(told, "kept_out") if "account" in n}


@pytest.mark.parametrize(
    ("planted", "test"),
    [
        ("value", "outcome"),
        ("loss_reason", "pure"),
        ("closed", "outcome_time"),
        ("owner_at_close", "decided"),
    ],
)
def test_a_planted_leak_is_named_with_its_reason(audit: Audit, planted: str, test: str) -> None:
    status, told = audit(planted)
    assert status == 1
    assert named(told) == {planted}
    assert test in {finding["test"] for finding in told["findings"]}


def test_a_plan_for_later_is_only_a_suspicion(audit: Audit) -> None:
    status, told = audit("renewal")
    assert status == 0
    assert [(f["column"], f["severity"], f["test"]) for f in told["findings"]] == [
        ("renewal", "suspect", "future")
    ]


def test_without_outcomes_it_says_what_is_missing(audit: Audit) -> None:
    status, told = audit(only=",Open,")
    assert status == 2
    assert "nothing to audit" in " ".join(told["error"].split())


def test_what_only_closing_events_tell_is_known_too_late(audit: Audit) -> None:
    status, told = audit("value", with_outcome=True)
    assert status == 1
    assert [(f["column"], f["test"]) for f in told["findings"]] == [("value", "late")]
