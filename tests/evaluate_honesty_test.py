"""Figures find what there is to find, and nothing where there is nothing."""

from __future__ import annotations

from evaluate_support import CRM, batches, crm

from streams.evaluation.local import run_local
from streams.evaluation.result import Result, judge


def judged(leads: int, signal: float, fraction: float = 0.5) -> Result:
    events = crm(7, leads, signal, silent=0.0)  # silence itself would tell of the outcome
    run = run_local({"acme": CRM}, "acme", "conversion", batches(events))
    return judge(run, CRM, fraction)


def test_random_outcomes_cannot_be_predicted_whatever_closing_events_give_away() -> None:
    """The closing event names the amount of what was won, and visits after it repeat it."""
    result = judged(1000, 0.0)
    assert result.figures.labels > 1000
    assert result.figures.auc is not None and abs(result.figures.auc - 0.5) < 0.06
    assert result.static is not None and result.static.auc is not None
    assert abs(result.static.auc - 0.5) < 0.06


def test_what_tells_of_the_outcome_is_learned() -> None:
    result = judged(500, 1.5)
    own, static = result.figures, result.static
    assert own.auc is not None and own.auc > 0.7
    assert static is not None and static.auc is not None and static.log_loss is not None
    assert static.auc > 0.7
    assert own.log_loss is not None and abs(own.log_loss - static.log_loss) < 0.06


def test_without_rows_before_there_is_no_baseline() -> None:
    assert judged(40, 1.5, 0.0).static is None
