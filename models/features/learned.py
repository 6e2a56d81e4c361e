"""What learning adds to feature rows: target rates and the scales of robust columns.

Scoring fills a row's rates from the version of the models that scores it, so a row knows the
labels that had been learned then and no others.
"""

from __future__ import annotations

import sys

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.features.catalogue import FeatureCatalogue
from models.features.encoding import Encoding
from models.features.rates import RateColumns, TargetRates, categories_of
from models.features.scaling import RobustScaler

F4 = NDArray[np.float32]
I8 = NDArray[np.int64]


class LearnedFeatures:
    """Rates and scales of one target, learned from its labels in their order.

    Args:
        encoding: Of the workspace, as declared.

    Attributes:
        encoding: With the scales learned so far.
    """

    def __init__(self, encoding: Encoding) -> None:
        catalogue: FeatureCatalogue = encoding.catalogue
        self.encoding = encoding
        self._columns = RateColumns(catalogue).rated
        self._rates = {
            a.name: TargetRates(a.categories, a.rate) for _, _, a in self._columns if a.rate
        }
        self._scaler = RobustScaler(catalogue) if encoding.is_robust.any() else None

    @property
    def until_change(self) -> int:
        """After how many further labels the encoding changes."""
        return sys.maxsize if self._scaler is None else self._scaler.until_renewal

    @property
    def rates(self) -> dict[str, list[float]]:
        """Log-odds by attribute: one for each category, and one for rows without."""
        return {
            name: rates.rates(rates.learned_until or 0).tolist()
            for name, rates in self._rates.items()
        }

    @property
    def centers(self) -> list[float]:
        """Center of each column; empty where no column is robust."""
        return [] if self._scaler is None else self._scaler.center.tolist()

    @property
    def scales(self) -> list[float]:
        """Scale of each column; empty where no column is robust."""
        return [] if self._scaler is None else self._scaler.scale.tolist()

    def learn(self, rows: F4, outcome: NDArray[np.bool_], resolved_at: I8) -> None:
        """Learn labels: feature rows [n, C], outcomes [n], times in µs [n].

        A time that goes back, as of a label that another partition told late, counts as the newest.
        """
        for category, _, attribute in self._columns:
            rates = self._rates[attribute.name]
            times = np.maximum.accumulate(resolved_at)
            if rates.learned_until is not None:
                times = np.maximum(times, rates.learned_until)
            rates.learn(categories_of(rows[:, category]), outcome, times)
        if self._scaler is not None:
            changes = len(rows) >= self._scaler.until_renewal
            self._scaler.add(rows)
            if changes:
                self._scale()

    def _scale(self) -> None:
        if self._scaler is not None:
            self.encoding = self.encoding.scaled(self._scaler.center, self._scaler.scale)

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues bit for bit."""
        rates = {name: rates.snapshot() for name, rates in self._rates.items()}
        scaler = self._scaler.snapshot() if self._scaler is not None else None
        return msgspec.msgpack.encode([rates, scaler])

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state; ValueError if it is of rates or columns declared otherwise."""
        rates, scaler = msgspec.msgpack.decode(data, type=tuple[dict[str, bytes], bytes | None])
        if rates.keys() != self._rates.keys() or (scaler is None) != (self._scaler is None):
            raise ValueError("a snapshot of other rates or scales: the catalogue has changed")
        for name, state in rates.items():
            self._rates[name].restore(state)
        if self._scaler is not None and scaler is not None:
            self._scaler.restore(scaler)
            self._scale()
