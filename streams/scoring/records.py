"""Score columns to records of ``leads.scored`` and ``leads.latest``; labels to ``lead.labels``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.calibration.percentile import GRADES
from models.evaluation.histograms import Counts
from streams.arrow_schemas import arrow_schema
from streams.engine.columns import OutputBatch
from streams.engine.hashing import keys_to_hex
from streams.labels.resolved import RETRACTED, Resolved
from streams.scoring.deltas import Moved
from streams.scoring.scorer import Scores


@dataclass(frozen=True, slots=True)
class Names:
    """What is the same in all records of one workspace and target."""

    workspace: str
    target: str
    catalogue_version: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Columns of the scored timeline events, ``[n]`` each."""

    lead_id: pa.Array
    event_id: pa.Array
    occurred_at: pa.Array
    watermark: pa.Array
    partition: int
    offsets: NDArray[np.int64]
    evidence: NDArray[np.int64]
    indicators: pa.Array
    account: pa.Array | None = None


def scored(
    names: Names,
    origin: Origin,
    scores: Scores,
    moved: Moved,
    features: NDArray[np.float32],
    now_us: int,
) -> pa.RecordBatch:
    """``ScoredLead`` records, one an event; ``features`` are the scored rows ``[n, C]``."""
    n = len(scores.logit)
    times = pa.timestamp("us")
    columns = {
        "workspace": pa.repeat(names.workspace, n),
        "lead_id": origin.lead_id,
        "account": pa.nulls(n, pa.string()) if origin.account is None else origin.account,
        "target": pa.repeat(names.target, n),
        "event_id": origin.event_id,
        "occurred_at": origin.occurred_at,
        "scored_at": pa.repeat(pa.scalar(now_us, times), n),
        "logit": pa.array(scores.logit),
        "probability": pa.array(scores.probability),
        "interval_low": _or_null(scores.interval[0]),
        "interval_high": _or_null(scores.interval[1]),
        "percentile": _or_null(scores.percentile),
        "score": pa.array(scores.score),
        "grade": pa.array(GRADES).take(pa.array(scores.grade)),
        "evidence_count": pa.array(origin.evidence),
        "bias": pa.array(scores.bias),
        "contributions": _contributions(scores, features),
        "other": pa.array(scores.other),
        "previous_logit": _or_null(moved.last_logit),
        "delta_event": _or_null(moved.event),
        "delta_time": _or_null(moved.time),
        "delta_model": _or_null(moved.model),
        "weights_version": pa.array(scores.weights_version),
        "champion_version": _champions(scores),
        "catalogue_version": pa.repeat(names.catalogue_version, n),
        "indicators_known": origin.indicators,
        "source_partition": pa.repeat(pa.scalar(origin.partition, pa.int32()), n),
        "source_offset": pa.array(origin.offsets),
        "watermark": origin.watermark,
    }
    return _batch("scored_lead", columns)


def _or_null(values: NDArray[np.float64]) -> pa.Array:
    """NaN as null."""
    return pa.array(values, mask=np.isnan(values))


def _champions(scores: Scores) -> pa.Array:
    versions = pa.array(scores.champions, pa.string())
    if len(versions) == 1:
        return pa.repeat(versions[0], len(scores.champion))
    return versions.take(pa.array(scores.champion))


def _contributions(scores: Scores, features: NDArray[np.float32]) -> pa.ListArray:
    """Lists of (feature, contribution, value); terms of exactly 0 say nothing and are left out."""
    most = scores.top.size
    offsets, place = np.empty(len(scores.top) + 1, np.int32), np.empty(most, np.int32)
    told, value = np.empty(most), np.empty(most)
    count = _tell(scores.top, scores.top_value, features, offsets, place, told, value)
    parts = [
        scores.names.take(pa.array(place[:count])),
        pa.array(told[:count]),
        _or_null(value[:count]),
    ]
    kind = arrow_schema("scored_lead").field("contributions").type
    pairs = pa.StructArray.from_arrays(parts, fields=[kind.value_type.field(i) for i in range(3)])
    return pa.ListArray.from_arrays(pa.array(offsets), pairs, type=kind)


@njit(nogil=True, cache=True)
def _tell(
    top: NDArray[np.int32],
    top_value: NDArray[np.float64],
    features: NDArray[np.float32],
    offsets: NDArray[np.int32],
    place: NDArray[np.int32],
    told: NDArray[np.float64],
    value: NDArray[np.float64],
) -> int:
    """Fill the lists' columns; a term of no column (or of two) has the value NaN."""
    count = 0
    for row in range(top.shape[0]):
        offsets[row] = count
        for k in range(top.shape[1]):
            column = top[row, k]
            if column < 0 or top_value[row, k] == 0.0:
                continue
            place[count], told[count] = column, top_value[row, k]
            value[count] = features[row, column] if column < features.shape[1] else np.nan
            count += 1
    offsets[top.shape[0]] = count
    return count


def score_keys(names: Names, lead_id: pa.Array) -> pa.Array:
    """``workspace/lead_id/target`` of each record."""
    return pc.binary_join_element_wise(
        pa.scalar(f"{names.workspace}/"), lead_id, pa.scalar(f"/{names.target}"), ""
    )


