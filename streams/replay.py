"""Recomputes published scores from the timeline and the recorded model versions, and compares.

Each score names the weights and the champion that made it; ``models.history`` keeps every version.
Given these, the scoring processor must give every field again bit for bit but ``scored_at``. State
is rebuilt from the start of the timeline, so what is compared begins at ``--from`` but what is read
does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.champion.runtime import ChampionModel
from models.features.encoding import Encoding
from models.features.indicators import NO_INDICATORS, Indicators, IndicatorTable
from models.workspaces import WorkspaceConfig
from streams.app import new_codec, workspaces_of
from streams.engine.broker import KafkaBroker
from streams.engine.columns import InputBatch
from streams.engine.processor import Context
from streams.engine.reading import read_partition
from streams.scoring.model import Model, Weights
from streams.scoring.model_store import ONLINE
from streams.scoring.processor import ScoringProcessor
from streams.settings import Settings

_Recorded = tuple[int, str | None, str | None]
"""Version of the weights, of the champion, newest indicator known."""

_Runs = tuple[NDArray[np.int64], list[_Recorded]]

_KEY = ("source_offset", "target")


@dataclass(slots=True)
class Comparison:
    """What a replay found.

    Attributes:
        events: Timeline records read.
        compared: Scores compared.
        different: Scores of which any field but ``scored_at`` differs.
        missing: Published scores that the replay did not give, or the other way round.
        examples: The first few differences in words.
    """

    events: int = 0
    compared: int = 0
    different: int = 0
    missing: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether every compared score came out bit for bit."""
        return not (self.different or self.missing)


