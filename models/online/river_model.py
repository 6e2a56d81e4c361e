"""Any river classifier as an online model; not additive, so its logit is one term.

It sees a row as `Encoding.as_dict` gives it. Its probability enters as a logit clipped to ±10, and
before the first label as 0. It learns row by row in Python: expect 100 µs a label and more.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import base

from models.features.encoding import Encoding
from models.online.interface import Terms, expect_kind, pack_arrays, unpack_arrays
from models.online.river_snapshot import dump_estimator, load_estimator

LIMIT = 10.0
_PROBABILITY_LIMIT = 1.0 / (1.0 + math.exp(LIMIT))


class RiverModel:
    """A river classifier behind the `OnlineModel` interface."""

    additive = False

    def __init__(self, encoding: Encoding, estimator: base.Classifier, name: str) -> None:
        self.encoding = encoding
        self.estimator: Any = estimator
        self.name = name
        self.names = (name,)
        self.labels_learned = 0

    def predict_logit(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits [n] of feature rows [n, C]."""
        return np.array([self._logit(row) for row in rows], np.float64)

    def _logit(self, row: NDArray[np.float32]) -> float:
        probability = self.estimator.predict_proba_one(self.encoding.as_dict(row)).get(True)
        if probability is None or math.isnan(probability):
            return 0.0 if self.labels_learned == 0 else -LIMIT
        probability = min(max(probability, _PROBABILITY_LIMIT), 1.0 - _PROBABILITY_LIMIT)
        return math.log(probability / (1.0 - probability))

    def learn(self, rows: NDArray[np.float32], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Learn n labels one after the other; gives what was said before each, logits [n]."""
        if len(rows) != len(labels):
            raise ValueError(f"{len(rows)} rows with {len(labels)} labels")
        said = np.empty(len(rows))
        for place, (row, label) in enumerate(zip(rows, labels.tolist(), strict=True)):
            said[place] = self._logit(row)
            self.estimator.learn_one(self.encoding.as_dict(row), bool(label))
            self.labels_learned += 1
        return said

    def use(self, encoding: Encoding) -> None:
        """Take other centers and scales of the same catalogue's inputs from now on."""
        self.encoding = encoding

    def weights(self) -> NDArray[np.float64]:
        """Empty: this model has no weights over the inputs."""
        return np.empty(0)

    def contributions(self, rows: NDArray[np.float32]) -> Terms:
        """The whole logit as one term under the model's name."""
        logits = self.predict_logit(rows)
        return Terms((self.name,), np.zeros(len(rows)), logits.reshape(-1, 1).copy(), logits)

    def parts(self, rows: NDArray[np.float32]) -> tuple[float, NDArray[np.float64]]:
        """Bias and the one term [n, 1] of rows [n, C], as a member of a mixture gives them."""
        return 0.0, self.predict_logit(rows).reshape(-1, 1)

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues as if never interrupted."""
        meta = {
            "kind": f"river/{self.name}",
            "catalogue": self.encoding.catalogue.hash,
            "labels_learned": self.labels_learned,
            "estimator": dump_estimator(self.estimator),
        }
        return pack_arrays(meta, {})

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state.

        Raises:
            ValueError: not a snapshot of this estimator over this catalogue.
        """
        meta, _ = unpack_arrays(data)
        expect_kind(meta, f"river/{self.name}", self.encoding.catalogue.hash)
        estimator = load_estimator(meta["estimator"])
        if type(estimator) is not type(self.estimator):
            raise ValueError(f"the snapshot holds a {type(estimator).__name__}")
        self.estimator = estimator
        self.labels_learned = int(meta["labels_learned"])

    def warm(self) -> None:
        """Compile (or load from the cache) before being ready."""
        self.encoding.warm()


def river_classifier(path: str, parameters: Mapping[str, Any]) -> base.Classifier:
    """Make `river.<path>`, e.g. `naive_bayes.GaussianNB`; a seed not given is 0.

    Raises:
        ValueError: no such classifier, or it does not take these parameters.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(f"river.{module}"), name)
    except (ImportError, AttributeError, ValueError):
        raise ValueError(
            f"river has no {path!r}. Fix: use the path in river's API, "
            "e.g. tree.HoeffdingTreeClassifier, or ftrl"
        ) from None
    if not (inspect.isclass(found) and issubclass(found, base.Classifier)):
        raise ValueError(f"river's {path} is not a classifier. Fix: choose a classifier")
    arguments = dict(parameters)
    if "seed" in inspect.signature(found).parameters:
        arguments.setdefault("seed", 0)
    try:
        return found(**arguments)
    except TypeError as error:
        raise ValueError(f"river's {path}: {error}. Fix: correct online.parameters") from error
