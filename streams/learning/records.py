"""What learning publishes: versions of models, their live figures, and what happened to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from models.champion.artifact import artifact_sha256
from streams.arrow_schemas import arrow_schema, record
from streams.engine.columns import OutputBatch


@dataclass(slots=True)
class Published:
    """Records as plain rows (times in µs), each list in the order in which it is to be read.

    models: ``ModelWeights``; artifacts stand before the weights that go with them.
    champions: by workspace and target, when the champion came into use (µs), None without one; for
    metrics.
    """

    models: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    lifecycle: list[dict[str, Any]] = field(default_factory=list)
    champions: dict[tuple[str, str], int | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.models or self.metrics or self.lifecycle)

    def outputs(self) -> list[OutputBatch]:
        """The records for their topics."""
        found = (
            ("models.current", "model_weights", self.models, True, "models.history"),
            ("models.lifecycle", "model_lifecycle", self.lifecycle, True, None),
            ("models.metrics", "model_metrics", self.metrics, False, None),
        )
        return [
            OutputBatch(topic, _keys(rows, slot), _batch(schema, rows), copy_to=copy)
            for topic, schema, rows, slot, copy in found
            if rows
        ]


def artifact_record(artifact: bytes, signature: str | None, **named: Any) -> dict[str, Any]:
    """A ``ModelWeights`` record of a champion's artifact; weights are the online slot's."""
    return record(
        "model_weights",
        epoch=0,
        weights=[],
        calibration_a=1.0,
        calibration_b=0.0,
        base_rate=0.0,
        quantiles=[],
        artifact=artifact,
        artifact_sha256=artifact_sha256(artifact),
        artifact_signature=signature,
        **named,
    )


def _keys(rows: list[dict[str, Any]], slot: bool) -> pa.Array:
    ends = [f"/{r['slot']}" if slot else "" for r in rows]
    return pa.array([f"{r['workspace']}/{r['target']}{e}" for r, e in zip(rows, ends, strict=True)])


def _batch(schema: str, rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=arrow_schema(schema))
