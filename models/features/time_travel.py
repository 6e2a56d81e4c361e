"""Searches the events of leads for fields that know what came later than they say.

`late`: told only by events of the outcome or after it, so never known when a row is taken.
`turns`: repeated unchanged before the outcome and changed with it.
`decided`: known at the first event of leads that were decided later, and of no others: written
    into the past, for nobody could know then that the lead would be decided.
`outcome_time`: a time that is the outcome's own, told before it.
`future`: times after their event; fine only for plans that were known then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.features.audit import MIN_LEADS, Finding

DAY_US = 86_400_000_000
FEW = 0.01
HALF = 0.5
_NEVER = np.iinfo(np.int64).max

I8 = NDArray[np.int64]
F8 = NDArray[np.float64]
B1 = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Field:
    """What the events of all leads told of one field.

    event: numbers of the events that told it, ascending [m]; values: float [m], of texts the
    number of the text (`words`); moments: the values as times, µs UTC [m], None for others.
    """

    name: str
    event: I8
    values: F8
    words: tuple[str, ...] = ()
    moments: I8 | None = None


@dataclass(frozen=True)
class Histories:
    """Events of all leads in order of arrival.

    lead: number of each event's lead, 0 and up [E]; occurred_at: µs UTC [E]; sign: 1 for a
    positive outcome of the target, -1 for a negative one, 0 for any other event [E].
    """

    lead: I8
    occurred_at: I8
    sign: NDArray[np.int8]

    @cached_property
    def leads(self) -> int:
        """How many leads there are."""
        return int(self.lead.max(initial=-1)) + 1

    @cached_property
    def first(self) -> I8:
        """Number of each lead's first event."""
        return _first_of(self.lead, np.arange(len(self.lead)), self.leads)

    @cached_property
    def outcome(self) -> I8:
        """Number of each lead's first outcome event, or a number past all events."""
        at = np.flatnonzero(self.sign)
        return _first_of(self.lead[at], at, self.leads)

    @cached_property
    def decided(self) -> B1:
        """Whether each lead has an outcome."""
        return self.outcome < _NEVER

    def as_of(self, field: Field, events: I8) -> I8:
        """Place in `field` of what each event's lead had told by then, -1 for nothing."""
        order = np.argsort(self.lead, kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        told = np.full(len(order), -1, np.int64)
        told[place[field.event]] = np.arange(len(field.event))
        newest = np.maximum.accumulate(np.where(told >= 0, np.arange(len(told)), -1))
        found = newest[place[events]]
        mine = (found >= 0) & (self.lead[order[np.maximum(found, 0)]] == self.lead[events])
        return np.where(mine, told[np.maximum(found, 0)], -1)

    def findings(self, field: Field) -> Iterator[Finding]:
        """What stands against one field."""
        lead = self.lead[field.event]
        before = field.event < self.outcome[lead]
        for finding in (
            self._late(field, lead, before),
            self._turns(field, lead, before),
            self._decided(field, lead),
            self._moments(field, lead, before),
        ):
            if finding is not None:
                yield finding

    def _late(self, field: Field, lead: I8, before: B1) -> Finding | None:
        late = len(np.unique(lead[~before]))
        if late < MIN_LEADS or len(np.unique(lead[before])) > FEW * late:
            return None
        says = f"only events of the outcome or after it tell it ({late:,} leads)"
        return Finding(field.name, "leak", "late", says)

    def _turns(self, field: Field, lead: I8, before: B1) -> Finding | None:
        order = np.argsort(lead, kind="stable")
        value, mine, early = field.values[order], lead[order], before[order]
        again = mine[1:] == mine[:-1]
        changed = again & (value[1:] != value[:-1])
        waiting = again & early[1:]
        crossing = again & early[:-1] & ~early[1:]
        if min(waiting.sum(), crossing.sum()) < MIN_LEADS:
            return None
        if (changed & waiting).sum() > FEW * waiting.sum():
            return None
        share = (changed & crossing).sum() / crossing.sum()
        if share < HALF:
            return None
        says = (
            f"told again {waiting.sum():,} times before the outcome it stays the same, with the "
            f"outcome it changes for {share:.0%} of {crossing.sum():,} leads"
        )
        return Finding(field.name, "suspect", "turns", says)

    def _decided(self, field: Field, lead: I8) -> Finding | None:
        alone = self.first == self.outcome  # nothing is known before the outcome
        known = np.zeros(self.leads, np.bool_)
        known[lead[field.event == self.first[lead]]] = True
        decided = self.decided & ~alone
        begun = self.occurred_at[self.first]
        if decided.sum() < MIN_LEADS:
            return None
        low, high = np.quantile(begun[decided], [0.05, 0.95], method="nearest")
        alike = (begun >= low) & (begun <= high)
        yes, no = known[decided & alike], known[~self.decided & alike]
        if min(len(yes), len(no)) < MIN_LEADS or yes.mean() < HALF or no.mean() > FEW:
            return None
        says = (
            f"the first event of {yes.mean():.0%} of {len(yes):,} leads that were decided later "
            f"tells it, and of {no.mean():.0%} of {len(no):,} that began then and were not"
        )
        return Finding(field.name, "leak", "decided", says)

    def _moments(self, field: Field, lead: I8, before: B1) -> Finding | None:
        if field.moments is None:
            return None
        ahead = field.moments - self.occurred_at[field.event]
        mine = before & self.decided[lead]
        late = mine & (ahead > DAY_US)
        ended = self.occurred_at[np.where(self.decided, self.outcome, 0)]
        same = late & (np.abs(field.moments - ended[lead]) <= DAY_US)
        told, there = len(np.unique(lead[mine])), len(np.unique(lead[same]))
        if there >= max(MIN_LEADS, HALF * told):
            says = f"before the outcome it names the outcome's day, for {there:,} of {told:,} leads"
            return Finding(field.name, "leak", "outcome_time", says)
        after = len(np.unique(lead[before & (ahead > DAY_US)]))
        if after < max(MIN_LEADS, HALF * len(np.unique(lead))):
            return None
        days = float(np.median(ahead[before & (ahead > DAY_US)])) / DAY_US
        says = (
            f"it names times after its own event for {after:,} leads (half of them {days:.0f} days "
            "or more): fine only for plans that were known then"
        )
        return Finding(field.name, "suspect", "future", says)


def _first_of(lead: I8, events: I8, leads: int) -> I8:
    """The lowest event number of each lead, `_NEVER` without any."""
    first = np.full(leads, _NEVER, np.int64)
    np.minimum.at(first, lead, events)
    return first
