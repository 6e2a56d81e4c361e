"""Labels in, weights and metrics out.

Under ``barrier`` the labels of an epoch wait until every timeline partition has ended it; then they
are learned sorted by (resolved_at, lead, row_time, place in the log), so the result does not depend
on partitions or on how fast each of them was. Under ``live`` labels are learned, and weights
published, every half second or 100 labels as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.features.encoding import Encoding
from models.lifecycle.signing import Signer
from models.online.registry import make_online_model
from models.targets import Target
from models.warm import warm
from models.workspaces import WorkspaceConfig
from streams.engine.columns import InputBatch, Outputs, Rejection
from streams.engine.errors import ConfigurationError
from streams.engine.hashing import hash128, hex_to_keys
from streams.engine.processor import Context, Unconditional
from streams.engine.state import State
from streams.engine.table import Table
from streams.learning.learner import Learner
from streams.learning.records import Published
from streams.learning.warm import made_up_batch
from streams.learning.window import Labels

PUBLISH_LABELS = 100
PUBLISH_EVERY_US = 500_000

Key = tuple[str, str]

_ROWS = pa.array(["label", "retraction"])
_CONTROL = [
    "record_kind", "epoch", "timeline_partition", "timeline_partitions", "score_counts",
    "feature_counts", "command",
]  # fmt: skip


def _waiting_dtype(columns: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("epoch", "<i8"),
            ("resolved_at", "<i8"),
            ("row_time", "<i8"),
            ("lead", "<u8", (2,)),
            ("label", "<u8", (2,)),
            ("logit", "<f8"),
            ("positive", "<u4"),
            ("taken_back", "<u4"),
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
        for config in configs.values():
            for target in config.targets:
                self.add_table(Learner.table(config, target))
        self.learners: dict[Key, Learner] = {}


class LearningProcessor(Unconditional):
    """Learns every target of all workspaces.

    Args:
        workspaces: Configurations by name.
        signer: Signs champions; None where what is published stays in the process.
        observe: Told of what each batch publishes, for metrics.

    Raises:
        ConfigurationError: a workspace's online model does not exist or cannot be published.
    """

    role = "learning"
    inputs: tuple[str, ...] = ("lead.labels",)

    def __init__(
        self,
        workspaces: Mapping[str, WorkspaceConfig],
        signer: Signer | None = None,
        observe: Callable[[Published], None] = lambda published: None,
    ) -> None:
        self._configs, self._signer, self._observe = workspaces, signer, observe
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
        published = Published()
        for code, pair in enumerate(encoded.dictionary.to_pylist()):
            workspace, target = pair.split("\x00")
            rows = np.flatnonzero(codes == code)
            if (workspace, target) not in self._targets:
                outputs.rejections += [_unknown(r, workspace, target) for r in rows.tolist()]
                continue
            mine = batch.values.take(pa.array(rows))
            learner = self._learner(state, (workspace, target))
            self._target(learner, mine, batch.offsets[rows], state, context, published)
        self._observe(published)
        outputs.records = published.outputs()
        return outputs

    def punctuate(self, state: State, context: Context) -> Outputs | None:
        """Publish what has waited for half a second, if no further label came to make it go out."""
        assert isinstance(state, LearningState)
        published = Published()
        for key in self._targets:
            if len(_waiting(state, key)):
                self._in_between(self._learner(state, key), state, context, published)
        self._observe(published)
        return Outputs(published.outputs()) if published else None

    def _learner(self, state: LearningState, key: Key) -> Learner:
        found = state.learners.get(key)
        if found is None:
            workspace = key[0]
            found = Learner(
                self._configs[workspace],
                self._encodings[workspace],
                self._targets[key],
                state,
                self._signer,
            )
            state.learners[key] = found
        return found

    def _target(
        self,
        learner: Learner,
        rows: pa.RecordBatch,
        offsets: NDArray[np.int64],
        state: LearningState,
        context: Context,
        published: Published,
    ) -> None:
        """Keep what came, learn what may be learned, and publish."""
        table = _waiting(state, (learner.workspace, learner.target))
        is_label = learner.fitting(rows)
        self._keep(table, rows.filter(pa.array(is_label)), offsets[is_label])
        controls = rows.filter(pc.invert(pc.is_in(rows.column("record_kind"), _ROWS)))
        for row in controls.select(_CONTROL).to_pylist():
            if row["record_kind"] == "command":
                learner.champion.command(row["command"])
                learner.publish(context.now_us, published)  # it does not wait for labels
                continue
            learner.came(row["epoch"], row["score_counts"], row["feature_counts"])
            if _epoch_is_over(row, state, learner):
                learner.epoch_ended(row["epoch"])
                self._learn(learner, table, row["epoch"], context, published)
                learner.publish(context.now_us, published, row["epoch"])
        if controls.num_rows:
            learner.keep()
        self._in_between(learner, state, context, published)

    def _in_between(
        self, learner: Learner, state: LearningState, context: Context, published: Published
    ) -> None:
        """Under ``live``: publish before the epoch ends, when enough wait or for long enough."""
        table = _waiting(state, (learner.workspace, learner.target))
        since = context.now_us - learner.published_at_us
        due = len(table) >= PUBLISH_LABELS or since >= PUBLISH_EVERY_US
        if context.policy != "live" or not len(table) or not due:
            return
        self._learn(learner, table, None, context, published)
        learner.publish(context.now_us, published)
        learner.keep()

    def _learn(
        self,
        learner: Learner,
        table: Table,
        epoch: int | None,
        context: Context,
        published: Published,
    ) -> None:
        """Learn the waiting labels of epochs up to ``epoch``, or all, in their one order."""
        due = table.live_rows()
        if epoch is not None:
            due = due[table.rows["epoch"][due] <= epoch]
        waiting = table.rows[due]
        lead = waiting["lead"]
        offsets = table.keys[due, 0]  # a lead's labels are in the same order in every log
        by = (offsets, waiting["row_time"], lead[:, 1], lead[:, 0], waiting["resolved_at"])
        waiting = waiting[np.lexsort(by)]
        columns = len(self._configs[learner.workspace].catalogue.columns)
        back = waiting["taken_back"] > 0
        labels, retracted = waiting[~back], np.ascontiguousarray(waiting["label"][back])
        # a label that is taken back before it was learned never is
        never, unlearned = _in(labels["label"], retracted), _in(retracted, labels["label"])
        learner.learn(Labels.of(labels[~never], _keys(labels[~never]), columns))
        if not unlearned.all():
            learner.take_back(retracted[~unlearned], context.now_us, published)
        table.delete(table.keys[due].copy())

    def _keep(self, table: Table, rows: pa.RecordBatch, offsets: NDArray[np.int64]) -> None:
        if not rows.num_rows:
            return
        n = rows.num_rows
        keys = np.zeros((n, 2), np.uint64)
        keys[:, 0] = offsets
        at, _ = table.find_or_insert(keys)
        new = np.zeros(n, table.dtype)
        new["epoch"] = rows.column("epoch").to_numpy()
        for name in ("resolved_at", "row_time"):
            new[name] = rows.column(name).cast(pa.int64()).to_numpy()
        new["lead"] = hex_to_keys(rows.column("lead_id"))
        new["label"] = hash128(rows.column("label_id"))
        new["logit"] = rows.column("logit").to_numpy()
        new["positive"] = rows.column("positive").to_numpy(zero_copy_only=False)
        kind = rows.column("record_kind")
        new["taken_back"] = pc.equal(kind, "retraction").to_numpy(zero_copy_only=False)
        flat = rows.column("features").flatten().to_numpy(zero_copy_only=False)
        features = flat.astype(np.float32).reshape(n, -1)
        new["features"][:, : features.shape[1]] = features
        table.rows[at] = new
        table.touch(at)


def _keys(rows: NDArray[np.void]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(rows["label"])


def _in(keys: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which keys ``[n, 2]`` are among others ``[m, 2]``."""
    if not len(others):
        return np.zeros(len(keys), np.bool_)
    known = {tuple(k) for k in others.tolist()}
    return np.array([tuple(k) in known for k in keys.tolist()], np.bool_)


