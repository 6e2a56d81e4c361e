"""How far event time has come: watermark, epochs, lateness, and when a tick is due.

An event moves the watermark to min(occurred_at, received_at + 5 min) − allowed_lateness, if that is
later. The epoch is the one in which the watermark lies: whole epochs since 1970-01-01 UTC.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.engine.state import Blobs
from streams.identity import limits

_TIME = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class Clock:
    """Settings of one workspace's event time, in µs."""

    allowed_lateness_us: int
    epoch_us: int

    def end(self, epoch: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first µs behind an epoch."""
        return (epoch + 1) * self.epoch_us


@dataclass(frozen=True, slots=True)
class Reading:
    """Event time as of each of n events.

    Attributes:
        watermark: ``[n]`` µs, the event counted in.
        epoch: ``[n]`` epoch of the watermark.
        late_us: ``[n]`` how far occurred_at lies before the watermark that held before the event;
            0 if it does not.
        ticks: ``[t]`` events before which a tick is due: it closes the epoch before theirs.
    """

    watermark: NDArray[np.int64]
    epoch: NDArray[np.int64]
    late_us: NDArray[np.int64]
    ticks: NDArray[np.int64]


def blob_name(workspace: str) -> str:
    """Name of the blob that holds the watermark."""
    return f"clock/{workspace}"


def stored(blobs: Blobs, workspace: str) -> int | None:
    """Watermark of a workspace in µs; None before its first event."""
    value = blobs.get(blob_name(workspace))
    return None if value is None else int(_TIME.unpack(value)[0])


def advance(
    blobs: Blobs,
    workspace: str,
    clock: Clock,
    occurred: NDArray[np.int64],
    received: NDArray[np.int64],
) -> Reading:
    """Move the watermark by n >= 1 events in the order of arrival.

    Args:
        blobs: Hold the workspace's watermark.
        workspace: Its name.
        clock: Its settings.
        occurred: ``[n]`` µs.
        received: ``[n]`` µs.
    """
    bound = np.minimum(occurred, received + limits.WATERMARK_AHEAD_US) - clock.allowed_lateness_us
    return _move(blobs, workspace, clock, bound, occurred)


def advance_to(blobs: Blobs, workspace: str, clock: Clock, until_us: int) -> Reading:
    """Move the watermark to a time, as one event at it would that nothing holds back."""
    bound = np.array([until_us], np.int64)
    return _move(blobs, workspace, clock, bound, bound)


def _move(
    blobs: Blobs,
    workspace: str,
    clock: Clock,
    bound: NDArray[np.int64],
    occurred: NDArray[np.int64],
) -> Reading:
    before = stored(blobs, workspace)
    first = int(bound[0]) if before is None else before
    all_of_them = np.maximum.accumulate(np.concatenate([[first], bound]))
    watermark, former = all_of_them[1:], all_of_them[:-1]
    blobs.put(blob_name(workspace), _TIME.pack(int(watermark[-1])))
    epochs = all_of_them // clock.epoch_us
    entered = epochs[1:] > epochs[:-1]
    late_us = np.maximum(former - occurred, 0)
    if before is None:
        entered[0], late_us[0] = True, 0  # every epoch with events has a tick before it
    return Reading(watermark, epochs[1:], late_us, np.flatnonzero(entered))
