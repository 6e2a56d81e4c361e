"""Calibration and figures by segment: the categories of one column, e.g. by source or country."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.evaluation.metrics import auc, ece, ece_limit, log_loss
from models.features.catalogue import FeatureCatalogue
from models.online.interface import pack_arrays, unpack_arrays

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
I4 = NDArray[np.int32]

WINDOW = 5_000


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment's labels: mean probability said, share that came, and figures.

    ece_limit: as in `metrics.ece_limit`.
    """

    name: str
    labels: int
    said: float
    came: float
    log_loss: float
    auc: float | None
    ece: float
    ece_limit: float

    @property
    def calibrated(self) -> bool:
        """Whether the calibration error is within its limit."""
        return self.ece <= self.ece_limit

    @property
    def surprise(self) -> float:
        """How far what came lies above what was said, in standard errors of the share."""
        variance = max(self.said * (1 - self.said), 1e-12) / self.labels
        return float((self.came - self.said) / variance**0.5)


def segment_names(catalogue: FeatureCatalogue, column: str) -> tuple[str, ...]:
    """Names of the segments of a categorical column: its values, other values, not known.

    Raises:
        ValueError: no such categorical attribute.
    """
    for attribute in catalogue.attributes:
        if attribute.name == column and attribute.type == "categorical":
            return (*attribute.values, "another value", "not known")
    known = ", ".join(a.name for a in catalogue.attributes if a.type == "categorical")
    raise ValueError(f"{column!r} is no categorical attribute. Fix: one of {known or 'none'}")


def segment_codes(catalogue: FeatureCatalogue, column: str, rows: F4) -> I4:
    """Segment of feature rows [n, C] as positions [n] in `segment_names`."""
    last = len(segment_names(catalogue, column)) - 1
    categories = rows[:, catalogue.column_names.index(column)]
    unknown = np.isnan(categories) | (categories < 0)
    codes = np.minimum(np.where(unknown, 0, categories), last - 1)
    return np.where(unknown, last, codes).astype(np.int32)


def segment_figures(
    outcomes: NDArray[np.bool_], probabilities: F8, codes: I4, names: Sequence[str]
) -> tuple[Segment, ...]:
    """Figures of the segments that have labels, those with most first.

    Args:
        outcomes: [n].
        probabilities: as published [n].
        codes: position in `names` [n].
        names: of the segments.
    """
    found = []
    for code in np.unique(codes):
        mine = codes == code
        came, said = outcomes[mine], probabilities[mine]
        gap, limit = ece(came, said) or 0.0, ece_limit(said) or 0.0
        found.append(
            Segment(
                names[int(code)], len(came), float(said.mean()), float(came.mean()),
                log_loss(came, said) or 0.0, auc(came, said), gap, limit,
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda segment: (-segment.labels, segment.name)))


def worst_segment(segments: Sequence[Segment], least: int = 100) -> Segment | None:
    """The segment of at least that many labels that is furthest over (or nearest to) its limit."""
    enough = [segment for segment in segments if segment.labels >= least]
    return max(enough, key=lambda s: s.ece - s.ece_limit, default=None)


class LiveSegments:
    """A ring of the last `window` labels with their segments."""

    def __init__(self, names: Sequence[str], window: int = WINDOW) -> None:
        self._names = tuple(names)
        self.labels = 0  # ever
        self._logits = np.zeros(window)
        self._outcomes = np.zeros(window, np.bool_)
        self._codes = np.zeros(window, np.int32)

    def add(self, logits: F8, outcomes: NDArray[np.bool_], codes: I4) -> None:
        """Take n labels: published logits, outcomes, positions of their segments."""
        window = len(self._logits)
        last = slice(max(0, len(logits) - window), None)
        places = (self.labels + np.arange(len(logits)))[last] % window
        self._logits[places] = logits[last]
        self._outcomes[places] = outcomes[last]
        self._codes[places] = codes[last]
        self.labels += len(logits)

    def figures(self) -> tuple[Segment, ...]:
        """Figures of each segment over the window."""
        count = min(self.labels, len(self._logits))
        said = sigmoid(self._logits[:count])
        return segment_figures(self._outcomes[:count], said, self._codes[:count], self._names)

    def snapshot(self) -> bytes:
        """The whole state."""
        meta = {"kind": "live_segments", "labels": self.labels, "names": list(self._names)}
        arrays = {"logits": self._logits, "outcomes": self._outcomes, "codes": self._codes}
        return pack_arrays(meta, arrays)

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state and window; ValueError if it is of other segments."""
        meta, arrays = unpack_arrays(data)
        if meta.get("kind") != "live_segments":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'live_segments'")
        if tuple(meta["names"]) != self._names:
            raise ValueError("the snapshot has other segments. Fix: start their figures anew")
        self.labels = int(meta["labels"])
        self._logits, self._outcomes = np.array(arrays["logits"]), np.array(arrays["outcomes"])
        self._codes = np.array(arrays["codes"])
