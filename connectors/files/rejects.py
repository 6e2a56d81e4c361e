"""The report of rejected rows: a JSON line each in a file, and a summary by reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from connectors.files.errors import Rejected


@dataclass(slots=True)
class Reason:
    """Rows rejected at one place of the mapping, with the first of them as an example."""

    place: str
    rows: int
    first_row: int
    example: str


class RejectReport:
    """Writes `{"file", "row", "problems"}` a line; the file appears with the first rejected row.

    Use as a context manager. A file of an earlier run is replaced, since an import that resumes
    reads its rows again from the start.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._reasons: dict[str, Reason] = {}
        self._file: BinaryIO | None = None

    def __enter__(self) -> RejectReport:
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, rejected: Rejected) -> None:
        """Takes one rejected row."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("wb")
        self._file.write(msgspec.json.encode(rejected) + b"\n")
        self.rows += 1
        for problem in rejected.problems:
            place = problem.partition(": ")[0]
            reason = self._reasons.setdefault(place, Reason(place, 0, rejected.row, problem))
            reason.rows += 1

    @property
    def reasons(self) -> list[Reason]:
        """What was wrong, the most frequent first; a row with two problems counts in both."""
        return sorted(self._reasons.values(), key=lambda reason: -reason.rows)
