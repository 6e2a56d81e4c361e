"""Forgets leads of which nothing was heard for ``state_ttl`` of event time.

Once a day of the watermark, at a tick: so it falls between the same events of a lead wherever
batches were cut, and with whatever partitions. A lead whose outcome is awaited stays. One that
comes back later is a new lead to its features and targets.
"""

from __future__ import annotations

from models.features.state import DAY_US
from streams.engine.state import State


def evict(state: State, workspace: str, watermark: int, ttl_us: int) -> int:
    """Delete idle leads if the watermark entered a new day; returns how many.

    Args:
        state: Holds the workspace's table of leads.
        watermark: µs of event time; ``ttl_us`` likewise.
    """
    day, name = watermark // DAY_US, f"evicted/{workspace}"
    before = state.blobs.get(name)
    if before is not None and int(before) >= day:
        return 0
    state.blobs.put(name, str(day).encode())
    leads = state.table(f"leads/{workspace}")
    live = leads.live_rows()
    idle = live[leads.rows["last_seen"][live] < watermark - ttl_us]
    idle = idle[~leads.rows["pending_slots"][idle].any(axis=1)]
    leads.delete(leads.keys[idle])
    return len(idle)
