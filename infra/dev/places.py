"""Where the local parts keep their data and what they download."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Folder of downloads, shared by all clones of a user.

    LEADSTREAM_CACHE, else leadstream in XDG_CACHE_HOME or ~/.cache.
    """
    given = os.environ.get("LEADSTREAM_CACHE")
    if given:
        return Path(given).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().resolve() / "leadstream"


def dev_folder() -> Path:
    """Data folder of the local parts: LEADSTREAM_HOME/dev, else .leadstream/dev of the project.

    The project is the clone that this file belongs to; where leadstream is installed as a wheel
    there is none, and the current folder takes its place.
    """
    given = os.environ.get("LEADSTREAM_HOME")
    if given:
        return Path(given).expanduser().resolve() / "dev"
    clone = Path(__file__).resolve().parents[2]
    root = clone if (clone / "pyproject.toml").exists() else Path.cwd()
    return root / ".leadstream" / "dev"
