"""Scoring of one workspace: its leads' rows, its targets, its ledger."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit
from numpy.typing import NDArray

from models.evaluation.histograms import FeatureBins
from models.explain.top import TOP
from models.features.encoding import Encoding
from models.features.extract import Extractor
from models.features.kernels import FeatureKernels
from models.features.rates import RateColumns
from models.features.state import StateViews, lead_dtype
from models.targets import Target
from models.workspaces import WorkspaceConfig
from streams.engine.columns import OutputBatch
from streams.engine.hashing import hex_to_keys
from streams.engine.processor import Context
from streams.engine.state import State
from streams.engine.table import Table
from streams.labels.kept import KeptRows
from streams.labels.ledger import Ledger, Rows, Walked, lead_fields, mature
from streams.labels.resolved import Resolved
from streams.scoring import records
from streams.scoring.counts import KeptCounts
from streams.scoring.deltas import Earlier, Moved
from streams.scoring.eviction import a_new_day, evict, forget
from streams.scoring.model import Model
from streams.scoring.scorer import Scores, score

I8 = NDArray[np.int64]
F8 = NDArray[np.float64]

_NEVER = -(2**63)


@dataclass(frozen=True, slots=True)
class _Events:
    """One workspace's events of a batch, with what their leads' rows say after each.

    Columns of rates are written anew for each target, by the model that scores the row for it.
    """

    values: pa.RecordBatch
    offsets: I8
    rows: I8
    keys: NDArray[np.uint64]
    is_first: NDArray[np.bool_]
    occurred_at: I8
    as_of: I8
    features: NDArray[np.float32]
    before: NDArray[np.float32]
    aged: NDArray[np.float32]
    kinds: list[str]
    kind_codes: I8
    evidence: I8
    indicators: pa.Array

    def of(self, of_account: NDArray[np.bool_], entity: str) -> _Events:
        """Only the events of leads, or of accounts."""
        at = np.flatnonzero(of_account == (entity == "account"))
        arrays = {
            field.name: getattr(self, field.name)[at]
            for field in fields(self)
            if field.name not in ("values", "kinds", "indicators")
        }
        values, indicators = (each.take(pa.array(at)) for each in (self.values, self.indicators))
        return _Events(values, kinds=self.kinds, indicators=indicators, **arrays)


class WorkspaceScoring:
    """Everything that scoring does for one workspace.

    Args:
        config: Catalogue, targets and clock.
        reasons: How many contributions each score tells.
        deltas: Whether it tells what moved it; a benchmark leaves out both to see their cost.
    """

    def __init__(self, config: WorkspaceConfig, reasons: int = TOP, deltas: bool = True) -> None:
        self.config, self.name = config, config.name
        self._reasons, self._deltas = reasons, deltas
        encoding = Encoding(config.catalogue)
        self.encoding = encoding
        self._extractor = Extractor(config.catalogue)
        self._kernels = FeatureKernels(config.catalogue)
        self._rates = RateColumns(config.catalogue)
        self._indicators = config.catalogue.indicators
        self._columns = len(config.catalogue.columns)
        self._evidence = config.catalogue.column_names.index("event_count")
        version = config.catalogue.catalogue_version
        self._targets = [
            (t, Ledger(t, i), records.Names(self.name, t.name, version))
            for i, t in enumerate(config.targets)
        ]
        bins = FeatureBins(config.catalogue)
        self._counts = [KeptCounts(bins, f"{self.name}/{t.name}") for t in config.targets]
        # a lead's first row can hold nothing newer than its event; later ones can
        self._later_rows = any(
            t.rows.after_events or t.rows.stage_kinds or t.every_us for t in config.targets
        ) or bool(self._indicators)
        self._accounts = any(t.entity == "account" for t in config.targets)
        self._corrections = np.array([t.corrections_us for t in config.targets])
        self._lead_dtype = _packed_lead_dtype(config)

    def tables(self) -> list[Table]:
        """Empty tables: leads by id, kept feature rows by lead, target and slot."""
        meaning = self.config.catalogue.hash + "".join(f"/{t.name}" for t in self.config.targets)
        return [
            Table(f"leads/{self.name}", self._lead_dtype, meaning=meaning),
            *KeptRows.tables(self.name, self._columns, meaning),
        ]

    def events(
        self, values: pa.RecordBatch, offsets: I8, state: State, context: Context
    ) -> list[OutputBatch]:
        """Update, score and keep n events in order."""
        leads, rows = state.table(f"leads/{self.name}"), self._rows(state)
        events = self._update(values, offsets, leads, context)
        of_account: NDArray[np.bool_] | None = None
        if self._accounts:
            is_account = pc.fill_null(pc.equal(values.column("entity"), "account"), False)
            of_account = is_account.to_numpy(zero_copy_only=False)
        out: list[OutputBatch] = []
        of_all = events
        for index, (target, ledger, names) in enumerate(self._targets):
            events = of_all if of_account is None else of_all.of(of_account, target.entity)
            values, offsets = events.values, events.offsets
            if not len(offsets):
                continue
            scores, moved = self._score(events, index, leads, context)
            out += self._scored(events, scores, moved, target, names, context)
            walked = Walked(
                rows=events.rows,
                keys=events.keys,
                occurred_at=events.occurred_at,
                watermark=values.column("watermark").cast(pa.int64()).to_numpy(),
                as_of=events.as_of,
                sign=ledger.signs(events.kinds, events.kind_codes),
                takes_back=ledger.takes_back(events.kinds, events.kind_codes),
                is_stage=ledger.stages(events.kinds, events.kind_codes),
                is_first=events.is_first,
                evidence=events.evidence,
                features=events.features,
                logits=scores.logit,
                versions=scores.weights_version,
                event_ids=values.column("event_id"),
                offsets=offsets,
            )
            kept, resolved = ledger.walk(leads, rows, walked)
            if len(kept):
                self._counts[index].add(state, events.features[kept], scores.logit[kept])
            if len(resolved.rows):
                out.append(self._labels(events, resolved, names, context))
        leads.touch(of_all.rows)
        return out

    def _update(
        self, values: pa.RecordBatch, offsets: I8, leads: Table, context: Context
    ) -> _Events:
        keys = hex_to_keys(values.column("lead_id"))
        rows, is_first = leads.find_or_insert(keys)
        if is_first.any():
            leads.rows["last_logit"][rows[is_first]] = np.nan
        kind = values.column("kind")
        extracted = self._extractor.extract(
            kind, values.column("numbers"), values.column("texts"), values.column("url")
        )
        occurred_at = values.column("occurred_at").cast(pa.int64()).to_numpy()
        as_of, as_of_before = self._as_of(leads, rows, occurred_at)
        shape = (len(rows), self._columns)
        earlier = (np.empty(shape, np.float32), np.empty(shape, np.float32))
        features = self._kernels.update_rows(
            StateViews.of(leads.rows),
            rows,
            occurred_at,
            extracted.kind,
            extracted.attr_event,
            extracted.attr_slot,
            extracted.attr_value,
            earlier=earlier if self._deltas else None,
            distinct=extracted.distinct,
        )
        known = self._fill_indicators(offsets, as_of_before, as_of, earlier, features, context)
        encoded = kind.dictionary_encode()
        evidence = features[:, self._evidence].astype(np.int64)
        return _Events(
            values,
            offsets,
            rows,
            keys,
            is_first,
            occurred_at,
            as_of,
            features,
            *earlier,
            encoded.dictionary.to_pylist(),
            encoded.indices.to_numpy(zero_copy_only=False),
            evidence,
            known,
        )

    def _as_of(self, leads: Table, rows: I8, occurred_at: I8) -> tuple[I8, I8]:
        """Time of the newest event in each feature row, and in the one before it.

        Asked before the leads are updated; the second says nothing where nobody wants it.
        """
        if not self._later_rows:
            return occurred_at, occurred_at
        as_of, before = np.empty_like(occurred_at), leads.rows["last_seen"][rows]
        _newest_so_far(np.argsort(rows, kind="stable"), rows, before, occurred_at, as_of)
        return as_of, before

    def _fill_indicators(
        self,
        offsets: I8,
        as_of_before: I8,
        as_of: I8,
        earlier: tuple[NDArray[np.float32], NDArray[np.float32]],
        features: NDArray[np.float32],
        context: Context,
    ) -> pa.Array:
        """Fill the columns of market indicators as of each row; says what was known of them."""
        first, n = self._columns - len(self._indicators), len(offsets)
        if not self._indicators:
            return pa.nulls(n, pa.string())
        known = []
        for start, stop, indicators in context.models.indicators(self.name, offsets):
            at = slice(start, stop)
            now = indicators.columns(self._indicators, as_of[at])
            features[at, first:] = earlier[1][at, first:] = now
            earlier[0][at, first:] = indicators.columns(self._indicators, as_of_before[at])
            known.append(pa.repeat(pa.scalar(indicators.known, pa.string()), stop - start))
        return pa.concat_arrays(known)

    def _score(
        self, events: _Events, index: int, leads: Table, context: Context
    ) -> tuple[Scores, Moved]:
        """Score all events for one target; by which model, the store or a replay says."""
        target, n = self._targets[index][0], len(events.offsets)
        parts: list[tuple[I8 | slice, Model]] = []
        models = np.empty(n, np.int64)
        for start, stop, newest in context.models.ranges(self.name, target.name, events.offsets):
            for chosen, model in newest.groups(events.keys[start:stop]):
                at = slice(start, stop) if isinstance(chosen, slice) else chosen + start
                models[at] = model.code
                earlier_rows = (events.before, events.aged) if self._deltas else ()
                for each in (events.features, *earlier_rows):
                    self._rates.fill(each, at, model.weights.rates)
                parts.append((at, model))
        scores = Scores.empty(n, [model for _, model in parts], self._reasons)
        earlier = None
        if self._deltas:
            earlier = Earlier(leads.rows, index, events.rows, models, events.before, events.aged)
        for at, model in parts:
            score(events.features[at], model, target, scores, at, earlier)
        return scores, earlier.split(scores.logit) if earlier else Moved.untold(n)

    def _scored(
        self,
        events: _Events,
        scores: Scores,
        moved: Moved,
        target: Target,
        names: records.Names,
        context: Context,
    ) -> list[OutputBatch]:
        values = events.values
        origin = records.Origin(
            values.column("lead_id"),
            values.column("event_id"),
            values.column("occurred_at"),
            values.column("watermark"),
            context.partition,
            events.offsets,
            events.evidence,
            events.indicators,
            values.column("account") if target.entity == "account" else None,
        )
        scored = records.scored(names, origin, scores, moved, events.features, context.now_us)
        keys = records.score_keys(names, values.column("lead_id"))
        newest = _newest(events.rows)
        counts = context.partitions
        # beside its events, where it can be: a lead's records stay in order, and a commit
        # that reaches few partitions costs the broker less
        topics = ("lead.timeline", "leads.scored", "leads.latest")
        where = context.partition if len({counts.get(t) for t in topics}) == 1 else None
        return [OutputBatch("leads.scored", keys, scored, where, "leads.latest", newest)]

    def _labels(
        self, events: _Events, resolved: Resolved, names: records.Names, context: Context
    ) -> OutputBatch:
        at, values = resolved.event, events.values
        return records.labels(
            names,
            resolved,
            partition=context.partition,
            partitions=context.partitions["lead.timeline"],
            epochs=values.column("epoch").to_numpy()[at],
            watermarks=values.column("watermark").cast(pa.int64()).to_numpy()[at],
            resolved_by=values.column("event_id").take(pa.array(at)),
            columns=self._columns,
        )

    def tick(
        self, *, epoch: int, watermark: int, offset: int, state: State, context: Context
    ) -> list[OutputBatch]:
        """Resolve what is due and end the epoch of this partition."""
        leads, rows = state.table(f"leads/{self.name}"), self._rows(state)
        out: list[OutputBatch] = []
        due = mature(leads, rows, watermark, self.config.targets)
        partitions = context.partitions["lead.timeline"]
        for index, (_, _, names) in enumerate(self._targets):
            mine = due.of_target(index)
            n = len(mine.rows)
            if n:
                out.append(
                    records.labels(
                        names,
                        mine,
                        partition=context.partition,
                        partitions=partitions,
                        epochs=np.full(n, epoch),
                        watermarks=np.full(n, watermark),
                        resolved_by=pa.nulls(n, pa.string()),
                        columns=self._columns,
                    )
                )
            out.append(
                records.epoch_end(
                    names,
                    epoch=epoch,
                    watermark=watermark,
                    partition=context.partition,
                    partitions=partitions,
                    offset=offset,
                    counts=self._counts[index].take(state),
                )
            )
        state.blobs.put(f"ticked/{self.name}", str(watermark).encode())
        if a_new_day(state, self.name, watermark):
            evict(leads, rows.resolved, watermark - self.config.workspace.state_ttl_us)
            forget(leads, rows.resolved, watermark - self._corrections)
        return out

    def _rows(self, state: State) -> Rows:
        ticked = state.blobs.get(f"ticked/{self.name}")
        return Rows(
            KeptRows(state, self.name, "pending"),
            KeptRows(state, self.name, "resolved"),
            _NEVER if ticked is None else int(ticked),
        )

    def pending(self, target: str, state: State) -> int:
        """How many feature rows of a target wait for their label."""
        names = [t.name for t, _, _ in self._targets]
        return KeptRows(state, self.name, "pending").count(names.index(target))


def _packed_lead_dtype(config: WorkspaceConfig) -> np.dtype[np.void]:
    """A lead's row with scoring's own fields; multiple of 8 bytes without hidden padding."""
    targets = len(config.targets)
    extra = [
        ("last_logit", "<f8", (targets,)),
        ("last_model", "<i8", (targets,)),
        *lead_fields(targets),
    ]
    dtype = lead_dtype(config.catalogue, extra)
    filled = sum(f[0].itemsize for f in (dtype.fields or {}).values())
    if filled < dtype.itemsize:
        dtype = lead_dtype(config.catalogue, [*extra, ("spare", "u1", (dtype.itemsize - filled,))])
    return dtype


@njit(nogil=True, cache=True)
def _newest_so_far(order: I8, rows: I8, before: I8, at: I8, out: I8) -> None:
    """`before` goes in as of the table and comes out as of the event before, also in the batch."""
    newest = last = np.int64(-1)
    for i in order:
        if rows[i] == last:
            before[i] = newest
        newest = max(before[i], at[i])
        last, out[i] = rows[i], newest


def _newest(rows: I8) -> I8:
    """Numbers of each row's last event, ascending."""
    last = np.zeros(len(rows), np.bool_)
    _last_of_each(np.argsort(rows, kind="stable"), rows, last)
    return np.flatnonzero(last)


@njit(nogil=True, cache=True)
def _last_of_each(order: I8, rows: I8, last: NDArray[np.bool_]) -> None:
    for place in range(len(order)):
        end = place + 1 == len(order) or rows[order[place + 1]] != rows[order[place]]
        last[order[place]] = end
