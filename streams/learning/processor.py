"""Labels in, weights and metrics out.

Under ``barrier`` the labels of an epoch wait until every timeline partition has ended it; then they
are learned sorted by (resolved_at, lead, row_time, place in the log), so the result does not depend
on partitions or on how fast each of them was. Under ``live`` labels are learned, and weights
published, every second or 100 labels as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.features.encoding import Encoding
from models.online.registry import make_online_model
from models.targets import Target
from models.warm import warm
from models.workspaces import WorkspaceConfig
from streams.arrow_schemas import arrow_schema
from streams.engine.columns import InputBatch, OutputBatch, Outputs, Rejection
from streams.engine.errors import ConfigurationError
from streams.engine.hashing import hex_to_keys
from streams.engine.processor import Context, Unconditional
from streams.engine.state import State
from streams.engine.table import Table
from streams.learning.learner import Labels, Learner
from streams.learning.warm import made_up_batch

PUBLISH_LABELS = 100
PUBLISH_EVERY_US = 1_000_000

Key = tuple[str, str]


def _waiting_dtype(columns: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("epoch", "<i8"),
            ("resolved_at", "<i8"),
            ("row_time", "<i8"),
            ("lead", "<u8", (2,)),
            ("logit", "<f8"),
            ("positive", "<u8"),
            ("features", "<f4", (columns + columns % 2,)),
        ]
    )


class LearningState(State):
    """Learners of this partition's targets; their snapshots are the blobs."""

    def __init__(self, configs: Mapping[str, WorkspaceConfig]) -> None:
        super().__init__(
            Table(
                f"waiting/{c.name}/{t.name}",
                _waiting_dtype(len(c.catalogue.columns)),
                meaning=c.catalogue.hash,
            )
            for c in configs.values()
            for t in c.targets
        )
        self.learners: dict[Key, Learner] = {}


class LearningProcessor(Unconditional):
    """Learns every target of all workspaces.

    Args:
        workspaces: Configurations by name.

    Raises:
        ConfigurationError: a workspace's online model does not exist or cannot be published.
    """

    role = "learning"
    inputs: tuple[str, ...] = ("lead.labels",)

    def __init__(self, workspaces: Mapping[str, WorkspaceConfig]) -> None:
        self._configs = workspaces
        self._encodings = {n: Encoding(c.catalogue) for n, c in workspaces.items()}
        for name, config in workspaces.items():
            _check_online(config, self._encodings[name])
        self._targets: dict[Key, Target] = {
            (n, t.name): t for n, c in workspaces.items() for t in c.targets
        }

    def new_state(self) -> State:
        """Tables of labels that wait for the end of their epoch."""
        return LearningState(self._configs)

    def warm(self) -> None:
        """Compile what must be compiled, before being ready."""
        for config in self._configs.values():
            warm(config)
            context = Context(0, {}, None, "live", 0)
            self.process(made_up_batch(config), self.new_state(), context)

    def process(self, batch: InputBatch, state: State, context: Context) -> Outputs:
        """Learn what may be learned now and publish."""
        assert isinstance(state, LearningState)
        outputs = Outputs()
        workspaces = batch.values.column("workspace")
        targets = batch.values.column("target")
        pairs = pc.binary_join_element_wise(workspaces, targets, "\x00")
        encoded = pairs.dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        published: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for code, pair in enumerate(encoded.dictionary.to_pylist()):
            workspace, target = pair.split("\x00")
            rows = np.flatnonzero(codes == code)
            if (workspace, target) not in self._targets:
                outputs.rejections += [_unknown(r, workspace, target) for r in rows.tolist()]
                continue
            mine = batch.values.take(pa.array(rows))
            learner = self._learner(state, (workspace, target))
            published += self._target(learner, mine, batch.offsets[rows], state, context)
        if published:
            outputs.records = _records(published)
        return outputs

    def punctuate(self, state: State, context: Context) -> Outputs | None:
        """Publish what has waited for a second, if no further label came to make it go out."""
        assert isinstance(state, LearningState)
        published: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for key in self._targets:
            if len(_waiting(state, key)):
                published += self._in_between(self._learner(state, key), state, context)
        return Outputs(_records(published)) if published else None

    def _learner(self, state: LearningState, key: Key) -> Learner:
        found = state.learners.get(key)
        if found is None:
            workspace = key[0]
            found = Learner(
                self._configs[workspace], self._encodings[workspace], self._targets[key]
            )
            stored = state.blobs.get(f"learner/{key[0]}/{key[1]}")
            if stored is not None:
                found.restore(stored)
            state.learners[key] = found
        return found

    def _target(
        self,
        learner: Learner,
        rows: pa.RecordBatch,
        offsets: NDArray[np.int64],
        state: LearningState,
        context: Context,
    ) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Keep what came, learn what may be learned, and publish."""
        table = _waiting(state, (learner.workspace, learner.target))
        is_label = learner.fitting(rows)
        self._keep(table, rows.filter(pa.array(is_label)), offsets[is_label])
        published: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for epoch in _ended_epochs(rows, state, learner):
            self._learn(learner, table, epoch)
            published.append(learner.publish(context.now_us, epoch))
        if published:
            _keep_snapshot(learner, state)
        return published + self._in_between(learner, state, context)

    def _in_between(
        self, learner: Learner, state: LearningState, context: Context
    ) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Under ``live``: publish before the epoch ends, when enough wait or for long enough."""
        table = _waiting(state, (learner.workspace, learner.target))
        since = context.now_us - learner.published_at_us
        due = len(table) >= PUBLISH_LABELS or since >= PUBLISH_EVERY_US
        if context.policy != "live" or not len(table) or not due:
            return []
        self._learn(learner, table, None)
        published = learner.publish(context.now_us)
        _keep_snapshot(learner, state)
        return [published]

    def _learn(self, learner: Learner, table: Table, epoch: int | None) -> None:
        """Learn the waiting labels of epochs up to ``epoch``, or all, in their one order."""
        due = table.live_rows()
        if epoch is not None:
            due = due[table.rows["epoch"][due] <= epoch]
        waiting = table.rows[due]
        lead = waiting["lead"]
        offsets = table.keys[due, 0]  # a lead's labels are in the same order in every log
        by = (offsets, waiting["row_time"], lead[:, 1], lead[:, 0], waiting["resolved_at"])
        waiting = waiting[np.lexsort(by)]
        learner.learn(
            Labels(
                np.ascontiguousarray(waiting["features"]),
                waiting["positive"] > 0,
                np.ascontiguousarray(waiting["logit"]),
                np.ascontiguousarray(waiting["row_time"]),
                np.ascontiguousarray(waiting["resolved_at"]),
            )
        )
        table.delete(table.keys[due].copy())

    def _keep(self, table: Table, rows: pa.RecordBatch, offsets: NDArray[np.int64]) -> None:
        if not rows.num_rows:
            return
        labels = _labels(rows)
        keys = np.zeros((len(offsets), 2), np.uint64)
        keys[:, 0] = offsets
        at, _ = table.find_or_insert(keys)
        new = np.zeros(len(at), table.dtype)
        new["epoch"] = rows.column("epoch").to_numpy()
        new["resolved_at"], new["row_time"] = labels.resolved_at, labels.row_time
        new["lead"] = hex_to_keys(rows.column("lead_id"))
        new["logit"], new["positive"] = labels.logit, labels.positive
        new["features"][:, : labels.features.shape[1]] = labels.features
        table.rows[at] = new
        table.touch(at)


