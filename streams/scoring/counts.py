"""What was kept for labels since the last tick: counts of feature rows and of their logits.

They travel with the end of an epoch, so that drift is seen, and figures are estimated, long before
the rows' outcomes are known. Plain sums: they do not depend on where batches were cut.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.evaluation.histograms import BINS, LOGIT_BINS, Counts, FeatureBins
from streams.engine.state import State


class KeptCounts:
    """Counts of one workspace's target in the state of a task.

    Args:
        bins: Of the workspace's catalogue.
        name: ``workspace/target``.
    """

    def __init__(self, bins: FeatureBins, name: str) -> None:
        self._bins, self._blob = bins, f"counts/{name}"
        self._columns = len(bins.categories)

    def add(self, state: State, features: NDArray[np.float32], logits: NDArray[np.float64]) -> None:
        """Count kept rows ``[n, C]`` and their logits ``[n]``."""
        counts = self._read(state)
        counts.add(self._bins, features, logits)
        flat = np.concatenate([counts.features.ravel(), counts.logits])
        state.blobs.put(self._blob, flat.astype("<i4").tobytes())

    def take(self, state: State) -> Counts:
        """The counts so far; they begin anew."""
        counts = self._read(state)
        state.blobs.delete(self._blob)
        return counts

    def _read(self, state: State) -> Counts:
        stored = state.blobs.get(self._blob)
        size = self._columns * BINS
        flat = (
            np.zeros(size + LOGIT_BINS, np.int64)
            if stored is None
            else np.frombuffer(stored, "<i4").astype(np.int64)
        )
        return Counts(flat[:size].reshape(self._columns, BINS).copy(), flat[size:].copy())
