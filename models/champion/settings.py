"""How a workspace's additive champions are trained: `champion:` of `workspace.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class ChampionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of `train_boosted`; the defaults suit 100 to 100,000 labels.

    trees: so many, but at most two for each label of the rarer outcome; with `early_stopping` the
        newest fifth of the labels says how many of them.
    learning_rate: how much of each tree's advice is taken.
    min_data_in_leaf: labels that each side of a split must keep.
    l2: pull of every leaf to 0, in labels.
    max_terms: columns and pairs of columns in the sum; the weakest pairs go first.
    max_bins: intervals into which a numeric column is cut at most.
    window: newest labels that are used.
    mixture: `mean`: the champion's logit has the weight `share` and the online model the rest;
        `stack`: their weights are learned, shrunk to one half each (`calibration/stack.py`).
    share: see there.
    refit_labels: a new version is trained every so many labels.
    refit_hours: or when so many hours of event time passed, whichever is first; None for never.
    refit_on_drift: or when a drift alarm is raised.
    min_labels: below, none is trained.
    """

    trees: Annotated[int, msgspec.Meta(ge=1, le=2_000)] = 100
    early_stopping: bool = False
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.08
    min_data_in_leaf: Annotated[int, msgspec.Meta(ge=1)] = 20
    l2: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    max_terms: Annotated[int, msgspec.Meta(ge=1, le=2_000)] = 200
    max_bins: Annotated[int, msgspec.Meta(ge=2, le=255)] = 64
    window: Annotated[int, msgspec.Meta(ge=100, le=1_000_000)] = 10_000
    mixture: Literal["mean", "stack"] = "mean"
    share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    refit_labels: Annotated[int, msgspec.Meta(ge=50)] = 500
    refit_hours: Annotated[float, msgspec.Meta(gt=0)] | None = None
    refit_on_drift: bool = True
    min_labels: Annotated[int, msgspec.Meta(ge=100)] = 200

    @property
    def parameters(self) -> dict[str, float | int | str | bool]:
        """Those that are set, by name, for a version's lineage."""
        plain = msgspec.structs.asdict(self)
        return {name: value for name, value in plain.items() if value is not None}
