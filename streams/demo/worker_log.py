"""Follows the log of a worker: where it serves its metrics, and what it complained about last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class WorkerLog:
    """Reads what was appended since it was asked last."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._at = 0
        self._rest = b""
        self._port: int | None = None
        self._complaint = ""

    @property
    def port(self) -> int | None:
        """Port of the newest process's metrics; None before it serves them."""
        self._follow()
        return self._port

    @property
    def complaint(self) -> str:
        """The newest error in words; empty if there was none."""
        self._follow()
        return self._complaint

    def _follow(self) -> None:
        if not self._file.exists():
            return
        with self._file.open("rb") as file:
            file.seek(self._at)
            found = file.read()
        self._at += len(found)
        *lines, self._rest = (self._rest + found).split(b"\n")
        for line in lines:
            self._take(line.decode(errors="replace").strip())

    def _take(self, line: str) -> None:
        if not line:
            return
        told = _parsed(line)
        if told is None:  # the command line's own errors, or a traceback
            self._complaint = line
        elif told.get("event") == "metrics_served":
            self._port, self._complaint = int(told["port"]), ""
        elif told.get("level") == "error":
            self._complaint = str(told.get("reason") or told.get("event"))


def _parsed(line: str) -> dict[str, Any] | None:
    """The fields of a JSON line, which a library's escape sequences may precede."""
    try:
        found: dict[str, Any] = json.loads(line[line.index("{") :])
    except ValueError:
        return None
    return found
