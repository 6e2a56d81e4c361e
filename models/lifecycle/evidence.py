"""Labels on which two versions are judged: logits, outcomes, times and segments, as they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

ALONE = ""
"""Stands for no champion at all where versions are compared: what else is in the mixture."""

_DTYPES = {
    "ours": np.float64, "theirs": np.float64, "outcomes": np.bool_, "row_times": np.int64,
    "segments": np.int64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judged:
    """Labels in the order in which they are learned, and what each version says of their rows.

    Attributes:
        outcomes: [n].
        row_times: [n] µs.
        logits: by version [n] (`ALONE` for no champion, where it is given), made before any of
            these labels was learned. They may be the champion's own or those of a mixture with
            it, the same for all versions.
        segments: codes [n], negative for none; None for no segments at all.
    """

    outcomes: NDArray[np.bool_]
    row_times: I8
    logits: Mapping[str, F8]
    segments: I8 | None = None

    def __len__(self) -> int:
        return len(self.outcomes)


class Evidence:
    """Labels collected for one comparison of `ours` with `theirs`."""

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return self._count

    def clear(self) -> None:
        """Forget all."""
        self._count = 0
        self._parts: dict[str, list[NDArray[Any]]] = {
            name: [np.empty(0, dtype)] for name, dtype in _DTYPES.items()
        }

    def add(self, judged: Judged, ours: str, theirs: str | None, start: int, stop: int) -> None:
        """Take the labels of a range; KeyError if a version's logits are not given."""
        size = stop - start
        none = np.full(size, np.nan)
        self._parts["ours"].append(judged.logits[ours][start:stop])
        self._parts["theirs"].append(none if theirs is None else judged.logits[theirs][start:stop])
        self._parts["outcomes"].append(judged.outcomes[start:stop])
        self._parts["row_times"].append(judged.row_times[start:stop])
        self._parts["segments"].append(
            np.full(size, -1, np.int64) if judged.segments is None else judged.segments[start:stop]
        )
        self._count += size

    def column(self, name: str) -> NDArray[Any]:
        """One column whole: ours, theirs, outcomes, row_times or segments."""
        whole: NDArray[Any] = np.concatenate(self._parts[name]).astype(_DTYPES[name], copy=False)
        self._parts[name] = [whole]
        return whole

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """For a snapshot."""
        return {f"{prefix}.{name}": self.column(name) for name in _DTYPES}

    def restore(self, arrays: Mapping[str, NDArray[Any]], prefix: str) -> None:
        """The reverse of `arrays`; KeyError if a column is not there."""
        self._parts = {name: [arrays[f"{prefix}.{name}"]] for name in _DTYPES}
        self._count = len(self._parts["outcomes"][0])
