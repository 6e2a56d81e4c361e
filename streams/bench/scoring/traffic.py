"""Events of a bank's campaign, without end: rows of the shipped excerpt, outcomes, many leads.

Each contact carries all attributes of a customer, as the bank's import sends them; one event in
ten is an outcome. A few leads are seen often, most seldom (1/rank^0.9). The same seed always gives
the same events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.files.mapping import load_mapping
from connectors.files.pipeline import source_batches
from connectors.files.shipped import shipped_excerpt
from models.workspaces import WorkspaceConfig
from streams.arrow_schemas import arrow_schema
from streams.engine.columns import InputBatch
from streams.engine.hashing import murmur2
from streams.engine.processor import Context
from streams.identity.processor import IdentityProcessor

WORKSPACE = "bank"
_KINDS = ("contact", "lost", "won")
_SHARES = (0.90, 0.085, 0.015)
START_US = 1_735_689_600_000_000  # 2025-01-01
_BATCH = 8192


@dataclass(frozen=True, slots=True)
class Events:
    """Records of one topic: columns of its schema with message keys and partitions ``[n]``."""

    keys: pa.Array
    values: pa.RecordBatch
    partition: NDArray[np.int32]


class SourceEvents:
    """Source events (``crm.events``) in order of event time.

    Args:
        config: The workspace; an epoch of its clock holds ``events_per_epoch`` events.
        leads: How many people there are.
    """

    def __init__(
        self, config: WorkspaceConfig, leads: int, *, events_per_epoch: int = 20_000, seed: int = 7
    ) -> None:
        self._rng = np.random.default_rng(seed)
        popularity = 1.0 / np.arange(1, leads + 1) ** 0.9
        self._cumulative = np.cumsum(popularity) / popularity.sum()
        self._lead_of_rank = self._rng.permutation(leads)
        self._step_us = config.workspace.epoch_us / events_per_epoch
        self._made = 0
        self._schema = arrow_schema("source_event")
        contacts = _contacts()
        self._templates = len(contacts)
        # one row more: an event without attributes
        self._numbers = _with_empty(contacts.column("numbers"))
        self._texts = _with_empty(contacts.column("texts"))

    def take(self, n: int) -> pa.RecordBatch:
        """Return the next n events."""
        number = np.arange(self._made, self._made + n)
        self._made += n
        rank = np.searchsorted(self._cumulative, self._rng.random(n))
        lead = self._lead_of_rank[np.minimum(rank, len(self._lead_of_rank) - 1)]
        kind = self._rng.choice(len(_KINDS), n, p=_SHARES)
        row = pa.array(np.where(kind == 0, lead % self._templates, self._templates))
        at = pa.array((START_US + number * self._step_us).astype(np.int64))
        times = at.cast(self._schema.field("occurred_at").type)
        columns = {
            "event_id": pa.array([f"{i:032x}" for i in number.tolist()]),
            "workspace": pa.repeat(WORKSPACE, n),
            "source": pa.repeat("bench", n),
            "source_type": pa.repeat("crm", n),
            "kind": pa.array(_KINDS).take(pa.array(kind)),
            "occurred_at": times,
            "received_at": times,
            "identifiers": self._identifiers(lead),
            "numbers": self._numbers.take(row),
            "texts": self._texts.take(row),
        }
        return pa.RecordBatch.from_arrays(
            [_fitting(columns.get(f.name), f.type, n) for f in self._schema], schema=self._schema
        )

    def _identifiers(self, lead: NDArray[np.int64]) -> pa.Array:
        n = len(lead)
        return pa.MapArray.from_arrays(
            pa.array(np.arange(n + 1), pa.int32()),
            pa.repeat("crm_id", n),
            pa.array([f"customer-{i:08d}" for i in lead.tolist()]),
        )


class TimelineEvents:
    """Source events and what identity makes of them, ticks included (``lead.timeline``)."""

    def __init__(self, config: WorkspaceConfig, source: SourceEvents, partitions: int) -> None:
        self._processor = IdentityProcessor({config.name: config})
        self._state = self._processor.new_state()
        self._source, self._partitions = source, partitions
        self._made = 0

    def take(self, n: int) -> Events:
        """Timeline events of the next n source events."""
        parts = [self._process(min(_BATCH, n - at)) for at in range(0, n, _BATCH)]
        return Events(
            pa.concat_arrays([p.keys for p in parts]),
            pa.concat_batches([p.values for p in parts]),
            np.concatenate([p.partition for p in parts]),
        )

    def _process(self, n: int) -> Events:
        values = self._source.take(n)
        offsets = np.arange(self._made, self._made + n)
        self._made += n
        keys = pa.array([WORKSPACE.encode()] * n, pa.binary())
        batch = InputBatch("crm.events", 0, offsets, offsets, keys, values)
        context = Context(0, {"lead.timeline": self._partitions}, None, "live", 0)
        outputs = self._processor.process(batch, self._state, context)
        found = [o for o in outputs.records if o.topic == "lead.timeline"]
        keys = pa.concat_arrays([o.keys.cast(pa.binary()) for o in found])
        rows = pa.concat_batches([o.values for o in found])
        partition = np.concatenate(
            [
                murmur2(o.keys, self._partitions)
                if o.partition is None
                else np.full(len(o.values), o.partition)
                for o in found
            ]
        ).astype(np.int32)
        # identity groups by partition where it writes ticks: back to the order of the source
        order = np.argsort(rows.column("source_offset").to_numpy(), kind="stable")
        at = pa.array(order)
        return Events(keys.take(at), rows.take(at), partition[order])


def _contacts() -> pa.RecordBatch:
    excerpt = shipped_excerpt("bank_marketing")
    assert excerpt is not None
    batches = [b for _, b in source_batches(load_mapping("bank_marketing"), [excerpt])]
    rows = pa.concat_batches(batches)
    return rows.filter(pc.equal(rows.column("kind"), "contact"))


def _with_empty(column: pa.Array) -> pa.Array:
    return pa.concat_arrays([column, pa.array([[]], column.type)])


def _fitting(column: pa.Array | None, kind: pa.DataType, n: int) -> pa.Array:
    if column is None:
        return pa.nulls(n, kind)
    return column if column.type == kind else column.cast(kind)


def crm_events(source: SourceEvents, n: int, partitions: int) -> Events:
    """The next n source events as messages of ``crm.events``, keyed by workspace."""
    values = source.take(n)
    keys = pa.array([WORKSPACE.encode()] * n, pa.binary())
    return Events(keys, values, murmur2(keys, partitions))
