"""One published version of a target's models, ready to score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from models.champion.runtime import ChampionModel
from models.features.encoding import Encoding
from models.features.rates import RateColumns
from models.lifecycle.canary import in_canary
from models.mixture import Mixture, Summed
from models.online.registry import make_river_member
from models.workspaces import OnlineSettings

UNINFORMED = 0.5
"""Base rate before the first label: nothing is known, and the evidence count says so."""

F8 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Weights:
    """One published version of a target's online model, mixture and calibration."""

    version: int
    epoch: int
    labels_learned: int
    weights: F8
    calibration_a: float
    calibration_b: float
    base_rate: float
    quantiles: F8
    champion: str | None
    challenger: str | None
    canary_share: float
    shares: tuple[float, ...]
    interval_logits: F8
    interval_low: F8
    interval_high: F8
    river: bytes | None
    rates: Mapping[str, F8]
    centers: F8
    scales: F8

    @classmethod
    def none(cls, inputs: int) -> Weights:
        """What scores before anything was learned: logit 0."""
        nothing = np.empty(0)
        return cls(
            0, np.iinfo(np.int64).min, 0, np.zeros(inputs), 1.0, 0.0, UNINFORMED, nothing,
            None, None, 0.0, (), nothing, nothing, nothing, None, {}, nothing, nothing,
        )  # fmt: skip

    @classmethod
    def of_record(cls, row: Mapping[str, Any]) -> Weights:
        """Read a ``ModelWeights`` record (times as µs)."""
        return cls(
            int(row["version"]),
            int(row["epoch"]),
            int(row["labels_learned"]),
            np.array(row["weights"], np.float64),
            float(row["calibration_a"]),
            float(row["calibration_b"]),
            float(row["base_rate"]),
            np.array(row["quantiles"], np.float64),
            row["champion_version"],
            row["challenger_version"],
            float(row["canary_share"]),
            tuple(row["mixture"]),
            np.array(row["interval_logits"], np.float64),
            np.array(row["interval_low"], np.float64),
            np.array(row["interval_high"], np.float64),
            row["river_model"],
            {name: np.array(values, np.float64) for name, values in dict(row["rates"]).items()},
            np.array(row["centers"], np.float64),
            np.array(row["scales"], np.float64),
        )


@dataclass(frozen=True, slots=True)
class Model:
    """What scores a target's leads.

    Attributes:
        code: Stands for weights and champion together; equal codes score equally.
        names: Of the mixture's columns.
        canary: What scores ``weights.canary_share`` of the leads instead, by hash.
    """

    weights: Weights
    champion_version: str | None
    mixture: Mixture
    code: int
    names: pa.Array
    canary: Model | None = None

    @classmethod
    def of(
        cls,
        online: OnlineSettings,
        encoding: Encoding,
        weights: Weights,
        champion: ChampionModel | None,
    ) -> Model:
        """Weights with what goes with them.

        Raises:
            ValueError: the river model in them is not the one that the workspace declares, or
                rates or scales are not of the catalogue.
        """
        RateColumns(encoding.catalogue).check(weights.rates)
        if len(weights.centers):
            encoding = encoding.scaled(weights.centers, weights.scales)
        others: list[Summed] = [champion] if champion is not None else []
        river = make_river_member(online, encoding) if weights.river is not None else None
        if river is not None and weights.river is not None:
            river.restore(weights.river)
            others.append(river)
        # a champion that could not be loaded leaves the others their equal shares
        shares = weights.shares if len(weights.shares) == 1 + len(others) else ()
        version = champion.version if champion is not None else None
        mixture = Mixture(
            encoding, weights.weights, others, shares, weights.calibration_a, weights.calibration_b
        )
        name = f"{weights.version}/{version}".encode()
        code = xxhash.xxh64_intdigest(name) >> 1
        return cls(weights, version, mixture, code, pa.array(mixture.names, pa.string()))

    def fill_rates(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Feature rows ``[n, C]`` with the rates of their categories; a copy."""
        filled = rows.copy()
        columns = RateColumns(self.mixture.encoding.catalogue)
        columns.fill(filled, slice(None), self.weights.rates)
        return filled

    def with_canary(self, canary: Model) -> Model:
        """This model, with another one for the leads of the canary."""
        return replace(self, canary=canary)

    def groups(self, keys: NDArray[np.uint64]) -> list[tuple[NDArray[np.int64] | slice, Model]]:
        """Which of the leads ``[n, 2]`` which model scores; everything, as a slice, by this one."""
        if self.canary is None:
            return [(slice(0, len(keys)), self)]
        chosen = in_canary(keys, self.canary.champion_version or "", self.weights.canary_share)
        parts = ((np.flatnonzero(~chosen), self), (np.flatnonzero(chosen), self.canary))
        return [(rows, model) for rows, model in parts if len(rows)]
