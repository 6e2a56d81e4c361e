"""Forgets leads of which nothing was heard for ``state_ttl`` of event time, and settled labels.

Once a day of the watermark, at a tick: so it falls between the same events of a lead wherever
batches were cut, and with whatever partitions. A lead whose outcome is awaited stays. One that
comes back later is a new lead to its features and targets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.features.state import DAY_US
from streams.engine.state import State
from streams.engine.table import Table
from streams.labels.kept import MAX_SLOTS, KeptRows, slot_keys


def a_new_day(state: State, workspace: str, watermark: int) -> bool:
    """Whether the watermark (µs) entered a new day since the last call."""
    day, name = watermark // DAY_US, f"evicted/{workspace}"
    before = state.blobs.get(name)
    if before is not None and int(before) >= day:
        return False
    state.blobs.put(name, str(day).encode())
    return True


def evict(leads: Table, resolved: KeptRows, before: int) -> None:
    """Delete leads last seen before a time (µs), with their resolved rows."""
    live = leads.live_rows()
    idle = live[leads.rows["last_seen"][live] < before]
    idle = idle[~leads.rows["pending_slots"][idle].any(axis=1)]
    keys, bits = leads.keys[idle], leads.rows["resolved_slots"][idle]
    for target in range(bits.shape[1]):
        shifted = bits[:, target, None] >> np.arange(2 * MAX_SLOTS, dtype=np.uint32)
        lead, slot = np.nonzero(shifted & np.uint32(1))
        resolved.drop(slot_keys(keys[lead], target, slot))
    leads.delete(keys)


def forget(leads: Table, resolved: KeptRows, deadlines: NDArray[np.int64]) -> None:
    """Drop resolved rows whose deadline lies before that of their target in ``deadlines`` (µs)."""
    keys, rows = resolved.older(deadlines)
    at = leads.find(np.ascontiguousarray(rows["lead"]))
    bit = np.uint32(1) << rows["place"].astype(np.uint32)
    np.bitwise_and.at(leads.rows["resolved_slots"], (at, rows["target"]), ~bit)
    leads.touch(at)
    resolved.drop(keys)
