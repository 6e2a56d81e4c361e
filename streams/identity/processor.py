"""The role ``identity``: source events in, timeline events, opportunities and ticks out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.workspaces import WorkspaceConfig
from streams.arrow_schemas import arrow_schema
from streams.engine.columns import InputBatch, OutputBatch, Outputs
from streams.engine.hashing import hash128
from streams.engine.processor import Context, Unconditional
from streams.engine.state import State
from streams.identity import dedup, identifiers
from streams.identity.flat import hex_ids, timestamps
from streams.identity.idle import IdentityState
from streams.identity.normalise import accounts, currencies, unknown_time_zones, urls
from streams.identity.observation import Observation
from streams.identity.opportunities import Outcomes, opportunities
from streams.identity.resolve import Facts, Resolved, Rules, resolve
from streams.identity.rollups import Rollups
from streams.identity.timeline import TOPIC, Links, Source, Ticks, TimelineWriter
from streams.identity.validate import validate
from streams.identity.warm import made_up_batch
from streams.identity.watermark import advance_to


class IdentityProcessor(Unconditional):
    """Validates, deduplicates, resolves and times source events of several workspaces.

    Args:
        workspaces: Configuration by name; events of others are refused.
        observe: Called with the figures of each workspace in each batch, from the tasks' threads.

    Example:
        >>> from models.workspaces import load_workspaces
        >>> IdentityProcessor(load_workspaces("infra/dev/workspaces")).inputs
        ('crm.events', 'web.events')
    """

    role = "identity"
    inputs: tuple[str, ...] = ("crm.events", "web.events")

    def __init__(
        self,
        workspaces: Mapping[str, WorkspaceConfig],
        observe: Callable[[Observation], None] | None = None,
    ) -> None:
        configs = [workspaces[name] for name in sorted(workspaces)]
        self._rules = [Rules.of(config, number) for number, config in enumerate(configs)]
        self._numbers = {rules.name: rules.number for rules in self._rules}
        self._accounts = np.array(
            [any(t.entity == "account" for t in c.targets) for c in configs], np.bool_
        )
        self._outcomes = [Outcomes.of(config) for config in configs]
        self._rollups = Rollups(configs)
        self._observe = observe
        self._writer = TimelineWriter(arrow_schema("timeline_event"))
        self._opportunity = arrow_schema("opportunity")

    def new_state(self) -> State:
        """Tables of all configured workspaces."""
        state = IdentityState()
        for rules in self._rules:
            for table in (dedup.new_table(rules.name), *identifiers.new_tables(rules.name)):
                state.add_table(table)
        for table in self._rollups.new_tables():
            state.add_table(table)
        return state

    def warm(self) -> None:
        """Compile (or load from disk) every kernel, so that no real batch waits for it."""
        if self._rules:
            quiet = copy.copy(self)
            quiet._observe = None
            number = (self._rollups.workspaces or [0])[0]  # its events meet all kernels
            batch = made_up_batch(self._rules[number].name)
            quiet.process(batch, self.new_state(), Context(0, {TOPIC: 1}, None, "live", 0))

    def process(self, batch: InputBatch, state: State, context: Context) -> Outputs:
        """Turn source events into timeline events, links, ticks and opportunities."""
        if not len(batch):
            return Outputs()
        checked = validate(batch, self._numbers)
        people = checked.valid & ~checked.heartbeat
        identified = identifiers.normalise(checked.identifiers.of(people))
        event_ids = hash128(batch.values.column("event_id"))
        facts = Facts(checked, people, identified, event_ids)
        resolved = Resolved.empty(len(batch))
        for number in np.unique(checked.workspace[checked.valid]).tolist():
            seen = resolve(self._rules[number], facts, state, resolved)
            if self._observe is not None:
                mine = checked.valid & (checked.workspace == number)
                self._observe(_with_time_zones(seen, batch, mine))
        rows = np.flatnonzero(resolved.timeline)
        events = self._rollups.told(
            self._events(batch, rows, facts, resolved),
            checked.workspace[rows],
            resolved.lead[rows],
            checked.occurred[rows],
            resolved.watermark[rows],
            state,
        )
        link_rows, others = resolved.linked()
        records = self._writer.write(
            events,
            rows,
            Links(np.searchsorted(rows, link_rows), others),
            self._ticks(batch, facts, resolved),
            Source(batch.topic, batch.partition),
            context.partitions[TOPIC],
            self._of_accounts(events, checked.workspace[rows]),
        )
        deals = opportunities(events, checked.workspace[rows], self._outcomes, self._opportunity)
        return Outputs(records + deals, checked.rejections)

    def punctuate(self, state: State, context: Context) -> Outputs | None:
        """Let the event time of idle workspaces run on with the wall clock."""
        assert isinstance(state, IdentityState)
        records: list[OutputBatch] = []
        for rules in self._rules:
            until = state.idle.due(state.blobs, rules.name, rules.clock, context.now_us)
            if until is not None:
                records += self.tick_until(rules.name, until, state, context).records
        return Outputs(records) if records else None

    def tick_until(self, workspace: str, until_us: int, state: State, context: Context) -> Outputs:
        """Move an idle workspace's watermark to a time; gives a tick if that closes an epoch.

        Raises:
            KeyError: the workspace is not configured.
        """
        clock = self._rules[self._numbers[workspace]].clock
        reading = advance_to(state.blobs, workspace, clock, until_us)
        if not len(reading.ticks):
            return Outputs()
        closed, none = reading.epoch - 1, np.empty(0, np.int64)
        end, row = clock.end(closed), np.zeros(1, np.int64)
        no_events = self._writer.columns(workspace=pa.array([], pa.string()))
        return Outputs(
            self._writer.write(
                no_events,
                none,
                Links(none, np.empty((0, 2), np.uint64)),
                Ticks(row, pa.array([workspace]), closed, end, end, row - 1),
                Source("", context.partition),
                context.partitions[TOPIC],
            )
        )

    def _of_accounts(
        self, events: pa.RecordBatch, workspace: NDArray[np.int64]
    ) -> NDArray[np.int64] | None:
        """Events with an account in workspaces that have a target about accounts."""
        if not self._accounts.any():
            return None
        has_one = events.column("account").is_valid().to_numpy(zero_copy_only=False)
        return np.flatnonzero(has_one & self._accounts[workspace])

    def _events(
        self, batch: InputBatch, rows: NDArray[np.int64], facts: Facts, resolved: Resolved
    ) -> pa.RecordBatch:
        """Timeline events of the source events at ``rows``."""
        n, chosen = len(rows), None if len(rows) == len(batch) else pa.array(rows)

        def kept(name: str) -> pa.Array:
            column = batch.values.column(name)
            return column if chosen is None else column.take(chosen)

        email = facts.identified.email
        if n < len(email):
            email = email.filter(pa.array(resolved.timeline[facts.people]))
        url, currency = kept("url"), kept("currency")
        passed = (
            "workspace", "event_id", "kind", "source", "occurred_at", "received_at", "numbers",
            "texts", "amount_minor", "opportunity_id", "stage",
        )  # fmt: skip
        return self._writer.columns(
            **{name: kept(name) for name in passed},
            record_kind=pa.repeat("event", n),
            lead_id=hex_ids(resolved.lead[rows]),
            account=accounts(kept("account"), email),
            currency=currency if currency.null_count == n else currencies(currency),
            url=url if url.null_count == n else urls(url),
            late=pa.array(resolved.late[rows]),
            watermark=timestamps(resolved.watermark[rows]),
            epoch=pa.array(resolved.epoch[rows]),
            source_topic=pa.repeat(batch.topic, n),
            source_partition=pa.repeat(pa.scalar(batch.partition, pa.int32()), n),
            source_offset=pa.array(batch.offsets[rows]),
        )

    def _ticks(self, batch: InputBatch, facts: Facts, resolved: Resolved) -> Ticks:
        rows = resolved.tick_rows()
        lengths = np.array([rules.clock.epoch_us for rules in self._rules], np.int64)
        epoch = resolved.epoch[rows]
        return Ticks(
            rows,
            batch.values.column("workspace").take(pa.array(rows)),
            epoch - 1,
            epoch * lengths[facts.checked.workspace[rows]],
            facts.checked.received[rows],
            batch.offsets[rows],
        )


def _with_time_zones(seen: Observation, batch: InputBatch, mine: NDArray[np.bool_]) -> Observation:
    column = batch.values.column("time_zone")
    if column.null_count == len(column):
        return seen
    return replace(seen, unknown_time_zones=unknown_time_zones(column.filter(pa.array(mine))))
