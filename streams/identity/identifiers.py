r"""Identifiers to leads: whose event is it, which identifiers join, which leads share an event?

The key of an identifier is the hash of ``type\0value``, normalised. Its row is written once, when
it is first seen; the leads of an event's identifiers are compared in one compiled pass over the
events in order. The result does not depend on the order of identifiers within an event.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.compiled import compiled
from streams.engine.hashing import hash128, hash128_at
from streams.engine.state import State
from streams.engine.table import Table
from streams.identity.flat import Entries
from streams.identity.normalise import emails, none, picked, trimmed

PRIORITY = ("user_id", "crm_id", "email", "anonymous_id")
"""Strongest first; other types follow in the order of their names."""

IDENTIFIER = np.dtype([("lead_hi", "u8"), ("lead_lo", "u8"), ("first_seen", "i8")])
"""Lead of an identifier (0, 0: not yet known), and occurred_at of its first event in µs."""
LINK = np.dtype([("event_at", "i8")])
"""A pair of leads that was announced: occurred_at of the event in µs."""


@dataclass(frozen=True, slots=True)
class Identified:
    r"""Normalised identifiers of n events with m entries.

    Attributes:
        count: ``[n]`` entries of each event.
        keys: ``[m, 2]`` hashes of ``type\0value``, each event's strongest entry first.
        email: string [n], null where an event has none.
    """

    count: NDArray[np.int64]
    keys: NDArray[np.uint64]
    email: pa.Array

    def of(self, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """``count`` and ``keys`` of the chosen events; ``chosen`` is ``[n]``."""
        if chosen.all():
            return self.count, self.keys
        return self.count[chosen], self.keys[np.repeat(chosen, self.count)]


@dataclass(frozen=True, slots=True)
class Leads:
    """Whose events they are.

    Attributes:
        lead: ``[n, 2]`` lead of each event.
        link_event: ``[k]`` events that showed a pair of leads to share an event, ascending.
        link_other: ``[k, 2]`` the lead of the pair that is not the event's.
        new_leads: How many leads were made.
    """

    lead: NDArray[np.uint64]
    link_event: NDArray[np.int64]
    link_other: NDArray[np.uint64]
    new_leads: int


def new_tables(workspace: str) -> list[Table]:
    """Empty tables of identifiers and of announced pairs."""
    return [Table(f"identifiers/{workspace}", IDENTIFIER), Table(f"links/{workspace}", LINK)]


def normalise(found: Entries) -> Identified:
    """Bring types and values to one spelling and sort each event's entries by strength."""
    n = len(found.count)
    if not len(found.keys):
        return Identified(found.count, np.empty((0, 2), np.uint64), none(n))
    encoded = found.keys.dictionary_encode()
    names = [name.strip().lower() for name in encoded.dictionary.to_pylist()]
    code = encoded.indices.to_numpy()
    ranks = {name: rank for rank, name in enumerate(sorted(set(names), key=_strength))}
    rank = np.array([ranks[name] for name in names], np.int64)[code]
    values, email = trimmed(found.items), none(n)
    is_email = np.array([name == "email" for name in names])[code]
    if is_email.any():
        addresses = emails(values.filter(pa.array(is_email)))
        values = pc.replace_with_mask(values, pa.array(is_email), addresses)
        email = picked(addresses, found.event[is_email], n)
    types = pa.array(names, pa.string()).take(encoded.indices)
    keys = hash128(pc.binary_join_element_wise(types, values, "\0"))
    order = np.arange(len(keys))
    if found.count.max() > 1:
        _sort_entries(_starts(found.count), rank, keys, order)
        keys = keys[order]
    return Identified(found.count, keys, email)


def resolve(
    state: State,
    workspace: str,
    count: NDArray[np.int64],
    keys: NDArray[np.uint64],
    event_ids: NDArray[np.uint64],
    occurred: NDArray[np.int64],
) -> Leads:
    """Find or make the leads of n events of one workspace, in order, and remember identifiers.

    Args:
        state: Holds the workspace's tables.
        workspace: Its name.
        count: ``[n]`` identifiers of each event, at least 1.
        keys: ``[m, 2]`` as :func:`normalise` gives them.
        event_ids: ``[n, 2]`` hashes of event ids.
        occurred: ``[n]`` µs.
    """
    table = state.table(f"identifiers/{workspace}")
    starts = _starts(count)
    rows, _ = table.find_or_insert(keys)
    lead = _new_ids(workspace, keys[starts[:-1]], event_ids)
    event, other = np.empty(len(keys), np.int64), np.empty((len(keys), 2), np.uint64)
    links, made = _assign(
        starts,
        rows,
        occurred,
        table.rows["lead_hi"],
        table.rows["lead_lo"],
        table.rows["first_seen"],
        lead,
        event,
        other,
    )
    event, other = event[:links], other[:links]
    if links:
        table = state.table(f"links/{workspace}")
        first = _first_of_pair(table, lead[event], other, occurred[event])
        event, other = event[first], other[first]
    return Leads(lead, event, other, int(made))


