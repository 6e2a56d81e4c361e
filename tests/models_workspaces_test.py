"""A configuration folder becomes workspaces; the examples that ship are valid."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.config import ConfigError, duration_us
from models.features.state import lead_dtype
from models.workspaces import load_workspaces

EXAMPLES = Path(__file__).parent.parent / "infra" / "dev" / "workspaces"


def test_the_example_workspaces_are_valid_and_small() -> None:
    workspaces = load_workspaces(EXAMPLES)
    assert list(workspaces) == ["bank", "shop"]
    for config in workspaces.values():
        assert lead_dtype(config.catalogue).itemsize <= 384
        assert config.target("conversion").positive_kinds == ("won",)
    assert workspaces["bank"].catalogue.hash != workspaces["shop"].catalogue.hash


def test_the_bank_does_not_learn_from_the_call_that_is_not_over() -> None:
    catalogue = load_workspaces(EXAMPLES)["bank"].catalogue
    assert "duration" not in catalogue.column_names


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("workspace.yaml", "epoch: 1d", "epoch: a day", r"workspace\.yaml:\d+: epoch"),
        ("workspace.yaml", "epoch: 1d", "epoch: 0d", r"workspace\.yaml:\d+: epoch"),
        (
            "workspace.yaml",
            "name: bank",
            "subscribers: [{name: desk, target: none, threshold: {score: 80}}]\nname: bank",
            r"workspace\.yaml:\d+: subscribers\[0\]\.target: no target 'none'",
        ),
        (
            "workspace.yaml",
            "name: bank",
            "subscribers: [{name: desk, target: conversion, threshold: {}}]\nname: bank",
            r"workspace\.yaml:\d+: subscribers\[0\]\.threshold: a threshold is one of",
        ),
        (
            "workspace.yaml",
            "name: bank",
            "lifecycle: {shadow_labels: 5}\nname: bank",
            r"workspace\.yaml:\d+: lifecycle: shadow_labels 5 is below",
        ),
        ("workspace.yaml", "name: bank", "name: bench", r"workspace\.yaml:2: name"),
        ("targets.yaml", "[lost]", "[won]", r"targets\.yaml:\d+: targets\[0\]\.negative_kinds"),
        ("targets.yaml", "A: 80", "A: 50", r"targets\.yaml:\d+: targets\[0\]\.grades"),
        ("targets.yaml", "horizon_days: 90", "", r"targets\.yaml:2: targets\[0\]: .*horizon_days"),
        ("targets.yaml", "max_pending: 4", "max_pending: 99", r"rows\.max_pending"),
        (
            "features.yaml",
            "kinds: [contact]",
            f"sequence: true\n  kinds: [contact, {', '.join(f'k{n}' for n in range(7))}]",
            r"features\.yaml: a lead would take 392 B, more than the 384 B.*8 kinds of 24 B",
        ),
    ],
)
def test_mistakes_name_file_line_and_field(
    tmp_path: Path, file: str, old: str, new: str, expected: str
) -> None:
    shutil.copytree(EXAMPLES / "bank", tmp_path / "bank")
    path = tmp_path / "bank" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=expected + r".*Fix: "):
        load_workspaces(tmp_path)


def test_an_empty_or_missing_folder_says_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no workspace"):
        load_workspaces(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        load_workspaces(tmp_path / "absent")


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(KeyError, match="conversion"):
        load_workspaces(EXAMPLES)["bank"].target("churn")


def test_durations_are_microseconds() -> None:
    assert [duration_us(text) for text in ("30s", "5m", "1h", "2d")] == [
        30_000_000, 300_000_000, 3_600_000_000, 172_800_000_000,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="not a duration"):
        duration_us("1 week")