class History:
    """Every version of weights and champions that was published.

    Args:
        workspaces: Configurations by name.
    """

    def __init__(self, workspaces: Mapping[str, WorkspaceConfig]) -> None:
        self._configs = workspaces
        self._encodings = {n: Encoding(c.catalogue) for n, c in workspaces.items()}
        self._weights: dict[tuple[str, str, int], Weights] = {}
        self._champions: dict[tuple[str, str, str], ChampionModel] = {}
        self._published: dict[str, list[Mapping[str, Any]]] = {}
        self._known: dict[str, tuple[int, IndicatorTable]] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one ``ModelWeights`` record."""
        workspace, target = row["workspace"], row["target"]
        config = self._configs.get(workspace)
        if config is None:
            return
        if row["slot"] != ONLINE:
            if row.get("artifact"):
                champion = ChampionModel(row["artifact"], row["artifact_sha256"], config.catalogue)
                self._champions[workspace, target, champion.version] = champion
        else:
            self._weights[workspace, target, row["version"]] = Weights.of_record(row)

    def add_indicator(self, row: Mapping[str, Any]) -> None:
        """Take one record of ``market.indicators``, in the order of the log."""
        self._published.setdefault(row["workspace"], []).append(row)

    def indicators(self, workspace: str, known: str | None) -> Indicators:
        """What was known of market indicators when a record of this id was the newest.

        Raises:
            LookupError: the record is no longer in ``market.indicators``.
        """
        if known is None:
            return NO_INDICATORS
        place, table = self._known.get(workspace, (0, IndicatorTable()))
        if table.view().known != known:
            rows = self._published.get(workspace, [])
            if all(row["event_id"] != known for row in rows[place:]):
                place, table = 0, IndicatorTable()
            for row in rows[place:]:
                place += 1
                table.add(row)
                if row["event_id"] == known:
                    break
            else:
                raise LookupError(
                    f"the indicator {known} of {workspace} is not in market.indicators any more; "
                    "replay a later range or raise the topic's retention"
                )
            self._known[workspace] = place, table
        return table.view()

    def model(self, workspace: str, target: str, version: int, champion: str | None) -> Model:
        """The model of a recorded score.

        Raises:
            LookupError: the version is no longer in ``models.history``.
        """
        if version == 0:
            weights = Weights.none(self._encodings[workspace].size)
        else:
            found = self._weights.get((workspace, target, version))
            if found is None:
                raise LookupError(
                    f"version {version} of {workspace}/{target} is not in models.history any "
                    "more; replay a later range or raise the topic's retention"
                )
            weights = found
        fitting = self._champions[workspace, target, champion] if champion else None
        online = self._configs[workspace].workspace.online
        return Model.of(online, self._encodings[workspace], weights, fitting)


class RecordedModels:
    """Gives the scoring processor, row by row, the versions that were recorded.

    Args:
        history: All versions.
        recorded: ``ScoredLead`` rows of one timeline partition, sorted by offset.
    """

    def __init__(self, history: History, recorded: pa.Table) -> None:
        self._history = history
        self._by_target: dict[tuple[str, str], _Runs] = {}
        self._by_workspace: dict[str, _Runs] = {}
        pairs = pa.table({n: recorded.column(n) for n in ("workspace", "target")})
        for pair in pairs.group_by(["workspace", "target"]).aggregate([]).to_pylist():
            mine = recorded.filter(
                pc.and_(
                    pc.equal(recorded.column("workspace"), pair["workspace"]),
                    pc.equal(recorded.column("target"), pair["target"]),
                )
            )
            versions = list(
                zip(
                    mine.column("weights_version").to_pylist(),
                    mine.column("champion_version").to_pylist(),
                    mine.column("indicators_known").to_pylist(),
                    strict=True,
                )
            )
            offsets = mine.column("source_offset").to_numpy()
            self._by_target[pair["workspace"], pair["target"]] = (offsets, versions)
        for workspace in {w for w, _ in self._by_target}:
            mine = [r for (w, _), r in self._by_target.items() if w == workspace]
            offsets, first = np.unique(np.concatenate([o for o, _ in mine]), return_index=True)
            together = [version for _, versions in mine for version in versions]
            self._by_workspace[workspace] = (offsets, [together[at] for at in first.tolist()])

    def ranges(
        self, workspace: str, target: str, offsets: NDArray[np.int64]
    ) -> Iterator[tuple[int, int, Model]]:
        """Runs of rows with one version."""
        for start, stop, (version, champion, _) in _runs(
            self._by_target.get((workspace, target)), offsets, 2
        ):
            yield start, stop, self._history.model(workspace, target, version, champion)

    def indicators(
        self, workspace: str, offsets: NDArray[np.int64]
    ) -> Iterator[tuple[int, int, Indicators]]:
        """Runs of rows for which the same was known."""
        recorded = self._by_workspace.get(workspace)
        for start, stop, (_, _, known) in _runs(recorded, offsets, None):
            yield start, stop, self._history.indicators(workspace, known)


def _runs(
    recorded: _Runs | None, offsets: NDArray[np.int64], compared: int | None
) -> Iterator[tuple[int, int, _Recorded]]:
    """Runs of rows that were recorded with the same first `compared` values, or all."""
    known, versions = recorded or (np.empty(0, np.int64), [])
    nothing = (0, None, None)
    at = np.searchsorted(known, offsets)
    start, current = 0, None
    for i, (offset, place) in enumerate(zip(offsets.tolist(), at.tolist(), strict=True)):
        found = place < len(known) and known[place] == offset
        version = versions[place] if found else nothing
        if current is None or version[:compared] != current[:compared]:
            if current is not None:
                yield start, i, current
            start, current = i, version
    if current is not None:
        yield start, len(offsets), current


def replay(
    settings: Settings,
    since: datetime | None,
    until: datetime | None,
    progress: Callable[[int], None] = lambda events: None,
) -> Comparison:
    """Replay all partitions of ``lead.timeline`` and compare with ``leads.scored``.

    Args:
        since: Compare records appended to the timeline from then on; from its start by default.
        until: Up to then; to its end by default.
    """
    workspaces = workspaces_of(settings)
    broker, make_codec = KafkaBroker(settings.kafka_bootstrap), new_codec(settings)
    history, result = History(workspaces), Comparison()
    scored_codec = make_codec("leads.scored")
    published = [scored_codec.decode(p).values for p in _slices(settings, broker, "leads.scored")]
    table = pa.Table.from_batches(published, scored_codec.arrow_schema)
    # after the scores: on a live system a version is there before any score that it made
    weights_codec = make_codec("models.history")
    for part in _slices(settings, broker, "models.history"):
        for row in weights_codec.decode_dicts(part):
            if isinstance(row, dict):
                history.add(row)
    indicators_codec = make_codec("market.indicators")
    for part in _slices(settings, broker, "market.indicators"):
        for row in indicators_codec.decode_dicts(part):
            if isinstance(row, dict):
                history.add_indicator(row)
    processor = ScoringProcessor(workspaces)
    processor.warm()
    timeline_codec = make_codec("lead.timeline")
    name = settings.topic_prefix + "lead.timeline"
    count = broker.partitions([name])[name]
    low = int(since.timestamp() * 1000) if since else -(1 << 62)
    high = int(until.timestamp() * 1000) if until else 1 << 62
    for partition in range(count):
        recorded = table.filter(pc.equal(table.column("source_partition"), partition))
        recorded = recorded.sort_by([(n, "ascending") for n in _KEY])
        models = RecordedModels(history, recorded)
        context = Context(partition, {"lead.timeline": count}, models, "live", 0)
        state = processor.new_state()
        end = broker.end_offset(name, partition)
        wanted: list[NDArray[np.int64]] = []
        made: list[pa.RecordBatch] = []
        for part in read_partition(settings.kafka_bootstrap, name, partition, end):
            decoded = timeline_codec.decode(part)
            keys = pa.array(part.keys(), pa.binary()).take(pa.array(decoded.rows))
            batch = InputBatch(
                "lead.timeline", partition, part.offsets[decoded.rows],
                part.timestamps[decoded.rows], keys, decoded.values,
            )  # fmt: skip
            outputs = processor.process(batch, state, context)
            for t in state.tables.values():
                t.take_changes()
            made += [o.values for o in outputs.records if o.topic == "leads.scored"]
            in_range = (batch.timestamps >= low) & (batch.timestamps < high)
            wanted.append(batch.offsets[in_range])
            result.events += len(batch)
            progress(result.events)
        if made:
            reached = pc.max(recorded.column("source_offset")).as_py()
            in_time = np.concatenate(wanted)
            # what lies beyond the last published score is not scored yet
            offsets = pa.array(in_time[in_time <= (-1 if reached is None else reached)])
            _compare(
                _within(pa.Table.from_batches(made), offsets), _within(recorded, offsets), result
            )
    return result


def _slices(settings: Settings, broker: KafkaBroker, topic: str) -> Iterator[Any]:
    name = settings.topic_prefix + topic
    for partition in range(broker.partitions([name]).get(name, 0)):
        end = broker.end_offset(name, partition)
        yield from read_partition(settings.kafka_bootstrap, name, partition, end)


def _within(table: pa.Table, offsets: pa.Array) -> pa.Table:
    mine = table.filter(pc.is_in(table.column("source_offset"), value_set=offsets))
    return mine.sort_by([(n, "ascending") for n in _KEY])


def _compare(made: pa.Table, published: pa.Table, result: Comparison) -> None:
    keys = [made.select(list(_KEY)), published.select(list(_KEY))]
    if not keys[0].equals(keys[1]):
        ours = set(map(tuple, (r.values() for r in keys[0].to_pylist())))
        theirs = set(map(tuple, (r.values() for r in keys[1].to_pylist())))
        odd = ours ^ theirs
        result.missing += len(odd) or abs(made.num_rows - published.num_rows)
        result.examples += [f"{k}: not on both sides" for k in sorted(odd)[:3]]
        return
    result.compared += made.num_rows
    wrong = np.zeros(made.num_rows, np.bool_)
    for name in made.schema.names:
        if name == "scored_at":
            continue
        a, b = made.column(name).combine_chunks(), published.column(name).combine_chunks()
        if a.equals(b):
            continue
        differs = np.array([x != y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)])
        wrong |= differs
        for row in np.flatnonzero(differs)[:3].tolist():
            at = keys[0].slice(row, 1).to_pylist()[0]
            result.examples.append(f"{at}: {name} is {b[row]}, replayed {a[row]}")
    result.different += int(wrong.sum())
