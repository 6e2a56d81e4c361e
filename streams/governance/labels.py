"""All labels of one target as they hold now, for training outside of the learner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.workspaces import WorkspaceConfig
from streams.engine.hashing import hash128
from streams.evaluation.read import TopicReader
from streams.learning.window import Labels
from streams.settings import Settings

_COLUMNS = [
    "label_id", "lead_id", "positive", "logit", "row_time", "resolved_at", "features",
]  # fmt: skip


class CurrentLabels:
    """Gathers labels and takes back those that were retracted.

    Args:
        config: The workspace; labels of another catalogue are left out.
        target: Name of the target.
    """

    def __init__(self, config: WorkspaceConfig, target: str) -> None:
        self._config, self._target = config, target
        self._parts: list[pa.RecordBatch] = []
        self._taken_back: set[str] = set()
        self.other_catalogues = 0

    def add(self, values: pa.RecordBatch) -> None:
        """Take ``Label`` records of any kind."""
        mine = pc.and_(
            pc.equal(values.column("workspace"), self._config.name),
            pc.equal(values.column("target"), self._target),
        )
        rows = values.filter(mine)
        kind = rows.column("record_kind")
        taken = rows.filter(pc.equal(kind, "retraction")).column("label_id").to_pylist()
        self._taken_back.update(taken)
        rows = rows.filter(pc.equal(kind, "label"))
        version = self._config.catalogue.catalogue_version
        fitting = rows.filter(pc.equal(rows.column("catalogue_version"), version))
        self.other_catalogues += rows.num_rows - fitting.num_rows
        if fitting.num_rows:
            self._parts.append(fitting.select(_COLUMNS))

    @property
    def count(self) -> int:
        """Labels so far, those taken back included."""
        return sum(part.num_rows for part in self._parts)

    @property
    def taken_back(self) -> int:
        """Labels that no longer hold."""
        return len(self._taken_back)

    def labels(self) -> tuple[Labels, list[str]]:
        """The labels that hold, in the order in which they were resolved, and their leads."""
        width = len(self._config.catalogue.columns)
        if not self._parts:
            return _nothing(width), []
        table = pa.Table.from_batches(self._parts)
        gone = pa.array(sorted(self._taken_back), pa.string())
        table = table.filter(pc.invert(pc.is_in(table.column("label_id"), value_set=gone)))
        by = ("resolved_at", "row_time", "lead_id", "label_id")
        table = table.sort_by([(name, "ascending") for name in by]).combine_chunks()
        if not table.num_rows:
            return _nothing(width), []
        flat = table.column("features").combine_chunks().flatten()
        features = flat.to_numpy(zero_copy_only=False).astype(np.float32)
        return Labels(
            hash128(table.column("label_id").combine_chunks()),
            features.reshape(len(table), width),
            _array(table, "positive").astype(np.bool_),
            _array(table, "logit"),
            _array(table, "row_time"),
            _array(table, "resolved_at"),
        ), table.column("lead_id").to_pylist()


def current_labels(
    settings: Settings,
    config: WorkspaceConfig,
    target: str,
    progress: Callable[[int], None] = lambda labels: None,
) -> CurrentLabels:
    """Read ``lead.labels`` from its start to its end of now."""
    found = CurrentLabels(config, target)
    with TopicReader(settings, "lead.labels", to_end=True) as reader:
        while batches := reader.read(5.0):
            for batch in batches:
                found.add(batch)
            progress(found.count)
    return found


def _array(table: pa.Table, name: str) -> NDArray[Any]:
    column = table.column(name).combine_chunks()
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values


def _nothing(width: int) -> Labels:
    return Labels(
        np.empty((0, 2), np.uint64), np.empty((0, width), np.float32), np.empty(0, np.bool_),
        np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64),
    )  # fmt: skip
