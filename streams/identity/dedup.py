"""Drops events whose id is among the last ``window`` ids of the workspace.

An id's row holds its position: how many ids were accepted before it. So a row is written once, and
the order of arrival survives a restore. Whether an id is a repeat depends on positions alone; rows
that fell out of the window are deleted in steps, at fixed positions, so that state does not depend
on where a batch was cut.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled
from streams.engine.state import Blobs, State
from streams.engine.table import Table

SEEN = np.dtype([("position", "i8")])
_STEPS = 16
"""A window is evicted in so many steps: the table holds at most 1/16 more ids than the window."""
_COUNT = struct.Struct("<q")


def table_name(workspace: str) -> str:
    """Name of the table of ids, and of the blob with the number of ids accepted so far."""
    return f"dedup/{workspace}"


def new_table(workspace: str) -> Table:
    """Return an empty table of ids."""
    return Table(table_name(workspace), SEEN, default=np.array((-1,), SEEN))


def first_seen(
    state: State, workspace: str, ids: NDArray[np.uint64], window: int
) -> NDArray[np.bool_]:
    """Which of these events were not seen before, and remember them.

    Args:
        state: Holds the workspace's table.
        workspace: Its name.
        ids: ``[n, 2]`` hashes of event ids, in the order of arrival.
        window: How many ids are remembered; 0 lets everything pass.

    Returns:
        ``[n]``, false for repeats.
    """
    new = np.ones(len(ids), np.bool_)
    if window == 0 or not len(ids):
        return new
    name = table_name(workspace)
    table = state.table(name)
    count = _count(state.blobs, name)
    rows, _ = table.find_or_insert(ids)
    after = int(_accept(rows, table.rows["position"], count, window, new))
    if after > count:
        table.touch(rows[new])  # an id may come again long after it fell out of the window
        state.blobs.put(name, _COUNT.pack(after))
        _evict(table, count, after, window)
    return new


def _count(blobs: Blobs, name: str) -> int:
    stored = blobs.get(name)
    return 0 if stored is None else int(_COUNT.unpack(stored)[0])


def _evict(table: Table, before: int, after: int, window: int) -> None:
    step = max(1, window // _STEPS)
    if before // step == after // step:
        return
    live = table.live_rows()
    position = table.rows["position"][live]
    out = np.flatnonzero(position < after // step * step - window)
    table.delete(table.keys[live[out[np.argsort(position[out])]]])


@compiled
def _accept(
    rows: NDArray[np.int64],
    position: NDArray[np.int64],
    count: int,
    window: int,
    new: NDArray[np.bool_],
) -> int:
    """Give positions to new ids; returns the number of ids accepted so far."""
    for i in range(len(rows)):
        row = rows[i]
        new[i] = position[row] < 0 or count - position[row] > window
        if new[i]:
            position[row] = count
            count += 1
    return count
