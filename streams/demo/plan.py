"""What a demo is to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streams.settings import Settings

DEFAULT_STREAM_S = 75.0
"""How long the default rate takes to stream everything in."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    folder: of logs and notes; seconds: stream for at most so long; rate: events/s of both
    workspaces together; data: folder of whole data sets; limit: most events of a workspace.
    """

    settings: Settings
    folder: Path
    seconds: float | None = None
    rate: float | None = None
    data: Path | None = None
    limit: int | None = None
