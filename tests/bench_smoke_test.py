"""The benchmarks run end to end, small, and say what they promise."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from models.workspaces import load_workspaces
from streams.app import ROLES, Parts
from streams.bench import learning
from streams.bench.learning_live import LiveSizes
from streams.bench.learning_live import run as run_live
from streams.bench.measure import Sampler
from streams.bench.outputs import Outputs
from streams.bench.peer_job import run as peer_job
from streams.bench.scoring import restore
from streams.bench.scoring.messages import Messages
from streams.bench.scoring.models import MadeUpModels
from streams.bench.scoring.run import Sizes, run
from streams.bench.scoring.scores import Sums
from streams.bench.scoring.setup import run_topics
from streams.bench.scoring.traffic import SourceEvents, TimelineEvents
from streams.cli import bench
from streams.engine.broker import KafkaBroker
from streams.engine.changelog import Changelog
from streams.metrics import EngineMetrics
from streams.settings import load

app = typer.Typer()
bench.register(app)
PUBLIC = {"events_per_s", "cpu_us_per_event", "cpu_us_run", "rss_mb", "missing", "duplicate"}


def test_peer_job_is_verified_and_measured(kafka):
    command = ["bench", "peer-job", "--events", "5000", "--repeat", "1", "--bootstrap", kafka]
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.output.strip().splitlines()[-1])
    assert figures.keys() >= PUBLIC | {"broker_cpu_us", "second_half_per_s", "other_cores"}
    assert figures["ok"] and figures["distinct"] == 4900
    assert figures["missing"] == figures["duplicate"] == figures["wrong"] == 0


def test_scoring_bench_scores_every_event_once(kafka):
    sizes = Sizes(
        events=3_000, leads=200, rates=(500,), seconds=1, skip_s=0.5, partitions=2, half_load=False,
        champion_terms=40, weights_per_s=20,
    )  # fmt: skip
    figures = run(kafka, ["throughput", "latency"], sizes)
    assert figures.keys() >= PUBLIC | {"stage_us", "second_half_per_s"}
    assert figures["missing"] == figures["duplicate"] == 0
    (row,) = figures["latency"]
    assert row["missing"] == row["duplicate"] == 0
    for figure in ("sum_error", "delta_error"):
        assert max(figures[figure], row[figure]) <= 1e-6
    assert row["model_parts"] > 0  # new weights moved scores while they were read
    assert 0 < row["latency_ms_p50"] <= row["latency_ms_p99"]


def test_reasons_bench_says_what_they_add():
    sizes = Sizes(leads=500, champion_terms=40, reasons_events=2_000, reasons_repeat=1)
    figures = run(None, ["reasons"], sizes)
    found = [(row["champion_terms"], row["batch_rows"]) for row in figures["reasons"]]
    assert found == [(0, 4096), (0, 16), (40, 4096), (40, 16)]
    for row in figures["reasons"]:
        parts = row["plain_us"] + row["reasons_us"] + row["deltas_us"]
        assert parts == pytest.approx(row["us"], abs=0.05)


def test_a_sum_that_does_not_add_up_is_seen():
    sums = Sums()
    told = [{"feature": "age", "contribution": 0.5, "value": None}]
    deltas = {"delta_event": 0.2, "delta_time": 0.0, "delta_model": 0.1}
    right = {"logit": 1.0, "bias": 0.2, "other": 0.3, "previous_logit": 0.7, **deltas}
    first = {"previous_logit": None, **dict.fromkeys(deltas)}
    rows = [
        {**right, "contributions": told, "champion_version": "a"},
        {**right, **first, "other": 0.8, "contributions": [], "champion_version": None},
    ]
    sums.add(pa.RecordBatch.from_pylist(rows))
    assert max(sums.sum_error, sums.delta_error) < 1e-9
    assert (sums.model_parts, sums.champions) == (1, {"a", None})
    sums.add(pa.RecordBatch.from_pylist([{**rows[0], "other": 0.4, "delta_time": -0.2}]))
    assert sums.sum_error == pytest.approx(0.1)
    assert sums.delta_error == pytest.approx(0.2)


def test_restore_bench_fills_what_a_task_can_open(kafka, bank):
    settings = load(kafka_bootstrap=kafka)
    with run_topics(settings, 2, MadeUpModels.of(bank, 0)) as own:
        assert restore.fill(own, bank, 300, 3, 2) >= 3 * 300
        topic, broker = f"{own.topic_prefix}scoring-changelog", KafkaBroker(kafka)
        rows = {}
        for partition in range(2):
            state = ROLES["scoring"].build(Parts({bank.name: bank}, EngineMetrics())).new_state()
            changelog = Changelog(state)
            broker.read(topic, partition, broker.end_offset(topic, partition), changelog.apply)
            assert changelog.progress.offsets == {"lead.timeline": 0}
            for name, table in state.tables.items():
                rows[name] = rows.get(name, 0) + len(table)
    assert rows["leads/bank"] == rows["pending/bank"] == 300


def test_learning_bench_measures_every_linear_model():
    result = CliRunner().invoke(app, ["bench", "learning", "--labels", "1000", "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.output.strip().splitlines()[-1])
    assert [each["model"] for each in figures["models"]] == list(learning.MODELS)
    assert figures["labels_per_s"] == figures["models"][-1]["labels_per_s"] > 0
    role = figures["role"]
    parts = [role[f"{part}_us"] for part in ("learn", "publish", "refit", "keep")]
    assert sum(parts) == pytest.approx(role["cpu_us_per_label"], abs=0.5)
    assert role["refits"] >= 1 and role["refit_ms"] > 0


def test_live_learning_bench_reaches_every_scorer_and_loses_nothing(kafka):
    sizes = LiveSizes(seconds=2, labels_per_s=40, events_per_s=100, rounds=1)
    figures = run_live(kafka, sizes)
    assert figures["missing"] == figures["duplicate"] == figures["half_loaded"] == 0
    assert figures["labels"] > 0 and figures["champions"] >= 2
    assert 0 < figures["label_to_score_ms_p50"] <= figures["label_to_score_ms_p99"]
    assert len(figures["promote_s"]) == len(figures["rollback_s"]) == 1


def test_an_unknown_part_is_refused():
    result = CliRunner().invoke(app, ["bench", "scoring", "--part", "luck"])
    assert result.exit_code == 2
    assert "no part luck" in result.output


def test_medians_are_of_figures_and_one_wrong_run_spoils_all():
    runs = [{"ok": True, "a": 1, "b": 2.5}, {"ok": False, "a": 3, "b": 1.5}]
    assert peer_job.medians(runs) == {"ok": False, "a": 2, "b": 2.0}


def test_cpu_between_two_times_is_interpolated():
    sampler = Sampler([], None)
    sampler._rows = [(0.0, 1.0, 0.0, 0.0, 0.0), (10.0, 3.0, 0.0, 4.0, 0.0)]
    assert sampler.app_s(0.0, 5.0) == pytest.approx(1.0)
    assert sampler.other_cores(0.0, 10.0) == pytest.approx(0.2)


def test_output_is_visible_when_every_partition_came_so_far():
    outputs = Outputs("127.0.0.1:1", 2)
    outputs.seen = [(1.0, {0: 5, 1: 0}), (2.0, {0: 5, 1: 4}), (3.0, {0: 9, 1: 9})]
    assert outputs.visible_at({0: 4, 1: 3}) == 2.0


def test_messages_survive_their_file(tmp_path, timeline_messages):
    path = tmp_path / "messages.arrow"
    timeline_messages.write(path)
    assert Messages.read(path).table.equals(timeline_messages.table)
    assert Messages.read(path).events == timeline_messages.events


@pytest.fixture(scope="module")
def bank():
    return load_workspaces("infra/dev/workspaces")["bank"]


@pytest.fixture(scope="module")
def timeline_messages(bank):
    source = TimelineEvents(bank, SourceEvents(bank, 50, events_per_epoch=400), 4)
    return Messages.encode("timeline_event", source.take(1000))


def test_traffic_is_events_in_order_with_ticks_for_every_partition(timeline_messages):
    assert timeline_messages.events == 1000
    ids = [i for i in timeline_messages.event_ids.to_pylist() if i is not None]
    assert ids == sorted(ids) and len(set(ids)) == 1000
    ticks = len(timeline_messages) - timeline_messages.events
    assert ticks and ticks % 4 == 0
