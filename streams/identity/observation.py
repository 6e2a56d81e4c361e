"""What identity noticed in a batch, for metrics; never part of the state or the outputs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Observation:
    """Figures of one workspace in one batch; a batch that is processed again is noticed again.

    Attributes:
        workspace: Its name.
        events: Valid events, repeats and heartbeats counted.
        duplicates: Events dropped since their id was seen before.
        heartbeats: Heartbeats among the events that are no repeats.
        late_s: ``[late]`` seconds that late events lie before the watermark.
        ticks: Epochs closed.
        leads: Leads made.
        links: Pairs of leads linked.
        foreign_keys: Events whose message key is not their workspace. They are processed, but their
            workspace is spread over tasks that know nothing of each other: mend the sender.
        unknown_time_zones: Values of time_zone that the time zone data base does not have.
    """

    workspace: str
    events: int
    duplicates: int
    heartbeats: int = 0
    late_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    ticks: int = 0
    leads: int = 0
    links: int = 0
    foreign_keys: int = 0
    unknown_time_zones: int = 0
