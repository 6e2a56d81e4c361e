"""River's own FTRL logistic regression behind our interface: the reference `ftrl` is held to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from river import linear_model, optim

from models.features.encoding import Encoding
from models.online.ftrl import ALPHA, BETA, L1, L2
from models.online.interface import Terms
from models.online.river_model import RiverModel


class RiverFTRL(RiverModel):
    """River's estimator, additive through its weights over the encoding's inputs."""

    additive = True

    def __init__(
        self,
        encoding: Encoding,
        alpha: float = ALPHA,
        beta: float = BETA,
        l1: float = L1,
        l2: float = L2,
    ) -> None:
        estimator = linear_model.LogisticRegression(
            optimizer=optim.FTRLProximal(alpha=alpha, beta=beta, l1=l1, l2=l2),
            intercept_lr=0.0,
            l2=0.0,
        )
        super().__init__(encoding, estimator, "river_ftrl")

    def predict_logit(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits [n] of feature rows [n, C]."""
        return self.contributions(rows).logits

    def weights(self) -> NDArray[np.float64]:
        """River's weights in the order of the encoding's inputs [D]."""
        known = self.estimator.weights
        return np.array([known.get(name, 0.0) for name in self.encoding.input_names], np.float64)

    def contributions(self, rows: NDArray[np.float32]) -> Terms:
        """Logits of rows [n, C] as bias + one term per column."""
        bias, terms, logits = self.encoding.logits_and_contributions(rows, self.weights())
        return Terms(self.encoding.catalogue.column_names, np.full(len(rows), bias), terms, logits)