def _strength(name: str) -> tuple[int, str]:
    return (PRIORITY.index(name) if name in PRIORITY else len(PRIORITY), name)


def _starts(count: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(count, dtype=np.int64)])


def _new_ids(
    workspace: str, first: NDArray[np.uint64], event_ids: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Ids for leads that these events may make: hashes of workspace, first identifier, event id."""
    own = hash128(pa.array([workspace]))
    words = np.hstack([np.repeat(own, len(first), axis=0), first, event_ids])
    return hash_words(words)


def hash_words(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Keys ``[n, 2]`` of rows of words ``[n, w]``."""
    n, width = words.shape
    buffer = np.frombuffer(words.astype("<u8").tobytes(), np.uint8)
    start = np.arange(n, dtype=np.int64) * (8 * width)
    return hash128_at(buffer, start, np.full(n, 8 * width, np.int64))


def _first_of_pair(
    table: Table, a: NDArray[np.uint64], b: NDArray[np.uint64], occurred: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which pairs of leads are new, whichever of the two comes first."""
    swap = (a[:, 0] > b[:, 0]) | ((a[:, 0] == b[:, 0]) & (a[:, 1] > b[:, 1]))
    low, high = np.where(swap[:, None], b, a), np.where(swap[:, None], a, b)
    rows, is_new = table.find_or_insert(hash_words(np.hstack([low, high])))
    table.rows["event_at"][rows[is_new]] = occurred[is_new]
    return is_new


@compiled
def _sort_entries(
    starts: NDArray[np.int64],
    rank: NDArray[np.int64],
    keys: NDArray[np.uint64],
    order: NDArray[np.int64],
) -> None:
    """Insertion sort of each event's entries by rank, then by key; there are at most 32."""
    for event in range(len(starts) - 1):
        for at in range(starts[event] + 1, starts[event + 1]):
            entry = order[at]
            to = at
            while to > starts[event]:
                other = order[to - 1]
                if rank[other] < rank[entry] or (
                    rank[other] == rank[entry]
                    and (
                        keys[other, 0] < keys[entry, 0]
                        or (keys[other, 0] == keys[entry, 0] and keys[other, 1] <= keys[entry, 1])
                    )
                ):
                    break
                order[to] = other
                to -= 1
            order[to] = entry


@compiled
def _assign(
    starts: NDArray[np.int64],
    rows: NDArray[np.int64],
    occurred: NDArray[np.int64],
    lead_hi: NDArray[np.uint64],
    lead_lo: NDArray[np.uint64],
    first_seen: NDArray[np.int64],
    lead: NDArray[np.uint64],
    link_event: NDArray[np.int64],
    link_other: NDArray[np.uint64],
) -> tuple[int, int]:
    """Give each event its lead; ``lead`` comes in as the id that a new lead would get.

    Returns the number of links written (pairs may repeat) and of leads made.
    """
    links, made = 0, 0
    for event in range(len(starts) - 1):
        known = False
        for at in range(starts[event], starts[event + 1]):
            row = rows[at]
            if lead_hi[row] != 0 or lead_lo[row] != 0:
                lead[event, 0], lead[event, 1] = lead_hi[row], lead_lo[row]
                known = True
                break
        if not known:
            made += 1
        hi, lo = lead[event, 0], lead[event, 1]
        for at in range(starts[event], starts[event + 1]):
            row = rows[at]
            if lead_hi[row] == 0 and lead_lo[row] == 0:
                lead_hi[row], lead_lo[row] = hi, lo
                first_seen[row] = occurred[event]
            elif lead_hi[row] != hi or lead_lo[row] != lo:
                link_event[links] = event
                link_other[links, 0], link_other[links, 1] = lead_hi[row], lead_lo[row]
                links += 1
    return links, made