def _waiting(state: State, key: Key) -> Table:
    """Labels of a target that were not learned yet."""
    return state.table(f"waiting/{key[0]}/{key[1]}")


def _keep_snapshot(learner: Learner, state: State) -> None:
    # at publications only: in between the labels themselves are the state, and small
    state.blobs.put(f"learner/{learner.workspace}/{learner.target}", learner.snapshot())


def _check_online(config: WorkspaceConfig, encoding: Encoding) -> None:
    settings = config.workspace.online
    try:
        model = make_online_model(settings, encoding)
    except ValueError as error:
        raise ConfigurationError(f"workspace {config.name}: online.model: {error}") from error
    if len(model.weights()) != encoding.size:
        raise ConfigurationError(
            f"workspace {config.name}: online.model: {settings.model} has no weights that scoring "
            "could apply to whole batches; write ftrl or river_ftrl"
        )


def _labels(rows: pa.RecordBatch) -> Labels:
    features = rows.column("features")
    n = rows.num_rows
    flat = features.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return Labels(
        flat.reshape(n, -1) if n else np.empty((0, 0), np.float32),
        rows.column("positive").to_numpy(zero_copy_only=False).astype(np.bool_),
        rows.column("logit").to_numpy(),
        rows.column("row_time").cast(pa.int64()).to_numpy(),
        rows.column("resolved_at").cast(pa.int64()).to_numpy(),
    )


def _ended_epochs(rows: pa.RecordBatch, state: State, learner: Learner) -> list[int]:
    """Epochs that by now every timeline partition has ended, ascending."""
    is_end = pc.equal(rows.column("record_kind"), "epoch_end")
    ends = rows.filter(is_end)
    if not ends.num_rows:
        return []
    name = f"ends/{learner.workspace}/{learner.target}"
    stored = state.blobs.get(name)
    pairs = msgspec.json.decode(stored, type=list[tuple[int, list[int]]]) if stored else []
    seen = dict(pairs)
    done = []
    for epoch, partition, of in zip(
        ends.column("epoch").to_pylist(),
        ends.column("timeline_partition").to_pylist(),
        ends.column("timeline_partitions").to_pylist(),
        strict=True,
    ):
        partitions = sorted({*seen.get(epoch, []), partition})
        seen[epoch] = partitions
        if len(partitions) == of:
            del seen[epoch]
            done.append(epoch)
    state.blobs.put(name, msgspec.json.encode(sorted(seen.items())))
    return sorted(done)


def _records(published: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[OutputBatch]:
    weights = [w for w, _ in published]
    metrics = [m for _, m in published]
    keys = pa.array([f"{w['workspace']}/{w['target']}/{w['slot']}" for w in weights])
    values = pa.RecordBatch.from_pylist(weights, schema=arrow_schema("model_weights"))
    figures = pa.RecordBatch.from_pylist(metrics, schema=arrow_schema("model_metrics"))
    return [
        OutputBatch("models.current", keys, values, copy_to="models.history"),
        OutputBatch(
            "models.metrics",
            pa.array([f"{m['workspace']}/{m['target']}" for m in metrics]),
            figures,
        ),
    ]


def _unknown(row: int, workspace: str, target: str) -> Rejection:
    return Rejection(
        row,
        "UnknownTarget",
        f"no target {target!r} of workspace {workspace!r} is configured here; give this worker the "
        "configuration that the scoring workers have",
    )
