"""Workspaces, timelines and a scoring task that the tests of scoring, labels and learning share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from identity_support import record_slice

from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue, Transform
from models.features.encoding import Encoding
from models.targets import RowSchedule, Target
from models.workspaces import Workspace, WorkspaceConfig
from streams.app import model_store
from streams.arrow_schemas import arrow_schema, record
from streams.engine.changelog import Changelog, ChangeRecords
from streams.engine.columns import InputBatch, Outputs
from streams.engine.processor import Context
from streams.engine.state import State
from streams.scoring.model_store import ModelStore
from streams.scoring.processor import ScoringProcessor

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
START = 19_676 * DAY  # some day in 2023
EPOCH_US = HOUR

CATALOGUE = FeatureCatalogue(
    1,
    (
        Attribute("age", "numeric", "numbers.age", transform=Transform("standard", 40, 10)),
        Attribute("spend", "numeric", "numbers.spend", transform=Transform("log1p")),
        Attribute("plan", "categorical", "texts.plan", values=("free", "pro"), buckets=3),
    ),
    Behaviour(kinds=("visit", "call"), half_lives_days=(1.0, 7.0)),
)


def target(name: str = "conversion", horizon_days: float = 30.0, **rows: Any) -> Target:
    return Target(name, ("won",), horizon_days, ("lost",), rows=RowSchedule(**rows))


def config(
    name: str = "acme",
    *targets: Target,
    catalogue: FeatureCatalogue = CATALOGUE,
    **settings: Any,
) -> WorkspaceConfig:
    return WorkspaceConfig(Workspace(name, **settings), catalogue, targets or (target(),))


def lead(number: int) -> str:
    return hashlib.md5(str(number).encode()).hexdigest()


def event(
    event_id: str, who: int, at: int = START, kind: str = "visit", **fields: Any
) -> dict[str, Any]:
    """One event of the timeline; the watermark follows its time unless given."""
    watermark = fields.pop("watermark", at)
    return {
        "record_kind": "event",
        "workspace": "acme",
        "lead_id": lead(who),
        "event_id": event_id,
        "kind": kind,
        "source": "test",
        "occurred_at": at,
        "received_at": at,
        "numbers": {},
        "texts": {},
        "late": False,
        "watermark": watermark,
        "epoch": watermark // EPOCH_US,
        "source_topic": "crm.events",
        "source_partition": 0,
        "source_offset": 0,
        **fields,
    }


def tick(end: int, workspace: str = "acme") -> dict[str, Any]:
    """The tick that closes the epoch which ends at a time."""
    empty = {"record_kind": "tick", "workspace": workspace, "lead_id": "", "kind": ""}
    at = {"occurred_at": end, "watermark": end, "epoch": end // EPOCH_US - 1}
    return {**event("tick", 0), **empty, **at}


def timeline(
    rows: Sequence[dict[str, Any]], first_offset: int = 0, partition: int = 0
) -> InputBatch:
    return batch_of("lead.timeline", "timeline_event", rows, first_offset, partition)


def batch_of(
    topic: str,
    schema: str,
    rows: Sequence[dict[str, Any]],
    first_offset: int = 0,
    partition: int = 0,
) -> InputBatch:
    wanted = arrow_schema(schema)
    plain = [
        {k: list(v.items()) if isinstance(v, dict) else v for k, v in row.items()} for row in rows
    ]
    return InputBatch(
        topic,
        partition,
        np.arange(first_offset, first_offset + len(rows), dtype=np.int64),
        np.zeros(len(rows), np.int64),
        pa.array([f"{r['workspace']}/{r.get('lead_id', '')}" for r in rows], pa.binary()),
        pa.RecordBatch.from_pylist(plain, schema=wanted),
    )


class Scoring:
    """One task of the scoring role, fed with records of the timeline."""

    def __init__(self, *configs: WorkspaceConfig, policy: str = "live") -> None:
        self.configs = {c.name: c for c in configs or (config(),)}
        self.processor = ScoringProcessor(self.configs)
        self.models: ModelStore = model_store(self.configs)
        self.state: State = self.processor.new_state()
        self.offset = 0
        self.context = Context(0, {"lead.timeline": 1}, self.models, policy, 1_700_000_000_000_000)  # type: ignore[arg-type]
        self.out = Outputs()

    def feed(self, *rows: dict[str, Any]) -> Outputs:
        """Process one batch; gives what it caused, and adds it to ``out``."""
        batch = timeline(rows, self.offset)
        self.offset += len(rows)
        made = self.processor.process(batch, self.state, self.context)
        for made_batch in made.records:
            self.out.records += [b for b in (made_batch, made_batch.copy()) if b is not None]
        self.out.rejections += made.rejections
        return made

    def cut(self, rows: Sequence[dict[str, Any]], places: Iterable[int]) -> Scoring:
        """Process rows cut at these places."""
        for start, stop in pairwise([0, *sorted(places), len(rows)]):
            self.feed(*rows[start:stop])
        return self

    def scores(self, **wanted: Any) -> list[dict[str, Any]]:
        return self.rows("leads.scored", **wanted)

    def labels(self, **wanted: Any) -> list[dict[str, Any]]:
        return self.rows("lead.labels", record_kind="label", **wanted)

    def rows(self, topic: str, **wanted: Any) -> list[dict[str, Any]]:
        return [r for r in rows_of(self.out, topic) if all(r[k] == v for k, v in wanted.items())]

    def waiting(self, target: str = "conversion", workspace: str = "acme") -> int:
        return self.processor.pending(workspace, target, self.state)

    def publish(self, version: int = 1, workspace: str = "acme", **fields: Any) -> None:
        """Let weights arrive by the broadcast."""
        row = weights_row(self.configs[workspace], version, **fields)
        key = f"{row['workspace']}/{row['target']}/{row['slot']}".encode()
        self.models.apply("models.current", key, row)


def rows_of(out: Outputs, topic: str) -> list[dict[str, Any]]:
    """All records of a topic as plain rows, times as µs, with their keys."""
    found = []
    for batch in out.records:
        if batch.topic == topic:
            columns = [
                c.cast(pa.int64()) if pa.types.is_timestamp(c.type) else c for c in batch.values
            ]
            rows = pa.RecordBatch.from_arrays(columns, batch.values.schema.names).to_pylist()
            keys = batch.keys.to_pylist()
            found += [{"key": k, **r} for k, r in zip(keys, rows, strict=True)]
    return found


def weights_row(config: WorkspaceConfig, version: int = 1, **fields: Any) -> dict[str, Any]:
    """A ``ModelWeights`` row with weights drawn from the version."""
    size = Encoding(config.catalogue).size
    drawn = np.random.default_rng(version).normal(0, 0.5, size)
    row = {
        "workspace": config.name,
        "target": config.targets[0].name,
        "slot": "online",
        "version": version,
        "epoch": 0,
        "labels_learned": 100,
        "learned_until": None,
        "catalogue_version": config.catalogue.catalogue_version,
        "weights": drawn.tolist(),
        "calibration_a": 0.9,
        "calibration_b": -0.3,
        "base_rate": 0.2,
        "quantiles": [],
        "published_at": 0,
    }
    return record("model_weights", **{**row, **fields})


def story(
    seed: int, events: int = 60, leads: int = 7, workspace: str = "acme"
) -> list[dict[str, Any]]:
    """A made-up timeline: visits, calls, outcomes, late events, ticks as identity writes them."""
    draw = np.random.default_rng(seed)
    at = watermark = START
    epoch, rows = START // EPOCH_US - 1, []
    for number in range(events):
        at += int(draw.integers(0, 40 * 60)) * SECOND
        if number % 9 == 5:
            at += 2 * DAY
        watermark = max(watermark, at)
        if watermark // EPOCH_US > epoch:
            epoch = watermark // EPOCH_US
            rows.append(tick(epoch * EPOCH_US, workspace))
        happened = at - int(draw.integers(0, 3)) * HOUR if number % 4 == 0 else at
        kind = draw.choice(["visit", "call", "other", "won", "lost"], p=[0.5, 0.2, 0.1, 0.1, 0.1])
        numbers = {"age": float(draw.integers(18, 80))} if draw.random() < 0.5 else {}
        texts = {"plan": str(draw.choice(["free", "pro", "gold"]))} if draw.random() < 0.5 else {}
        rows.append(
            event(
                f"{workspace}-{number}",
                int(draw.integers(leads)),
                happened,
                str(kind),
                workspace=workspace,
                numbers=numbers,
                texts=texts,
                watermark=watermark,
            )
        )
    return rows


def contents(state: State) -> dict[str, Any]:
    """Everything that a state holds, whatever its row numbers."""
    found: dict[str, Any] = {name: state.blobs.get(name) for name in state.blobs}
    for name, table in state.tables.items():
        live = table.live_rows()
        found[name] = {
            tuple(key): row.tobytes()
            for key, row in zip(table.keys[live].tolist(), table.rows[live], strict=True)
        }
    return found


def restored(processor: Any, state: State, log: ChangeRecords) -> State:
    """What a restart finds: the changes of ``state`` join ``log``, all of which is read back."""
    made = Changelog(state).take_changes()
    log.extend(made)
    fresh: State = processor.new_state()
    Changelog(fresh).apply(record_slice(log))
    return fresh
