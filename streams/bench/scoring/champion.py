"""A made-up champion of any number of terms, over the columns of a workspace's own traffic.

What it says is chance; what it costs is not: its numeric columns are cut where a trained one would
cut them, at quantiles of the rows, and it is exported and proven like any other.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.champion.additive import AdditiveModel, Categorical, Numeric, Term
from models.champion.parity import export_champion
from models.features.extract import Extractor
from models.features.kernels import FeatureKernels
from models.features.state import StateViews, lead_dtype
from models.workspaces import WorkspaceConfig
from streams.bench.scoring.traffic import SourceEvents

F4 = NDArray[np.float32]
CUTS = 30
_EVENTS, _LEADS = 4_000, 500


def made_up_champion(config: WorkspaceConfig, terms: int, seed: int = 11) -> bytes:
    """The artifact of a champion of so many terms: columns first, then pairs of columns.

    Raises:
        ValueError: the columns and their pairs are fewer.
    """
    names, rows = config.catalogue.column_names, traffic_rows(config)
    columns = range(len(names))
    chosen = [*((c,) for c in columns), *combinations(columns, 2)][:terms]
    if len(chosen) < terms:
        raise ValueError(f"{len(names)} columns make {len(chosen)} terms, not {terms}")
    rng = np.random.default_rng(seed)
    bins = tuple(_bins(config, column, rows[:, column]) for column in columns)
    made = []
    for term in chosen:
        shape = tuple(bins[column].count for column in term)
        made.append(Term(term, rng.normal(0, 1 / terms**0.5, shape).astype(np.float32)))
    return export_champion(AdditiveModel(names, bins, tuple(made), -1.0), config.catalogue, rows)


def traffic_rows(config: WorkspaceConfig) -> F4:
    """Feature rows ``[n, C]`` of some events of the traffic."""
    events = SourceEvents(config, _LEADS, seed=1).take(_EVENTS)
    lead = events.column("identifiers").items.dictionary_encode()  # one each
    kind = events.column("kind")
    found = Extractor(config.catalogue).extract(
        kind, events.column("numbers"), events.column("texts")
    )
    table = np.zeros(len(lead.dictionary), lead_dtype(config.catalogue))
    return FeatureKernels(config.catalogue).update_rows(
        StateViews.of(table),
        lead.indices.to_numpy().astype(np.int64),
        events.column("occurred_at").cast(pa.int64()).to_numpy(),
        found.kind,
        found.attr_event,
        found.attr_slot,
        found.attr_value,
    )


def _bins(config: WorkspaceConfig, column: int, values: F4) -> Numeric | Categorical:
    if config.catalogue.columns[column].kind == "categorical":
        categories = config.catalogue.attributes[column].categories
        return Categorical(np.arange(1, categories + 1, dtype=np.int32))
    known = values[~np.isnan(values)]
    return Numeric(np.unique(np.quantile(known, np.linspace(0, 1, CUTS + 2)[1:-1])).astype("<f4"))