def _waiting(state: State, key: Key) -> Table:
    """Labels of a target that were not learned yet."""
    return state.table(f"waiting/{key[0]}/{key[1]}")


def _check_online(config: WorkspaceConfig, encoding: Encoding) -> None:
    settings = config.workspace.online
    try:
        model = make_online_model(settings, encoding, config.prior)
    except ValueError as error:
        raise ConfigurationError(f"workspace {config.name}: online.model: {error}") from error
    if len(model.weights()) != encoding.size:
        raise ConfigurationError(
            f"workspace {config.name}: online.model: {settings.model} has no weights that scoring "
            "could apply to whole batches. Fix: keep a linear model, such as ftrl, and write "
            f"`river: {settings.model}` beside it, which makes it one more member of the mixture"
        )


def _epoch_is_over(row: dict[str, Any], state: State, learner: Learner) -> bool:
    """Whether by this record every timeline partition has ended its epoch."""
    name = f"ends/{learner.workspace}/{learner.target}"
    stored = state.blobs.get(name)
    pairs = msgspec.json.decode(stored, type=list[tuple[int, list[int]]]) if stored else []
    seen, epoch = dict(pairs), row["epoch"]
    seen[epoch] = sorted({*seen.get(epoch, []), row["timeline_partition"]})
    over = len(seen[epoch]) == row["timeline_partitions"]
    if over:
        del seen[epoch]
    state.blobs.put(name, msgspec.json.encode(sorted(seen.items())))
    return bool(over)


def _unknown(row: int, workspace: str, target: str) -> Rejection:
    return Rejection(
        row,
        "UnknownTarget",
        f"no target {target!r} of workspace {workspace!r} is configured here; give this worker the "
        "configuration that the scoring workers have",
    )
