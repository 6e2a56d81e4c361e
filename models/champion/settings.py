"""How a workspace's additive champions are trained: `champion:` of `workspace.yaml`."""

from __future__ import annotations

from typing import Annotated

import msgspec


class ChampionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of `train_boosted`; the defaults suit 100 to 100,000 labels.

    trees: at most so many, and at most two for each label of the rarer outcome; the newest fifth
        of the labels says how many are used.
    learning_rate: how much of each tree's advice is taken.
    min_data_in_leaf: labels that each side of a split must keep.
    l2: pull of every leaf to 0, in labels.
    max_terms: columns and pairs of columns in the sum; the weakest pairs go first.
    max_bins: intervals into which a numeric column is cut at most.
    window: newest labels that are used.
    """

    trees: Annotated[int, msgspec.Meta(ge=1, le=2_000)] = 300
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    min_data_in_leaf: Annotated[int, msgspec.Meta(ge=1)] = 20
    l2: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    max_terms: Annotated[int, msgspec.Meta(ge=1, le=2_000)] = 200
    max_bins: Annotated[int, msgspec.Meta(ge=2, le=255)] = 32
    window: Annotated[int, msgspec.Meta(ge=100, le=1_000_000)] = 20_000
