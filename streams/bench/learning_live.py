"""``leadstream bench learning --live``: how soon what is learned, or commanded, scores.

Two scoring workers and a learner on real Kafka, one partition of the timeline each. A steady stream
of events is scored; labels of the shipped excerpt come at a steady rate beside those that the
events themselves bring; champions are refitted on schedule. Then a person promotes a champion and
rolls it back, again and again.

A label is in use when every scorer has sent a score by weights that hold it. All times are those at
which a ``read_committed`` subscriber received the score.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyruhvro
from confluent_kafka import Producer
from numpy.typing import NDArray

from models.champion.artifact import artifact_version
from models.workspaces import WorkspaceConfig
from schemas.registry import HEADER_BYTES, schema_json
from streams.app import new_codec, workspaces_of
from streams.arrow_schemas import arrow_schema, record
from streams.bench.learning import excerpt_labels
from streams.bench.measure import wait_until
from streams.bench.outputs import Outputs
from streams.bench.own_broker import BenchBroker, broker
from streams.bench.scoring.champion import made_up_champion
from streams.bench.scoring.latency import Subscriber
from streams.bench.scoring.load import PacedLoad
from streams.bench.scoring.messages import Messages
from streams.bench.scoring.setup import bench_topics
from streams.bench.scoring.traffic import START_US, WORKSPACE, SourceEvents, TimelineEvents
from streams.bench.scoring.workers import BenchWorker
from streams.engine.broker import KafkaBroker
from streams.engine.hashing import keys_to_hex, murmur2
from streams.engine.records import RecordSlice
from streams.learning.window import Labels
from streams.settings import Settings, load

PARTITIONS = 2
_LEADS, _TERMS = 5_000, 60
_DAY_US = 86_400_000_000
_COMMAND_S = 3.0
"""Time that each command is given; the stream of events is made that long."""
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class LiveSizes:
    """How much: seconds of labels, rates a second, and how often is promoted and rolled back."""

    seconds: float = 40.0
    labels_per_s: float = 50.0
    events_per_s: float = 400.0
    rounds: int = 5


def run(
    bootstrap: str | None, sizes: LiveSizes, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Run it all once.

    Returns:
        ``label_to_score_ms_p50`` and ``_p99``, ``promote_s`` and ``rollback_s`` of each round, and
        what must not be: ``missing``, ``duplicate``, and ``half_loaded`` scores, whose champion is
        not the one that their weights were published with.
    """
    with tempfile.TemporaryDirectory(prefix="leadstream-bench-") as name, broker(bootstrap) as own:
        settings = load(kafka_bootstrap=own.bootstrap, policy="live")
        config = workspaces_of(settings)[WORKSPACE]
        labels = excerpt_labels(config)
        with bench_topics(settings, PARTITIONS) as prefixed:
            return _Live(prefixed, own, config, labels, Path(name), sizes, say).run()


