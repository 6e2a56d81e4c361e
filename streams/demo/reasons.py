"""Why a lead has its score, in words: `+0.84  2.6 recent visits (half-life 7 d)`.

A score names its strongest features; what they said of the lead stands in its feature row, which is
computed again here, from its timeline events and with the kernels that scored it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.explain.words import term_in_words
from models.features.extract import Extractor
from models.features.kernels import FeatureKernels
from models.features.state import StateViews, lead_dtype
from models.workspaces import WorkspaceConfig
from streams.demo.state import Reason


class Words:
    """Puts contributions into words for one workspace."""

    def __init__(self, config: WorkspaceConfig) -> None:
        self._catalogue = config.catalogue
        self._extractor = Extractor(config.catalogue)
        self._kernels = FeatureKernels(config.catalogue)

    def feature_row(self, events: pa.RecordBatch) -> NDArray[np.float32]:
        """Feature row [C] of a lead after all of its timeline events [n >= 1], in their order."""
        n = events.num_rows
        found = self._extractor.extract(
            events.column("kind"),
            events.column("numbers"),
            events.column("texts"),
            events.column("url"),
        )
        rows = self._kernels.update_rows(
            StateViews.of(np.zeros(2, lead_dtype(self._catalogue))),  # two: strided as in a table
            np.zeros(n, np.int64),
            events.column("occurred_at").cast(pa.int64()).to_numpy(),
            found.kind,
            found.attr_event,
            found.attr_slot,
            found.attr_value,
            distinct=found.distinct,
        )
        last: NDArray[np.float32] = rows[-1]
        return last

    def reasons(
        self, events: Sequence[pa.RecordBatch], contributions: Sequence[Mapping[str, float | str]]
    ) -> list[Reason]:
        """Reasons of a score.

        Args:
            events: The lead's timeline events up to the score.
            contributions: Of its record: feature and contribution, strongest first.
        """
        row = self.feature_row(pa.concat_batches(list(events)))
        return [
            Reason(
                float(each["contribution"]),
                term_in_words(self._catalogue, row, str(each["feature"])),
            )
            for each in contributions
        ]
