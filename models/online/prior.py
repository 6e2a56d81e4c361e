"""A new workspace starts from what others learned, and leaves it as its own labels come.

The pooled model is one weight for each input, by name, the mean of other workspaces' weights by
their labels. An online model starts there instead of at 0: FTRL's proximal term, AdaGrad's first
steps and the filter's covariance are those of a model without labels, so own labels count from the
first one on as much as they would in an empty model, and the pooled weights fade as they come. An
input that no other workspace has starts at 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.features.encoding import Encoding


class Prior(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pooled weights by input name; `labels` that they were learned from; `sources` for people."""

    weights: dict[str, float]
    labels: int
    sources: tuple[str, ...] = ()

    def of(self, encoding: Encoding) -> NDArray[np.float64]:
        """Weights [D] of an encoding's inputs, 0 where nothing is known."""
        return np.array([self.weights.get(n, 0.0) for n in encoding.input_names], np.float64)


def pooled(parts: Sequence[tuple[str, Mapping[str, float], int]]) -> Prior:
    """The mean of several models, each as (name, weights by input, labels learned).

    Raises:
        ValueError: none of them has learned a label.
    """
    known = [(name, weights, labels) for name, weights, labels in parts if labels > 0]
    if not known:
        raise ValueError("none of the workspaces has learned a label yet. Fix: wait for labels")
    total: dict[str, float] = {}
    count: dict[str, int] = {}
    for _, weights, labels in known:
        for name, weight in weights.items():
            total[name] = total.get(name, 0.0) + labels * weight
            count[name] = count.get(name, 0) + labels
    mean = {name: total[name] / count[name] for name in sorted(total) if total[name]}
    return Prior(mean, sum(labels for *_, labels in known), tuple(name for name, *_ in known))


def load_prior(path: Path) -> Prior:
    """Read a file that `leadstream train prior` wrote.

    Raises:
        ValueError: no such file, or something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Prior)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is no file of `leadstream train prior`: {error}") from error


def save_prior(prior: Prior, path: Path) -> None:
    """Write a prior; the same bytes for the same content."""
    data = msgspec.json.format(msgspec.json.encode(prior, order="sorted"), indent=1)
    path.write_bytes(data + b"\n")
