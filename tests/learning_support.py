"""Labels and a learning task that the tests of learning share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scoring_support import EPOCH_US, START, batch_of, config, lead, rows_of

from models.workspaces import WorkspaceConfig
from streams.engine.columns import Outputs
from streams.engine.processor import Context
from streams.engine.state import State
from streams.learning.processor import LearningProcessor

ACME = config()
FIRST = START // EPOCH_US
COLUMNS = len(ACME.catalogue.columns)


def label(number: int, epoch: int = FIRST, **fields: Any) -> dict[str, Any]:
    """One label; its features, outcome and published logit are drawn from its number."""
    draw = np.random.default_rng(number)
    at = epoch * EPOCH_US + int(draw.integers(0, EPOCH_US))
    positive = bool(draw.random() < 0.4)
    logit = float(draw.normal(1.0 if positive else -1.0, 1.5))
    return {
        "record_kind": "label",
        "workspace": "acme",
        "target": "conversion",
        "label_id": str(number),
        "lead_id": lead(number),
        "event_id": f"e{number}",
        "row_time": at - int(draw.integers(1, 30 * EPOCH_US)),
        "resolved_at": at,
        "outcome": "won" if positive else "lost",
        "positive": positive,
        "logit": logit,
        "probability": 1 / (1 + np.exp(-logit)),
        "weights_version": 0,
        "catalogue_version": ACME.catalogue.catalogue_version,
        "features": draw.normal(1 if positive else 0, 1, COLUMNS).astype(np.float32).tolist(),
        "resolved_by": None,
        "epoch": epoch,
        "timeline_partition": 0,
        "timeline_partitions": 1,
        "source_offset": 0,
        "watermark": at,
        "score_counts": [],
        "feature_counts": [],
        "command": None,
        **fields,
    }


def epoch_end(epoch: int = FIRST, partition: int = 0, of: int = 1, **fields: Any) -> dict[str, Any]:
    end = (epoch + 1) * EPOCH_US
    return {
        **label(0),
        "record_kind": "epoch_end",
        "lead_id": "",
        "outcome": "none",
        "features": [],
        "epoch": epoch,
        "timeline_partition": partition,
        "timeline_partitions": of,
        "resolved_at": end,
        "row_time": end,
        **fields,
    }


class Learning:
    """One task of the learning role, fed with records of lead.labels."""

    def __init__(self, *configs: WorkspaceConfig, policy: str = "barrier") -> None:
        self.configs = {c.name: c for c in configs or (ACME,)}
        self.processor = LearningProcessor(self.configs)
        self.state: State = self.processor.new_state()
        self.policy = policy
        self.now_us = 0
        self.offset = 0
        self.out = Outputs()

    def feed(self, *rows: dict[str, Any]) -> Outputs:
        batch = batch_of("lead.labels", "label", rows, self.offset)
        self.offset += len(rows)
        return self._took(self.processor.process(batch, self.state, self._context()))

    def punctuate(self) -> Outputs | None:
        made = self.processor.punctuate(self.state, self._context())
        return None if made is None else self._took(made)

    def _context(self) -> Context:
        return Context(0, {"lead.timeline": 1}, None, self.policy, self.now_us)  # type: ignore[arg-type]

    def _took(self, made: Outputs) -> Outputs:
        for made_batch in made.records:
            self.out.records += [b for b in (made_batch, made_batch.copy()) if b is not None]
        self.out.rejections += made.rejections
        return made

    def cut(self, rows: Sequence[dict[str, Any]], places: Sequence[int]) -> Learning:
        bounds = [0, *sorted(places), len(rows)]
        for start, stop in pairwise(bounds):
            self.feed(*rows[start:stop])
        return self

    def weights(self, topic: str = "models.current") -> list[dict[str, Any]]:
        return rows_of(self.out, topic)

    def metrics(self) -> list[dict[str, Any]]:
        return rows_of(self.out, "models.metrics")
