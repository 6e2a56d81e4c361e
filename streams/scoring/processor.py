"""Timeline events in; scores, labels and the end of epochs out.

A batch is cut at ticks. Between two ticks each workspace's events update their leads' rows, every
target is scored, and the ledger keeps and resolves feature rows. A tick resolves what is due and
ends the epoch for this partition.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.explain.top import TOP
from models.warm import warm
from models.workspaces import WorkspaceConfig
from streams.engine.columns import InputBatch, Outputs, Rejection
from streams.engine.errors import ConfigurationError
from streams.engine.hashing import murmur2
from streams.engine.processor import Context
from streams.engine.state import State
from streams.scoring.model_store import ModelStore
from streams.scoring.warm import made_up_batch
from streams.scoring.workspace import WorkspaceScoring


class ScoringProcessor:
    """Scores the leads of all workspaces.

    Args:
        workspaces: Configurations by name.
        reasons: How many contributions each score tells.
        deltas: Whether it tells what moved it.
    """

    role = "scoring"
    inputs: tuple[str, ...] = ("lead.timeline",)

    def __init__(
        self, workspaces: Mapping[str, WorkspaceConfig], reasons: int = TOP, deltas: bool = True
    ) -> None:
        self._workspaces = {n: WorkspaceScoring(c, reasons, deltas) for n, c in workspaces.items()}

    def new_state(self) -> State:
        """A table of leads and one of pending rows, for each workspace."""
        return State(t for w in self._workspaces.values() for t in w.tables())

    def warm(self) -> None:
        """Compile what must be compiled, before being ready."""
        for workspace in self._workspaces.values():
            config = workspace.config
            warm(config)
            models = ModelStore({config.name: config}, {config.name: workspace.encoding})
            context = Context(0, {"lead.timeline": 1}, models, "live", 0)
            self.process(made_up_batch(config), self.new_state(), context)

    def pending(self, workspace: str, target: str, state: State) -> int:
        """How many feature rows of a target wait for their label, in this partition's state."""
        return self._workspaces[workspace].pending(target, state)

    def cuts(self, batch: InputBatch, context: Context) -> list[int]:
        """Behind every tick under ``barrier``: what follows waits for new weights."""
        if context.policy == "live":
            return []
        return [int(i) + 1 for i in _ticks(batch)]

    def ready(self, batch: InputBatch, state: State, context: Context) -> bool:
        """Whether the weights of the last closed epoch are there, for all workspaces."""
        if context.policy == "live":
            return True
        for name in pc.unique(batch.values.column("workspace")).to_pylist():
            stored = state.blobs.get(f"epoch/{name}")
            if stored is not None and not context.models.reached(name, int(stored)):
                return False
        return True

    def process(self, batch: InputBatch, state: State, context: Context) -> Outputs:
        """Score, keep, resolve."""
        outputs = Outputs()
        names = batch.values.column("workspace")
        kind = batch.values.column("record_kind")
        is_event = pc.equal(kind, "event").to_numpy(zero_copy_only=False)
        start = 0
        for tick in [*_ticks(batch).tolist(), len(batch)]:
            rows = np.arange(start, tick)[is_event[start:tick]]
            if len(rows):
                self._events(batch, rows, names, state, context, outputs)
            if tick < len(batch):
                self._tick(batch, tick, state, context, outputs)
            start = tick + 1
        return outputs

    def _events(
        self,
        batch: InputBatch,
        rows: NDArray[np.int64],
        names: pa.Array,
        state: State,
        context: Context,
        outputs: Outputs,
    ) -> None:
        whole = len(rows) == len(batch)
        mine = names if whole else names.take(pa.array(rows))
        encoded = mine.dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        for code, name in enumerate(encoded.dictionary.to_pylist()):
            of_workspace = rows if len(encoded.dictionary) == 1 else rows[codes == code]
            workspace = self._workspaces.get(name)
            if workspace is None:
                outputs.rejections += [_unknown(int(r), name) for r in of_workspace]
                continue
            values = batch.values
            if len(of_workspace) < len(batch):
                values = values.take(pa.array(of_workspace))
            outputs.records += workspace.events(values, batch.offsets[of_workspace], state, context)

    def _tick(
        self, batch: InputBatch, row: int, state: State, context: Context, outputs: Outputs
    ) -> None:
        values = batch.values
        name = values.column("workspace")[row].as_py()
        workspace = self._workspaces.get(name)
        if workspace is None:
            outputs.rejections.append(_unknown(row, name))
            return
        outputs.records += workspace.tick(
            epoch=values.column("epoch")[row].as_py(),
            watermark=values.column("watermark")[row].value,
            offset=int(batch.offsets[row]),
            state=state,
            context=context,
        )
        if context.policy == "barrier":
            self._check_order(name, state, context)
        epoch = values.column("epoch")[row].as_py()
        state.blobs.put(f"epoch/{name}", str(epoch).encode())

    def _check_order(self, name: str, state: State, context: Context) -> None:
        """Under ``barrier``, ticks of all workspaces must come in one order everywhere.

        Two identity tasks write theirs in any order: each of two scoring partitions could wait
        for the epoch that only the other one can end.
        """
        others = [b.removeprefix("epoch/") for b in state.blobs if b.startswith("epoch/")]
        if set(others) <= {name}:
            return
        places = murmur2(pa.array([name, *others], pa.binary()), context.partitions["crm.events"])
        elsewhere = np.flatnonzero(places != places[0])
        if len(elsewhere):
            other = others[int(elsewhere[0]) - 1]
            raise ConfigurationError(
                f"the workspaces {name} and {other} lie on different partitions of crm.events; "
                "under the policy barrier they could wait for each other for ever. Run this role "
                "with --policy live, or use one topic prefix (and its workers) for each of them"
            )


def _ticks(batch: InputBatch) -> NDArray[np.int64]:
    is_tick = pc.equal(batch.values.column("record_kind"), "tick")
    return np.flatnonzero(is_tick.to_numpy(zero_copy_only=False)).astype(np.int64)


def _unknown(row: int, name: str) -> Rejection:
    return Rejection(
        row,
        "UnknownWorkspace",
        f"no workspace {name!r} is configured here; give this worker the configuration that the "
        "identity workers have",
    )
