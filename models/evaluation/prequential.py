"""Live quality: figures over the last labels, each judged by the logit published for its row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.evaluation.metrics import Figures, figures
from models.online.interface import pack_arrays, unpack_arrays

WINDOW = 5_000


class LiveMetrics:
    """A ring of the last `window` labels of one target: logit, outcome, label delay."""

    def __init__(self, window: int = WINDOW) -> None:
        if window < 1:
            raise ValueError(f"a window of {window} labels holds nothing")
        self.labels = 0  # ever
        self._logits = np.zeros(window)
        self._outcomes = np.zeros(window, np.bool_)
        self._delays = np.zeros(window)

    @property
    def window_labels(self) -> int:
        """How many labels the figures stand on."""
        return min(self.labels, len(self._logits))

    def add(
        self,
        logits: NDArray[np.float64],
        outcomes: NDArray[np.bool_],
        delays_s: NDArray[np.float64],
    ) -> None:
        """Take n labels: published logits, outcomes, and seconds from row to outcome."""
        window = len(self._logits)
        places = (self.labels + np.arange(len(logits))) % window
        # assignment to a repeated place keeps the last value only in practice: cut beforehand
        last = slice(max(0, len(logits) - window), None)
        self._logits[places[last]] = logits[last]
        self._outcomes[places[last]] = outcomes[last]
        self._delays[places[last]] = delays_s[last]
        self.labels += len(logits)

    def figures(self) -> Figures:
        """Figures over the window."""
        count = self.window_labels
        return figures(self._outcomes[:count], sigmoid(self._logits[:count]))

    def delay_s(self) -> tuple[float, float] | None:
        """Median and 95th percentile of the label delay over the window; None without labels."""
        if not self.labels:
            return None
        p50, p95 = np.quantile(self._delays[: self.window_labels], [0.5, 0.95])
        return float(p50), float(p95)

    def base_rate(self) -> float | None:
        """Share of positives in the window; None without labels."""
        return float(self._outcomes[: self.window_labels].mean()) if self.labels else None

    def snapshot(self) -> bytes:
        """The whole state."""
        arrays = {"logits": self._logits, "outcomes": self._outcomes, "delays": self._delays}
        return pack_arrays({"kind": "live_metrics", "labels": self.labels}, arrays)

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state and window; ValueError if it is something else."""
        meta, arrays = unpack_arrays(data)
        if meta.get("kind") != "live_metrics":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'live_metrics'")
        self._logits = np.array(arrays["logits"])
        self._outcomes = np.array(arrays["outcomes"])
        self._delays = np.array(arrays["delays"])
        self.labels = int(meta["labels"])