class _Live:
    def __init__(
        self,
        settings: Settings,
        own: BenchBroker,
        config: WorkspaceConfig,
        labels: Labels,
        folder: Path,
        sizes: LiveSizes,
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._broker, self._config = settings, own, config
        self._labels, self._folder, self._sizes, self._say = labels, folder, sizes, say
        self._codec = new_codec(settings)("lead.labels")
        self._producer = Producer(
            {"bootstrap.servers": settings.kafka_bootstrap, "enable.idempotence": True}
        )
        key = f"{config.name}/{config.targets[0].name}"
        self._key = key.encode()
        self._partition = int(murmur2(pa.array([self._key], pa.binary()), PARTITIONS)[0])
        self._sent = 0

    def run(self) -> dict[str, Any]:
        sizes, prefix = self._sizes, self._settings.topic_prefix
        outputs = Outputs(self._settings.kafka_bootstrap, PARTITIONS)
        source = TimelineEvents(self._config, SourceEvents(self._config, _LEADS), PARTITIONS)
        seconds = sizes.seconds + (sizes.rounds + 1) * 2 * _COMMAND_S
        events = Messages.encode("timeline_event", source.take(round(sizes.events_per_s * seconds)))
        path = self._folder / "events.arrow"
        events.write(path)
        bootstrap, topic = self._settings.kafka_bootstrap, prefix + "lead.timeline"
        load = PacedLoad(bootstrap, topic, path, sizes.events_per_s, 1.0)
        scored, began = prefix + "leads.scored", time.time()
        with ExitStack() as stack:
            for role, number in (("scoring", 0), ("scoring", 1), ("learning", 0)):
                log = self._folder / f"{role}-{number}.log"
                worker = BenchWorker(role, self._settings, log, instance=f"{role}-{number}")
                stack.enter_context(worker).wait_ready()
            subscriber = Subscriber(bootstrap, scored, outputs.ends(scored))
            stack.enter_context(subscriber)
            stream = threading.Thread(target=load.run, name="events", daemon=True)
            stream.start()
            stop = threading.Event()
            labels = threading.Thread(target=self._send_labels, args=(stop,), name="labels")
            labels.start()
            try:
                wait_until(lambda: subscriber.count > 0, _TIMEOUT_S, "the first score")
                self._say("labels come, champions are refitted …")
                time.sleep(sizes.seconds)
                times = self._commands(subscriber)
                stream.join()
                subscriber.newest = time.time()
                subscriber.wait_for(events.events)
            finally:
                stop.set()
                labels.join()
                self._producer.flush(10)
        seen = _seen(subscriber)
        figures = self._figures(seen, events, until=time.time() if not times else times[0][0])
        return {
            "bench": "learning live",
            "seconds": round(time.time() - began, 1),
            **figures,
            "promote_s": [round(t, 3) for _, action, t in times if action == "promote"],
            "rollback_s": [round(t, 3) for _, action, t in times if action == "rollback"],
        }

    def _send_labels(self, stop: threading.Event) -> None:
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            self._send(self._label(self._sent))
            self._sent += 1
            due += 1 / self._sizes.labels_per_s

    def _label(self, number: int) -> dict[str, Any]:
        at = number % len(self._labels)
        row_time = START_US + number * 1000
        return self._row(
            record_kind="label",
            label_id=f"bench-{number}",
            lead_id=keys_to_hex(self._labels.keys[at : at + 1])[0],
            event_id=str(number),
            row_time=row_time,
            resolved_at=row_time + _DAY_US,
            outcome="won" if self._labels.positive[at] else "lost",
            positive=bool(self._labels.positive[at]),
            logit=float(self._labels.logit[at]),
            features=self._labels.features[at].tolist(),
        )

    def _row(self, **fields: Any) -> dict[str, Any]:
        plain = {
            "workspace": self._config.name,
            "target": self._config.targets[0].name,
            "lead_id": "",
            "label_id": "",
            "event_id": "",
            "row_time": START_US,
            "resolved_at": START_US,
            "outcome": "none",
            "positive": False,
            "logit": 0.0,
            "probability": 0.5,
            "weights_version": 0,
            "catalogue_version": self._config.catalogue.catalogue_version,
            "features": [],
            "epoch": START_US // self._config.workspace.epoch_us,
            "timeline_partition": 0,
            "timeline_partitions": PARTITIONS,
            "source_offset": 0,
            "watermark": START_US,
        }
        return record("label", **{**plain, **fields})

    def _send(self, row: dict[str, Any]) -> None:
        batch = pa.RecordBatch.from_pylist([row], schema=arrow_schema("label"))
        topic = f"{self._settings.topic_prefix}lead.labels"
        value = self._codec.encode(batch)[0]
        self._producer.produce(topic, value, self._key, partition=self._partition)
        self._producer.poll(0)

    def _command(self, action: str, **fields: Any) -> None:
        text = json.dumps({"action": action, "actor": "bench", **fields})
        self._send(self._row(record_kind="command", command=text))
        self._producer.flush(10)

    def _commands(self, subscriber: Subscriber) -> list[tuple[float, str, float]]:
        """Promote and roll back; when each was sent, what it was, and seconds to every scorer."""
        found = []
        for number in range(-1, self._sizes.rounds):
            artifact = made_up_champion(self._config, _TERMS, seed=1 + number)
            version = artifact_version(artifact)
            self._command("offer", artifact=b64encode(artifact).decode())
            steps = {"promote": {"version": version}, "rollback": {}}
            if number < 0:  # what is rolled back to, if no refit was promoted so far
                del steps["rollback"]
            for action, fields in steps.items():
                place, sent = subscriber.batches, time.time()
                # a refit may have come into use meanwhile: what a rollback takes away is asked now
                wanted = version if action == "promote" else _champion_now(subscriber)
                self._command(action, **fields)
                seen = _wait_for(subscriber, place, sent, wanted, action == "promote")
                if number >= 0:
                    found.append((sent, action, seen - sent))
                    self._say(f"{action}: {seen - sent:.2f} s")
                time.sleep(max(0.0, sent + _COMMAND_S / 2 - time.time()))
        return found

    def _figures(self, seen: pa.Table, events: Messages, until: float) -> dict[str, Any]:
        broker_, prefix = KafkaBroker(self._settings.kafka_bootstrap), self._settings.topic_prefix
        learned, pinned = self._versions(broker_, prefix)
        appended = self._appended(broker_, prefix)
        number = np.arange(1, len(appended) + 1)
        at = np.searchsorted(learned[:, 1], number)  # the first version that holds the label
        held = (at < len(learned)) & (appended < until)
        version = learned[np.minimum(at, len(learned) - 1), 0]
        latest = np.zeros(len(number))
        for partition in range(PARTITIONS):
            latest = np.maximum(latest, _first_seen(seen, partition, version))
        waited = 1000 * (latest - appended)[held & np.isfinite(latest)]
        ids = seen.column("event_id").combine_chunks()
        distinct = len(ids.unique())
        columns = ("weights_version", "champion_version")
        pairs = [*zip(*(seen.column(name).to_pylist() for name in columns), strict=True)]
        champions = {champion for _, champion in pairs}
        return {
            "labels": len(waited),
            "labels_per_s": round(len(appended) / max(np.ptp(appended), 1e-9), 1),
            "label_to_score_ms_p50": round(float(np.percentile(waited, 50)), 1),
            "label_to_score_ms_p99": round(float(np.percentile(waited, 99)), 1),
            "label_to_score_ms_max": round(float(waited.max()), 1),
            "weights_versions": len(learned),
            "champions": len(champions - {None}),
            "events": events.events,
            "missing": events.events - distinct,
            "duplicate": len(ids) - distinct,
            "half_loaded": sum(champion not in pinned.get(v, {None}) for v, champion in pairs),
        }

    def _versions(
        self, broker_: KafkaBroker, prefix: str
    ) -> tuple[NDArray[np.int64], dict[int, set[str | None]]]:
        """Versions with the labels they hold ``[m, 2]``; the champions each was published with."""
        topic, codec = f"{prefix}models.history", new_codec(self._settings)("models.history")
        rows: list[Any] = []

        def take(part: RecordSlice) -> None:
            rows.extend(codec.decode_dicts(part))

        broker_.read(topic, 0, broker_.end_offset(topic, 0), take)
        online = [r for r in rows if isinstance(r, dict) and r["slot"] == "online"]
        pinned = {r["version"]: {r["champion_version"], r["challenger_version"]} for r in online}
        learned = [(r["version"], r["labels_learned"]) for r in online]
        return np.array(sorted(learned), np.int64), {**pinned, 0: {None}}

    def _appended(self, broker_: KafkaBroker, prefix: str) -> NDArray[np.float64]:
        """When each label of the target was appended, in the order in which they are learned."""
        topic = f"{prefix}lead.labels"
        times: list[NDArray[np.int64]] = []

        def take(part: RecordSlice) -> None:
            decoded = self._codec.decode(part)
            kind = np.array(decoded.values.column("record_kind").to_pylist())
            times.append(part.timestamps[decoded.rows[kind == "label"]])

        broker_.read(topic, self._partition, broker_.end_offset(topic, self._partition), take)
        return np.concatenate(times) / 1000


def _wait_for(
    subscriber: Subscriber, place: int, sent: float, version: str | None, wanted: bool
) -> float:
    """When the last of all scorers had sent a score by this champion, or by another one."""
    first: dict[int, float] = {}
    while len(first) < PARTITIONS:
        if time.time() - sent > _TIMEOUT_S:
            raise TimeoutError(f"champion {version}: the command did not reach every scorer")
        fresh = subscriber.since(place)
        place += len(fresh)
        for at, values in fresh:
            rows = _decoded(values)
            pairs = zip(
                rows.column("source_partition").to_pylist(),
                rows.column("champion_version").to_pylist(),
                strict=True,
            )
            for partition, champion in pairs:
                if (champion == version) == wanted:
                    first.setdefault(partition, at)
        time.sleep(0.005)
    return max(first.values())


def _champion_now(subscriber: Subscriber) -> str | None:
    """The champion of the newest score."""
    _, values = subscriber.since(subscriber.batches - 1)[0]
    champion: str | None = _decoded(values).column("champion_version")[-1].as_py()
    return champion


def _decoded(values: list[bytes | None]) -> pa.RecordBatch:
    payloads = [v[HEADER_BYTES:] for v in values if v is not None]
    return pyruhvro.deserialize_array(payloads, schema_json("scored_lead"))


_COLUMNS = ["event_id", "source_partition", "weights_version", "champion_version"]


def _seen(subscriber: Subscriber) -> pa.Table:
    """What the subscriber received, with the seconds of wall time ``at``."""
    parts = []
    for at, values in subscriber.since(0):
        rows = _decoded(values).select(_COLUMNS)
        parts.append(pa.table(rows).append_column("at", pa.array(np.full(rows.num_rows, at))))
    return pa.concat_tables(parts)


def _first_seen(seen: pa.Table, partition: int, version: NDArray[np.int64]) -> NDArray[np.float64]:
    """When the first score of a partition by these or newer weights came; infinite for never."""
    mine = seen.column("source_partition").to_numpy() == partition
    newest = np.maximum.accumulate(seen.column("weights_version").to_numpy()[mine])
    at = np.append(seen.column("at").to_numpy()[mine], np.inf)
    first: NDArray[np.float64] = at[np.searchsorted(newest, version)]
    return first
