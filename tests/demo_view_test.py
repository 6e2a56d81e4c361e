"""What the demo shows: the same state always gives the same picture, and it fits 100 x 30."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from streams.demo import summary, view
from streams.demo.state import (
    Delivery,
    DemoState,
    Reason,
    RoleState,
    Step,
    TopLead,
    WorkspaceState,
)

LEAD = TopLead(
    "3fa2c1d0" + "0" * 24,
    97,
    "A",
    0.421,
    [
        Reason(0.84, "2.6 recent visits (half-life 7 d)"),
        Reason(-0.12, "a reason that is longer than the room for it " * 3),
        Reason(0.05, "visitor: New_Visitor"),
    ],
    outcome="won",
)
STATE = DemoState(
    phase="streaming",
    elapsed_s=83.4,
    first_score_s=9.83,
    bootstrap="127.0.0.1:9092",
    steps=[Step("Kafka broker", 1.2), Step("workers", None, "waiting for scoring")],
    roles=[
        RoleState("identity", True, 12_345, 12_999, 251.4, 260.0, 7, 321, 3, 0),
        RoleState("scoring", True, 12_000, 24_000, 250.0, 500.0, 1_234, 400, 0, 2),
        RoleState("learning"),
    ],
    workspaces=[
        WorkspaceState(
            "bank", "bank contacts as CRM events", "conversion", 5_000, 8_000, 4_000, 1_500,
            0.7512, 0.2987, 0.0123, 42, [LEAD] * 3,
        ),
        WorkspaceState("shop", "shop web sessions", "conversion", 7_000, 10_894),
    ],
    delivery=Delivery(12_000, 12_000, 11_990, 10, 0),
    latency_ms=(31.4, 12_345.0),
    recent_latency_ms=(28.0, 88.0),
)  # fmt: skip


def drawn(state: DemoState) -> list[str]:
    console = Console(width=100, height=30, record=True, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(view.screen(state))
    return captured.get().rstrip("\n").split("\n")


def test_the_live_view_fits_a_hundred_by_thirty_characters() -> None:
    lines = drawn(STATE)
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 100


def test_the_live_view_shows_flow_quality_and_leads_with_reasons() -> None:
    text = "\n".join(drawn(STATE))
    for said in (
        "12,000 of 18,894 events",
        "first score after 9.8 s",
        "12,345",
        "1,234",
        "now p50 28 ms p99 88 ms",
        "whole run p50 31 ms p99 12.3 s",
        "0.751",
        "0.299",
        "0.012",
        "v42",
        "A  97",
        "42.1%",
        "won",
        "+0.84 2.6 recent visits (half-life 7 d)",
        "-0.12 a reason",
        "none right now",
    ):
        assert said in text, said


def test_until_the_first_score_the_steps_of_the_start_are_shown() -> None:
    text = "\n".join(drawn(replace(STATE, first_score_s=None, phase="starting")))
    assert "no score yet" in text
    assert "✓  Kafka broker  1.2 s" in text
    assert "waiting for scoring" in text
    assert "+0.84" not in text


def test_the_view_of_nothing_can_be_drawn() -> None:
    assert len(drawn(DemoState())) <= 30


def test_plain_lines_say_the_same_in_one_line() -> None:
    assert view.line(STATE) == (
        "01:23 streaming | sent 12,000 | scored 11,990 | lag 1241 | dead letters 3 | "
        "latency p50 28 ms p99 88 ms | bank: 1,500 labels AUC 0.751 ECE 0.012 | "
        "shop: 0 labels AUC – ECE –"
    )
    starting = replace(STATE, first_score_s=None, phase="starting")
    assert view.line(starting) == "01:23 starting: workers (waiting for scoring)"
    assert view.step_line(STATE.steps[0]).strip() == "Kafka broker: 1.2 s"


@pytest.mark.parametrize(
    ("delivery", "holds"),
    [
        (Delivery(5, 5, 5, 0, 0), True),
        (Delivery(5, 5, 4, 1, 0), False),
        (Delivery(5, 5, 5, 0, 1), False),
        (Delivery(), False),
    ],
)
def test_the_account_holds_only_if_nothing_is_missing_or_twice(
    delivery: Delivery, holds: bool
) -> None:
    assert delivery.holds is holds
    colour = "green" if holds else "red"
    assert colour in summary.verdict(replace(STATE, delivery=delivery))


def test_the_summary_says_figures_account_and_commands() -> None:
    console = Console(width=100, record=True, color_system=None)
    with console.capture() as captured:
        summary.show(console, STATE)
        summary.where_next(console, "demo.", Path("logs"), ["the workers"], up=False)
    text = captured.get()
    for said in (
        "12,000 events sent, 11,990 scores read back: 10 missing, 0 twice",
        "9.8 s after the start",
        "leads.latest --prefix demo.",
        "dev up",
        "demo --stop",
        "logs",
    ):
        assert said in text, said


def test_the_figures_are_one_json_object_with_public_names() -> None:
    figures = json.loads(summary.as_json(STATE))
    assert figures["time_to_first_score_s"] == 9.83
    assert (figures["events"], figures["scores"]) == (12_000, 11_990)
    assert (figures["missing"], figures["duplicate"]) == (10, 0)
    assert (figures["latency_ms_p50"], figures["latency_ms_p99"]) == (31.4, 12_345.0)
    assert figures["auc"] == {"bank": 0.7512, "shop": None}
