"""Event time of a workspace from which nothing comes: it runs on with the wall clock.

Otherwise the last epoch of a quiet evening would stay open, and deadlines in it would pass unseen.
Time runs from where the watermark stood, not from today's date, so that an import of former years
that stops for a while is not overtaken by the present. Nothing of this is stored: a worker that
starts counts anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from streams.engine.state import Blobs, State
from streams.identity.watermark import Clock, stored

IDLE_AFTER_US = 60_000_000
"""How long a workspace may say nothing before the clock goes on without it."""


@dataclass(slots=True)
class _Rest:
    """Where a watermark came to rest, and when by the wall clock."""

    watermark: int
    since_us: int
    newest: int


@dataclass(slots=True)
class IdleClock:
    """Watches the watermarks of one partition's workspaces."""

    _rests: dict[str, _Rest] = field(default_factory=dict)

    def due(self, blobs: Blobs, workspace: str, clock: Clock, now_us: int) -> int | None:
        """Time to which an idle workspace's watermark is to move; None if no epoch ended."""
        watermark = stored(blobs, workspace)
        if watermark is None:
            return None
        rest = self._rests.get(workspace)
        if rest is None or rest.newest != watermark or now_us < rest.since_us:
            self._rests[workspace] = _Rest(watermark, now_us, watermark)
            return None
        passed = now_us - rest.since_us
        until = (rest.watermark + passed) // clock.epoch_us * clock.epoch_us
        if passed < IDLE_AFTER_US or until <= watermark:
            return None
        rest.newest = until
        return until


class IdentityState(State):
    """Tables and watermarks of one partition, and how long its workspaces have been idle."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = IdleClock()
