"""The real roles disturbed, under ``barrier``: every score equal bit for bit to a quiet run's.

Source events, 2 % of them sent twice, go through identity, scoring and learning. Weights are
learned from outcomes in the stream and used by later scores, so one record lost, doubled or learned
in another order changes bits from there on. Champions are refitted, tried in shadow and canary,
gated and promoted all the while; what happens to them must be the same as well.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from infra.dev.kafka import DevKafka
from models.workspaces import WorkspaceConfig
from streams.app import new_codec, workspaces_of
from streams.bench.faults.disturb import ENVIRONMENT, Disturbed, counts, faults
from streams.bench.faults.sending import FaultProof
from streams.bench.faults.workers import Workers
from streams.bench.scoring.traffic import WORKSPACE, SourceEvents
from streams.engine.broker import KafkaBroker
from streams.engine.hashing import hash128
from streams.evaluation.read import TopicReader
from streams.governance.log import rows
from streams.settings import Settings
from streams.supervisor import worker_command
from streams.topic_admin import TopicAdmin

_ROLES = {"identity-0": "identity", "scoring-0": "scoring", "scoring-1": "scoring",
          "learning-0": "learning"}  # fmt: skip
_NOT_COMPARED = ("scored_at", "source_partition", "source_offset")
_EPOCHS = 50
_TWICE, _LATER = 0.02, 1000
_PIECE = 20_000
_IDLE_S = 60.0
_EXTRA_S = 2.0


@dataclass(slots=True)
class Scores:
    """Published scores as two hashes each: which event and target, and every field ``[n, 2]``.

    Attributes:
        lifecycle: What happened to models, in order: slot, action, version, reason.
    """

    keys: NDArray[np.uint64]
    values: NDArray[np.uint64]
    with_weights: int
    with_champion: int = 0
    lifecycle: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.keys)


def run(
    broker: DevKafka,
    folder: Path,
    kills: int,
    events: int,
    seed: int,
    say: Callable[[str], None],
    partitions: tuple[int, ...] = (1, 4),
) -> list[dict[str, Any]]:
    """Score the same events in quiet on one partition, then disturbed on each partition count.

    Returns:
        One result for each partition count, with the counts of scores that were ``missing``,
        ``duplicate``, ``unknown`` or ``different`` from the quiet run's.
    """
    test = _Test(broker, folder, events, seed)
    say("scoring under barrier, undisturbed, on 1 partition")
    quiet, _ = test.scores(1, [], random.Random(seed), lambda _: None)
    found = []
    for count in partitions:
        say(f"scoring under barrier, disturbed, on {count} partitions")
        rng = random.Random(seed + count)
        wrong = faults(kills, rng)
        scores, workers = test.scores(count, wrong, rng, say)
        verdict = compare(test.expected, quiet, scores)
        found.append(
            {
                "job": "scoring",
                "partitions": count,
                **counts(wrong),
                "events": test.messages,
                "distinct": events,
                "outputs": len(scores),
                "with_learned_weights": scores.with_weights,
                "with_champion": scores.with_champion,
                "lifecycle_events": len(scores.lifecycle),
                **verdict,
                "restarts": workers.started - len(_ROLES),
                "failures": workers.failed,
                "ok": not any(verdict.values()) and not workers.failed,
            }
        )
    return found


def compare(expected: NDArray[np.uint64], quiet: Scores, scores: Scores) -> dict[str, int]:
    """Count what differs between what there should be, a quiet run's scores and others."""
    first, times = _first(scores.keys)
    reference, twice = _first(quiet.keys)
    wanted = _as_one(expected)
    both, here, there = np.intersect1d(
        _as_one(scores.keys[first]), _as_one(quiet.keys[reference]), return_indices=True
    )
    same = scores.values[first][here] == quiet.values[reference][there]
    return {
        "missing": len(np.setdiff1d(wanted, _as_one(scores.keys))),
        "duplicate": int(times.sum()) - len(times),
        "unknown": len(np.setdiff1d(_as_one(scores.keys), wanted)),
        "different": int((~same.all(axis=1)).sum()) + len(first) - len(both),
        "lifecycle_different": sum(
            a != b for a, b in zip_longest(quiet.lifecycle, scores.lifecycle)
        ),
        "quiet_run_wrong": len(np.setxor1d(wanted, _as_one(quiet.keys)))
        + int(twice.sum())
        - len(twice),
    }


