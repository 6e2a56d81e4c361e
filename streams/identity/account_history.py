"""What the accounts of one workspace did before each event, counted in order of arrival.

An account that no event was about for ``ttl_us`` of event time is forgotten: its next event finds
it new. Which accounts these are changes only where the watermark enters a day, and depends on
watermarks alone; their rows are deleted behind the first batch that reaches the day. So neither the
numbers nor the state depend on where a batch was cut.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled
from streams.engine.state import Blobs, State
from streams.engine.table import Table
from streams.identity.identifiers import hash_words

WIDTH = 5
"""Numbers told of an event: events, leads, days since the last, decayed events, outcomes."""

ACCOUNT = np.dtype(
    [
        ("seen", "<i8"),
        ("born", "<i8"),
        ("last", "<i8"),
        ("decayed", "<f8"),
        ("events", "<i8"),
        ("leads", "<i8"),
        ("outcomes", "<i8"),
    ]
)
"""seen, born: watermark of its latest and of its first event, µs; last: its newest occurred_at, of
which ``decayed`` holds."""
MEMBER = np.dtype([("account_hi", "<u8"), ("account_lo", "<u8"), ("born", "<i8")])
"""A lead of an account, counted since the account's ``born``; written once."""

_DAY_US = 86_400_000_000
_NOBODY: NDArray[np.void] = np.zeros(2, MEMBER)  # two rows: numba types one as contiguous


class AccountHistory:
    """The tables of one workspace.

    Args:
        workspace: Its name.
        ttl_us: Event time after which an idle account is forgotten.
        half_life_us: Of the decayed count.
        leads: Whether different leads are counted, which takes a row a lead and account.
    """

    def __init__(self, workspace: str, ttl_us: int, half_life_us: float, leads: bool) -> None:
        self._name = f"accounts/{workspace}"
        self._members = f"account_leads/{workspace}" if leads else None
        self._ttl_us, self._half_life_us = ttl_us, half_life_us

    def new_tables(self) -> list[Table]:
        """Empty tables of accounts and, where they are counted, of their leads."""
        tables = [Table(self._name, ACCOUNT)]
        if self._members is not None:
            tables.append(Table(self._members, MEMBER))
        return tables

    def count(
        self,
        state: State,
        account: NDArray[np.uint64],
        lead: NDArray[np.uint64],
        occurred: NDArray[np.int64],
        watermark: NDArray[np.int64],
        late: NDArray[np.bool_],
        won: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Tell n >= 1 events what their accounts did before, and count them in.

        Args:
            state: Holds the tables.
            account, lead: ``[n, 2]`` hashes.
            occurred, watermark: ``[n]`` µs; the watermark never falls, the event counted in.
            late: ``[n]`` events that are counted but told nothing: some of what was counted may
                have come after them.
            won: ``[n]`` events that won a deal.

        Returns:
            ``[n, WIDTH]``, NaN where there is nothing to tell.
        """
        accounts = state.table(self._name)
        row, _ = accounts.find_or_insert(account)
        member, members = np.full(len(row), -1, np.int64), _NOBODY
        if self._members is not None:
            table = state.table(self._members)
            member, is_new = table.find_or_insert(hash_words(np.hstack([account, lead])))
            members = table.rows
            members["account_hi"][member[is_new]] = account[is_new, 0]
            members["account_lo"][member[is_new]] = account[is_new, 1]
        first, out = np.zeros(len(row), np.bool_), np.full((len(row), WIDTH), np.nan)
        rows = accounts.rows
        forgotten = _count(
            row,
            member,
            occurred,
            watermark,
            late,
            won,
            self._ttl_us,
            self._half_life_us,
            rows["seen"],
            rows["born"],
            rows["last"],
            rows["decayed"],
            rows["events"],
            rows["leads"],
            rows["outcomes"],
            members["born"],
            first,
            out,
        )
        accounts.touch(row)
        if self._members is not None:
            state.table(self._members).touch(member[first])
        self._evict(state, int(watermark[-1]), forgotten > 0)
        return out

    def _evict(self, state: State, watermark: int, forgotten: bool) -> None:
        """Delete rows of forgotten accounts, once a day of the watermark."""
        day = watermark // _DAY_US
        if not _a_new_day(state.blobs, self._name, day):
            return
        accounts = state.table(self._name)
        live = accounts.live_rows()
        gone = live[accounts.rows["seen"][live] < day * _DAY_US - self._ttl_us]
        accounts.delete(accounts.keys[gone])
        if self._members is None or not (forgotten or len(gone)):
            return
        table = state.table(self._members)
        live = table.live_rows()
        rows = table.rows[live]
        at = accounts.find(np.column_stack([rows["account_hi"], rows["account_lo"]]))
        stale = (at < 0) | (accounts.rows["born"][at] != rows["born"])
        table.delete(table.keys[live[stale]])


def _a_new_day(blobs: Blobs, name: str, day: int) -> bool:
    before = blobs.get(name)
    if before is not None and int(before) >= day:
        return False
    blobs.put(name, str(day).encode())
    return True


@compiled
def _count(
    rows: NDArray[np.int64],
    members: NDArray[np.int64],
    occurred: NDArray[np.int64],
    watermark: NDArray[np.int64],
    late: NDArray[np.bool_],
    won: NDArray[np.bool_],
    ttl_us: int,
    half_life_us: float,
    seen: NDArray[np.int64],
    born: NDArray[np.int64],
    last: NDArray[np.int64],
    decayed: NDArray[np.float64],
    events: NDArray[np.int64],
    leads: NDArray[np.int64],
    outcomes: NDArray[np.int64],
    member_born: NDArray[np.int64],
    first: NDArray[np.bool_],
    out: NDArray[np.float64],
) -> int:
    """Write what is told and who is counted for the first time; returns how many were forgotten."""
    forgotten = 0
    for event in range(len(rows)):
        row, at = rows[event], occurred[event]
        idle = seen[row] < watermark[event] // _DAY_US * _DAY_US - ttl_us
        if events[row] == 0 or idle:
            forgotten += events[row] > 0
            born[row], last[row] = watermark[event], at
            events[row], leads[row], outcomes[row], decayed[row] = 0, 0, 0, 0.0
        since = max(at - last[row], 0)
        kept = decayed[row] * np.exp2(-(since / half_life_us))
        if not late[event]:
            out[event, 0], out[event, 1], out[event, 4] = events[row], leads[row], outcomes[row]
            out[event, 3] = kept
            if events[row] > 0:
                out[event, 2] = since / _DAY_US
        seen[row] = watermark[event]
        last[row] = max(last[row], at)
        decayed[row] = kept + np.exp2(-((last[row] - at) / half_life_us))
        events[row] += 1
        outcomes[row] += won[event]
        member = members[event]
        if member >= 0 and member_born[member] != born[row]:
            member_born[member] = born[row]
            first[event] = True
            leads[row] += 1
    return forgotten
