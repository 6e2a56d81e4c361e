"""What reasons and deltas cost an event, in one process without a broker.

The same batches are scored and encoded by the scoring role as it is, without deltas, and without
both, in turns; the differences are what each adds. CPU time of the thread, the least of the turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from models.explain.top import TOP
from models.features.encoding import Encoding
from models.workspaces import WorkspaceConfig
from schemas.registry import schema_id, schema_json
from streams.bench.scoring.models import MadeUpModels
from streams.bench.scoring.traffic import Events, SourceEvents, TimelineEvents
from streams.engine.codec import Codec
from streams.engine.columns import InputBatch
from streams.engine.processor import Context
from streams.scoring.model_store import ModelStore
from streams.scoring.processor import ScoringProcessor

BATCH_ROWS = (4096, 16)
_WAYS = {"plain": (0, False), "with_reasons": (TOP, False), "whole": (TOP, True)}
_SMALL = 0.1
"""Share of the events that small batches take, which cost more each."""


def measure(
    config: WorkspaceConfig,
    *,
    events: int,
    leads: int,
    champion_terms: int,
    weights_every: int,
    repeat: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """CPU µs an event of each way, without and with a champion, in large and in small batches.

    Args:
        weights_every: New weights come after so many events.
    """
    found = []
    for terms in dict.fromkeys((0, champion_terms)):
        models = MadeUpModels.of(config, terms)
        for rows in BATCH_ROWS:
            count = events if rows > 100 else round(events * _SMALL)
            batches = _batches(config, count, leads, rows)
            row = _shares(_compared(config, models, batches, weights_every, repeat))
            found.append({"champion_terms": terms, "batch_rows": rows, **row})
            say(
                f"{terms} terms, {rows} rows: plain {row['plain_us']} µs, "
                f"reasons {row['reasons_share']:.0%}, deltas {row['deltas_share']:.0%}"
            )
    return {"reasons": found}


def _compared(
    config: WorkspaceConfig,
    models: MadeUpModels,
    batches: list[InputBatch],
    weights_every: int,
    repeat: int,
) -> dict[str, tuple[float, float]]:
    """CPU µs an event to score and to encode, by way."""
    ways = {n: ScoringProcessor({config.name: config}, *how) for n, how in _WAYS.items()}
    for processor in ways.values():
        processor.warm()
    turns = [
        {
            n: _once(config, processor, models, batches, weights_every)
            for n, processor in ways.items()
        }
        for _ in range(repeat)
    ]
    return {name: (min(t[name][0] for t in turns), min(t[name][1] for t in turns)) for name in ways}


def _once(
    config: WorkspaceConfig,
    processor: ScoringProcessor,
    models: MadeUpModels,
    batches: list[InputBatch],
    weights_every: int,
) -> tuple[float, float]:
    store = ModelStore({config.name: config}, {config.name: Encoding(config.catalogue)})
    _apply(store, models.champion(None))
    topics = ("lead.timeline", "leads.scored", "leads.latest", "lead.labels")
    context = Context(0, dict.fromkeys(topics, 1), store, "live", 0)
    codec = Codec(schema_json("scored_lead"), schema_id("scored_lead"))
    state, half = processor.new_state(), len(batches) // 2
    scoring = encoding = 0.0
    counted = seen = version = 0
    for number, batch in enumerate(batches):
        if seen >= version * weights_every:
            version += 1
            _apply(store, models.weights(version))
        seen += len(batch)
        started = time.thread_time()
        outputs = processor.process(batch, state, context)
        scored = time.thread_time()
        for output in outputs.records:
            if output.topic == "leads.scored":
                codec.pack(output.values)
        if number >= half:  # before, most leads are seen for the first time
            counted += len(batch)
            scoring += scored - started
            encoding += time.thread_time() - scored
    return scoring / counted * 1e6, encoding / counted * 1e6


def _shares(found: dict[str, tuple[float, float]]) -> dict[str, float]:
    plain, reasons, whole = (sum(found[name]) for name in ("plain", "with_reasons", "whole"))
    score_us, encode_us = found["whole"]
    return {
        "us": round(whole, 2),
        "score_us": round(score_us, 2),
        "encode_us": round(encode_us, 2),
        "plain_us": round(plain, 2),
        "reasons_us": round(reasons - plain, 2),
        "deltas_us": round(whole - reasons, 2),
        "reasons_share": round((reasons - plain) / plain, 3),
        "deltas_share": round((whole - reasons) / plain, 3),
    }


def _apply(store: ModelStore, row: dict[str, Any] | None) -> None:
    if row is not None:
        key = f"{row['workspace']}/{row['target']}/{row['slot']}"
        store.apply("models.current", key.encode(), row)


def _batches(config: WorkspaceConfig, events: int, leads: int, rows: int) -> list[InputBatch]:
    made: Events = TimelineEvents(config, SourceEvents(config, leads), 1).take(events)
    found = []
    for start in range(0, made.values.num_rows, rows):
        at = np.arange(start, min(start + rows, made.values.num_rows))
        part = pa.array(at)  # taken, not sliced: a batch off the wire has buffers of its own
        values, keys = made.values.take(part), made.keys.take(part)
        found.append(InputBatch("lead.timeline", 0, at, np.zeros(len(at), np.int64), keys, values))
    return found