class _Test:
    """The input, and runs over it."""

    def __init__(self, broker: DevKafka, folder: Path, events: int, seed: int) -> None:
        self._broker, self._folder = broker, folder
        self._settings = Settings(
            kafka_bootstrap=broker.bootstrap,
            policy="barrier",
            log_level="warning",
            workspaces=_workspaces(folder, events),
        )
        config = workspaces_of(self._settings)[WORKSPACE]
        self._codec = new_codec(self._settings)("crm.events")
        self._values, ids = self._make(config, events, seed)
        self.messages = len(self._values)
        targets = [t.name for t in config.targets]
        self.expected = hash128(pa.array([f"{i}/{t}" for i in ids for t in targets]))

    def _make(
        self, config: WorkspaceConfig, events: int, seed: int
    ) -> tuple[list[bytes], list[str]]:
        """Encoded source events, some of them a second time a little later; and the ids."""
        leads = max(10, events // 10)
        per_epoch = max(1, events // _EPOCHS)
        source = SourceEvents(config, leads, events_per_epoch=per_epoch, seed=seed)
        values: list[bytes] = []
        ids: list[str] = []
        for start in range(0, events, _PIECE):
            batch = source.take(min(_PIECE, events - start))
            ids += batch.column("event_id").to_pylist()
            values += self._codec.encode(batch)
        rng = np.random.default_rng(seed)
        again = np.sort(rng.choice(events, int(events * _TWICE), replace=False))
        place = np.concatenate([np.arange(events), again + rng.uniform(0.1, _LATER, len(again))])
        which = np.concatenate([np.arange(events), again])
        order = which[np.argsort(place, kind="stable")]
        return [values[i] for i in order.tolist()], ids

    def scores(
        self, partitions: int, wrong: list[str], rng: random.Random, say: Callable[[str], None]
    ) -> tuple[Scores, Workers]:
        """Run all roles over the input on topics of their own and read every score back."""
        prefix = f"faults-{'disturbed' if wrong else 'quiet'}-{partitions}."
        own = self._settings.model_copy(update={"topic_prefix": prefix})
        admin = TopicAdmin(own.kafka_bootstrap, prefix=prefix, partitions=partitions)
        admin.create()
        job = _ScoringJob(own, self._values, len(self.expected), partitions)
        # without a stable name, so that a killed worker's partitions move to the other one
        commands = {n: worker_command(role, own, instance="") for n, role in _ROLES.items()}
        folder = self._folder / prefix.rstrip(".")
        folder.mkdir()
        workers = Workers(commands, ENVIRONMENT, folder, rng)
        try:
            Disturbed(self._broker, workers, job, rng).go(wrong, say)
            return read_scores(own), workers
        finally:
            workers.end()
            admin.delete()


class _ScoringJob:
    def __init__(
        self, settings: Settings, values: list[bytes], expected: int, partitions: int
    ) -> None:
        self._kafka = KafkaBroker(settings.kafka_bootstrap)
        self._out = FaultProof(settings.kafka_bootstrap)
        self._prefix, self._partitions = settings.topic_prefix, range(partitions)
        self._values, self._expected = values, expected
        self._still = (-1, 0.0)

    def __len__(self) -> int:
        return len(self._values)

    def append(self, start: int, stop: int) -> None:
        for value in self._values[start:stop]:
            self._out.send(f"{self._prefix}crm.events", WORKSPACE, value)
        self._out.flush()

    def written(self) -> int:
        topic = f"{self._prefix}leads.scored"
        return sum(self._kafka.end_offset(topic, p, committed=False) for p in self._partitions)

    def processed(self) -> bool:
        """Whether enough was written and no more comes; offsets count markers as well."""
        written, now = self.written(), time.monotonic()
        if written != self._still[0]:
            self._still = (written, now)
        return written >= self._expected and now - self._still[1] > _EXTRA_S


def _workspaces(folder: Path, events: int) -> Path:
    """The example workspace, with some 20 champions that are on trial half of the time."""
    source = Settings().workspaces / WORKSPACE
    target = folder / "workspaces" / WORKSPACE
    shutil.copytree(source, target)
    path = target / "workspace.yaml"
    settings = yaml.safe_load(path.read_text("utf-8"))
    labels = max(100, events // 300)  # two leads in three have an outcome, of ten events a lead
    trial = max(20, labels // 4)
    settings["champion"] = {"refit_labels": labels, "min_labels": 100, "trees": 50}
    settings["lifecycle"] = {
        "straight_refits": False,
        "shadow_labels": trial,
        "canary_labels": trial,
        "canary_share": 0.2,
        "gate": {"min_labels": 20, "min_positives": 1, "log_loss_margin": 0.1, "auc_margin": 0.3},
    }
    path.write_text(yaml.safe_dump(settings), "utf-8")
    return target.parent


def _lifecycle(settings: Settings) -> tuple[tuple[str, ...], ...]:
    """What happened to models, in order, without the times."""
    return tuple(
        (row["slot"], row["action"], row["version"], row["reason"] or "")
        for _, row in rows(settings, "models.lifecycle")
        if row is not None
    )


def read_scores(settings: Settings) -> Scores:
    """Read all scores ``read_committed``, as a subscriber does."""
    codec = new_codec(settings)("leads.scored")
    keys, values, with_weights, with_champion = [], [], 0, 0
    with TopicReader(settings, "leads.scored", to_end=True) as reader:
        while found := reader.read(_IDLE_S):
            for batch in found:
                names = zip(
                    batch.column("event_id").to_pylist(),
                    batch.column("target").to_pylist(),
                    strict=True,
                )
                keys.append(hash128(pa.array([f"{event}/{target}" for event, target in names])))
                values.append(hash128(pa.array(codec.encode(_comparable(batch)), pa.binary())))
                versions = batch.column("weights_version").to_numpy()
                with_weights += int((versions > 0).sum())
                with_champion += len(batch) - batch.column("champion_version").null_count
    if not keys:
        return Scores(np.empty((0, 2), np.uint64), np.empty((0, 2), np.uint64), 0)
    log = _lifecycle(settings)
    return Scores(np.concatenate(keys), np.concatenate(values), with_weights, with_champion, log)


def _comparable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with the fields set to zero that tell of the run, not of the score."""
    columns = [
        pa.array(np.zeros(len(batch), np.int64)).cast(column.type)
        if field.name in _NOT_COMPARED
        else column
        for field, column in zip(batch.schema, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _as_one(keys: NDArray[np.uint64]) -> NDArray[np.void]:
    return np.ascontiguousarray(keys).view([("high", "<u8"), ("low", "<u8")]).ravel()


def _first(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    _, first, times = np.unique(_as_one(keys), return_index=True, return_counts=True)
    return first, times