def labels(
    names: Names,
    resolved: Resolved,
    *,
    partition: int,
    partitions: int,
    epochs: NDArray[np.int64],
    watermarks: NDArray[np.int64],
    resolved_by: pa.Array,
    columns: int,
) -> OutputBatch:
    """``Label`` records of rows that became labels, and of labels that are taken back.

    Args:
        epochs: Epoch in which each was resolved ``[n]``; ``watermarks`` likewise, µs.
        resolved_by: Event ids, null for a tick ``[n]``.
        columns: Feature columns of the catalogue; pending rows may be padded.
    """
    rows, n = resolved.rows, len(resolved.rows)
    leads = keys_to_hex(np.ascontiguousarray(rows["lead"]))
    features = np.ascontiguousarray(rows["features"][:, :columns])
    times = pa.timestamp("us")
    made = {
        "record_kind": pa.array(
            np.where(resolved.outcome == RETRACTED, "retraction", "label"), pa.string()
        ),
        "workspace": pa.repeat(names.workspace, n),
        "target": pa.repeat(names.target, n),
        "label_id": pa.array(
            [
                f"{lead}-{at}-{slot}" if not revision else f"{lead}-{at}-{slot}-{revision}"
                for lead, at, slot, revision in zip(
                    leads,
                    rows["row_time"].tolist(),
                    rows["slot"].tolist(),
                    rows["revision"].tolist(),
                    strict=True,
                )
            ],
            pa.string(),
        ),
        "lead_id": pa.array(leads, pa.string()),
        "event_id": pa.array(resolved.event_ids.tolist(), pa.binary()).cast(pa.string()),
        "row_time": pa.array(rows["row_time"].astype(np.int64)).cast(times),
        "resolved_at": pa.array(resolved.resolved_at).cast(times),
        "outcome": pa.array(resolved.outcome.tolist(), pa.string()),
        "positive": pa.array(resolved.positive),
        "logit": pa.array(np.ascontiguousarray(rows["logit"])),
        "probability": pa.array(sigmoid(np.ascontiguousarray(rows["logit"]))),
        "weights_version": pa.array(np.ascontiguousarray(rows["weights_version"])),
        "catalogue_version": pa.repeat(names.catalogue_version, n),
        "features": pa.ListArray.from_arrays(
            pa.array(np.arange(n + 1, dtype=np.int32) * columns), pa.array(features.reshape(-1))
        ),
        "resolved_by": resolved_by,
        "epoch": pa.array(epochs),
        "timeline_partition": pa.repeat(pa.scalar(partition, pa.int32()), n),
        "timeline_partitions": pa.repeat(pa.scalar(partitions, pa.int32()), n),
        "source_offset": pa.array(np.ascontiguousarray(rows["source_offset"])),
        "watermark": pa.array(watermarks).cast(times),
        **_no_counts(n),
    }
    return OutputBatch("lead.labels", _label_keys(names, n), _batch("label", made))


def _no_counts(n: int) -> dict[str, pa.Array]:
    """Columns that only other kinds of ``Label`` records fill."""
    empty = pa.ListArray.from_arrays(pa.array(np.zeros(n + 1, np.int32)), pa.array([], pa.int64()))
    return {"score_counts": empty, "feature_counts": empty, "command": pa.nulls(n, pa.string())}


def epoch_end(
    names: Names,
    *,
    epoch: int,
    watermark: int,
    partition: int,
    partitions: int,
    offset: int,
    counts: Counts,
) -> OutputBatch:
    """The record that says: this timeline partition has no more labels of this epoch.

    ``counts`` are those of the rows kept since the last one; empty lists where there is none.
    """
    row = {
        "record_kind": "epoch_end",
        "workspace": names.workspace,
        "target": names.target,
        "label_id": "",
        "lead_id": "",
        "event_id": "",
        "row_time": watermark,
        "resolved_at": watermark,
        "outcome": "none",
        "positive": False,
        "logit": 0.0,
        "probability": 0.0,
        "weights_version": 0,
        "catalogue_version": names.catalogue_version,
        "features": [],
        "resolved_by": None,
        "epoch": epoch,
        "timeline_partition": partition,
        "timeline_partitions": partitions,
        "source_offset": offset,
        "watermark": watermark,
        "score_counts": counts.logits.tolist() if counts.rows else [],
        "feature_counts": counts.features.ravel().tolist() if counts.rows else [],
        "command": None,
    }
    values = pa.RecordBatch.from_pylist([row], schema=arrow_schema("label"))
    return OutputBatch("lead.labels", _label_keys(names, 1), values)


def _label_keys(names: Names, n: int) -> pa.Array:
    return pa.repeat(f"{names.workspace}/{names.target}", n)


def _batch(schema: str, columns: dict[str, pa.Array]) -> pa.RecordBatch:
    wanted = arrow_schema(schema)
    arrays = [
        c if c.type == wanted.field(name).type else c.cast(wanted.field(name).type)
        for name, c in ((f, columns[f]) for f in wanted.names)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)
