"""Account roll-ups as numbers of timeline events, in workspaces whose attributes ask for them.

An event that has an account and is not late is told what the account did before it. Its own number
of an asked name is dropped, whether or not it has an account: what the models read under these
names is counted here and nowhere else. Other workspaces keep their events as they are and have no
tables for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.compiled import compiled, plain
from models.features.rollups import HALF_LIFE_DAYS, ROLLUPS, rollups_of
from models.workspaces import WorkspaceConfig
from streams.engine.hashing import hash128
from streams.engine.state import State
from streams.engine.table import Table
from streams.identity.account_history import AccountHistory
from streams.identity.flat import entries, mask
from streams.identity.opportunities import Outcomes

_NAMES = pa.array(ROLLUPS, pa.string())
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class _Asked:
    """asked: ``[len(ROLLUPS)]`` which; won: kinds that win a deal."""

    history: AccountHistory
    asked: NDArray[np.bool_]
    won: pa.Array

    @classmethod
    def of(cls, config: WorkspaceConfig) -> _Asked | None:
        names = rollups_of(config.catalogue)
        if not names:
            return None
        history = AccountHistory(
            config.name,
            config.workspace.state_ttl_us,
            HALF_LIFE_DAYS * _DAY_US,
            "account.leads" in names,
        )
        asked = np.array([name in names for name in ROLLUPS], np.bool_)
        return cls(history, asked, Outcomes.of(config).won)


class Rollups:
    """The account roll-ups of several workspaces.

    Args:
        configs: In the order of the workspaces' numbers.
    """

    def __init__(self, configs: Sequence[WorkspaceConfig]) -> None:
        found = [_Asked.of(config) for config in configs]
        self._of = {number: asked for number, asked in enumerate(found) if asked is not None}

    @property
    def workspaces(self) -> list[int]:
        """Numbers of the workspaces that ask for some."""
        return list(self._of)

    def new_tables(self) -> list[Table]:
        """Empty tables of the workspaces that ask."""
        return [table for asked in self._of.values() for table in asked.history.new_tables()]

    def told(
        self,
        events: pa.RecordBatch,
        workspace: NDArray[np.int64],
        lead: NDArray[np.uint64],
        occurred: NDArray[np.int64],
        watermark: NDArray[np.int64],
        state: State,
    ) -> pa.RecordBatch:
        """Timeline events with the roll-ups among their numbers; counts them in.

        Args:
            events: ``[n]`` in the order of arrival.
            workspace: ``[n]`` numbers.
            lead: ``[n, 2]``.
            occurred, watermark: ``[n]`` µs.
            state: Holds the tables.
        """
        here = [number for number in np.unique(workspace).tolist() if number in self._of]
        if not here:
            return events
        account, late = events.column("account"), mask(events.column("late"))
        has_one = account.is_valid().to_numpy(zero_copy_only=False)
        values = np.full((len(events), len(ROLLUPS)), np.nan)
        asked = np.zeros(values.shape, np.bool_)
        for number in here:
            of, mine = self._of[number], workspace == number
            asked[mine] = of.asked
            rows = np.flatnonzero(mine & has_one)
            if len(rows):
                at = pa.array(rows)
                values[rows] = of.history.count(
                    state,
                    hash128(account.take(at)),
                    lead[rows],
                    occurred[rows],
                    watermark[rows],
                    late[rows],
                    mask(pc.is_in(events.column("kind").take(at), of.won)),
                )
        place = events.schema.get_field_index("numbers")
        numbers = _merged(events.column(place), asked, values)
        return events.set_column(place, events.schema.field(place), numbers)


def _merged(
    numbers: pa.MapArray, asked: NDArray[np.bool_], values: NDArray[np.float64]
) -> pa.MapArray:
    """Each event's own numbers but those of an asked name, then the asked values but NaN."""
    found = entries(numbers)
    name = pc.fill_null(pc.index_in(found.keys, _NAMES), -1).to_numpy(zero_copy_only=False)
    most = len(found.keys) + values.size
    offsets = np.zeros(len(numbers) + 1, np.int32)
    source, items = np.empty(most, np.int64), np.empty(most)
    _merge(
        found.count,
        plain(name, np.int32),
        plain(found.items.to_numpy(zero_copy_only=False), np.float64),
        asked,
        values,
        offsets,
        source,
        items,
    )
    keys = pa.concat_arrays([found.keys, _NAMES]).take(pa.array(source[: offsets[-1]]))
    return pa.MapArray.from_arrays(
        pa.array(offsets), keys, pa.array(items[: offsets[-1]]), type=numbers.type
    )


@compiled
def _merge(
    count: NDArray[np.int64],
    name: NDArray[np.int32],
    own: NDArray[np.float64],
    asked: NDArray[np.bool_],
    values: NDArray[np.float64],
    offsets: NDArray[np.int32],
    source: NDArray[np.int64],
    items: NDArray[np.float64],
) -> None:
    """Lay entries out: ``source`` says which key, those of the names behind all the events' own."""
    entry, to = 0, 0
    for event in range(len(count)):
        for _ in range(count[event]):
            if name[entry] < 0 or not asked[event, name[entry]]:
                source[to], items[to] = entry, own[entry]
                to += 1
            entry += 1
        for column in range(values.shape[1]):
            if asked[event, column] and not np.isnan(values[event, column]):
                source[to], items[to] = len(name) + column, values[event, column]
                to += 1
        offsets[event + 1] = to
