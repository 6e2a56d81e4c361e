"""Promise A without a broker: neither partitions nor batches change a bit of an evaluation."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from evaluate_support import CRM, batches, crm, exact, excerpt
from scoring_support import DAY, START

from connectors.files.mapping import load_mapping, with_outcome_delay
from connectors.files.pipeline import source_batches
from models.workspaces import load_workspaces
from streams.evaluation.local import Run, run_local
from streams.evaluation.result import judge, write_predictions

CONFIGS = {"acme": CRM}
EVENTS = crm(1, 60, 1.0)
EXAMPLES = Path("infra/dev/workspaces")


def run(events: list[dict[str, Any]], size: int = 4096, partitions: int = 1) -> Run:
    return run_local(CONFIGS, "acme", "conversion", batches(events, size), partitions=partitions)


@cache
def reference() -> Run:
    return run(EVENTS)


def test_the_reference_holds_labels_of_every_kind() -> None:
    whole = reference()
    assert whole.events == len(EVENTS)
    assert whole.rejected == 0
    positive = whole.rows.column("positive")
    assert 20 < positive.sum() < len(positive) - 20
    assert len(set(whole.rows.column("lead_id"))) > 50
    assert len(positive) > 80  # stages and the schedule keep more than the first row
    assert len(set(whole.rows.column("probability"))) > 30


@pytest.mark.parametrize(
    ("partitions", "size"), [(2, 4096), (4, 4096), (1, 3), (4, 7), (1, 64), (2, 33)]
)
def test_partitions_and_batches_do_not_change_a_bit(partitions: int, size: int) -> None:
    other = run(EVENTS, size, partitions)
    assert exact(other) == exact(reference())
    assert (other.pending, other.events) == (reference().pending, reference().events)


@pytest.mark.parametrize(("partitions", "size"), [(1, 50), (4, 4096), (4, 13)])
def test_the_same_for_visits_of_a_web_shop(tmp_path: Path, partitions: int, size: int) -> None:
    configs = load_workspaces(EXAMPLES)
    file = excerpt("online_shoppers", 120, tmp_path)
    runs = [
        run_local(
            configs,
            "shop",
            "conversion",
            source_batches("online_shoppers", [file], s),
            partitions=p,
        )
        for p, s in ((1, 4096), (partitions, size))
    ]
    assert len(runs[0].rows) == 120
    assert exact(runs[0]) == exact(runs[1])


def test_rows_without_outcome_are_told_apart_and_of_this_target_only() -> None:
    last = max(e["occurred_at"] for e in EVENTS)
    half = [e for e in EVENTS if e["occurred_at"] < START + (last - START) // 2]
    cut = run(half)
    assert 0 < cut.pending < len(cut.rows)
    everything = run_local(CONFIGS, "acme", "upsell", batches(half))
    assert everything.pending != cut.pending


def test_a_repeated_file_changes_nothing() -> None:
    twice = run_local(CONFIGS, "acme", "conversion", [*batches(EVENTS), *batches(EVENTS)])
    assert exact(twice) == exact(reference())


def test_an_event_of_the_future_is_refused_and_does_not_keep_the_end_open() -> None:
    mad = {**EVENTS[0], "event_id": "mad", "occurred_at": START + 80_000 * DAY}
    mad["received_at"] = mad["occurred_at"]
    got = run([*EVENTS, mad])
    assert got.rejected == 1
    assert exact(got) == exact(reference())


def test_no_events_give_no_figures_and_no_error() -> None:
    empty = run_local(CONFIGS, "acme", "conversion", [])
    result = judge(empty, CRM, 0.5)
    assert (result.figures.labels, result.figures.auc, result.static) == (0, None, None)


def test_predictions_are_those_of_the_judged_rows(tmp_path: Path) -> None:
    result = judge(reference(), CRM, 0.5)
    write_predictions(result, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["lead_id", "event_id", "row_time", "probability", "outcome"]
    assert table.num_rows == result.figures.labels
    times = sorted(reference().rows.column("row_time"))
    edge = times[int(0.5 * (len(times) - 1))]
    assert table.num_rows == sum(t > edge for t in times)
    assert sum(table.column("outcome").to_pylist()) == result.figures.positives
    ids = {e["event_id"] for e in EVENTS}
    assert set(table.column("event_id").to_pylist()) <= ids


@pytest.mark.skipif("LEADSTREAM_DATA" not in os.environ, reason="needs LEADSTREAM_DATA")
def test_the_bank_is_predicted_no_worse_than_by_a_static_regression() -> None:
    file = Path(os.environ["LEADSTREAM_DATA"]) / "bank_marketing/bank-additional-first-half.csv.gz"
    configs = load_workspaces(EXAMPLES)
    mapping = with_outcome_delay(load_mapping("bank_marketing"), "500 rows")
    whole = run_local(configs, "bank", "conversion", source_batches(mapping, [file]))
    result = judge(whole, configs["bank"], 0.5)
    assert (whole.events, whole.pending, whole.rejected) == (41_188, 0, 0)
    own, static = result.figures, result.static
    assert static is not None and own.auc and static.auc and own.log_loss and static.log_loss
    assert own.auc >= static.auc
    assert own.log_loss <= static.log_loss
    assert own.ece is not None and own.ece <= 0.02
