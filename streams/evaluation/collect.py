"""Gathers ``lead.labels`` of one target, wherever they come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_COLUMNS = (
    "label_id",
    "lead_id",
    "event_id",
    "row_time",
    "resolved_at",
    "probability",
    "logit",
    "positive",
    "features",
)


@dataclass(frozen=True, slots=True)
class ResolvedRows:
    """Labels of one target sorted by (row time, lead), so that their source does not show."""

    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def is_since(self, fraction: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which rows lie after the ``fraction`` quantile of row time ``[n]``."""
        if fraction <= 0 or not len(self):
            return np.ones(len(self), np.bool_)
        times = self.column("row_time").astype(np.int64)
        return times > np.quantile(times, fraction, method="lower")

    def since(self, fraction: float) -> ResolvedRows:
        """Keep rows whose time lies after the ``fraction`` quantile of row time."""
        return self.where(self.is_since(fraction))

    def until(self, fraction: float) -> ResolvedRows:
        """Keep the other rows: those up to the quantile."""
        return self.where(~self.is_since(fraction))

    def where(self, kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> ResolvedRows:
        """Keep some of the rows."""
        return self if kept.all() else ResolvedRows(self.table.filter(pa.array(kept)))

    def column(self, name: str) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
        """One column as numpy; times as µs."""
        column = self.table.column(name).combine_chunks()
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    def features(self) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """Feature rows ``[n, C]``."""
        flat = self.table.column("features").combine_chunks().flatten()
        values = flat.to_numpy(zero_copy_only=False).astype(np.float32)
        return values.reshape(len(self), -1) if len(self) else np.empty((0, 0), np.float32)


class LabelCollector:
    """Takes batches of label records and keeps those of one target that were not taken back.

    Args:
        workspace: Workspace name.
        target: Target name.
    """

    def __init__(self, workspace: str, target: str) -> None:
        self._workspace, self._target = workspace, target
        self._batches: list[pa.RecordBatch] = []
        self._retracted: list[str] = []
        self.ended: dict[int, set[int]] = {}

    def add(self, values: pa.RecordBatch) -> None:
        """Take ``Label`` records of any kind."""
        mine = pc.and_(
            pc.equal(values.column("workspace"), self._workspace),
            pc.equal(values.column("target"), self._target),
        )
        rows = values.filter(mine)
        kind = rows.column("record_kind")
        ends = rows.filter(pc.equal(kind, "epoch_end"))
        for epoch, partition in zip(
            ends.column("epoch").to_pylist(),
            ends.column("timeline_partition").to_pylist(),
            strict=True,
        ):
            self.ended.setdefault(epoch, set()).add(partition)
        back = rows.filter(pc.equal(kind, "retraction"))
        self._retracted += back.column("label_id").to_pylist()
        labels = rows.filter(pc.equal(kind, "label"))
        if labels.num_rows:
            self._batches.append(labels.select(list(_COLUMNS)))

    @property
    def retracted(self) -> int:
        """Labels that were taken back so far."""
        return len(self._retracted)

    @property
    def count(self) -> int:
        """Labels so far."""
        return sum(b.num_rows for b in self._batches)

    def rows(self) -> ResolvedRows:
        """All labels that stand, sorted."""
        if not self._batches:
            from streams.arrow_schemas import arrow_schema

            wanted = [arrow_schema("label").field(n) for n in _COLUMNS]
            return ResolvedRows(pa.schema(wanted).empty_table())
        table = pa.Table.from_batches(self._batches)
        if self._retracted:
            gone = pa.array(self._retracted, pa.string())
            table = table.filter(pc.invert(pc.is_in(table.column("label_id"), value_set=gone)))
        return ResolvedRows(
            table.sort_by([(n, "ascending") for n in ("row_time", "lead_id", "event_id")])
        )
