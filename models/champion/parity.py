"""Exports of additive models, each proven equal to its reference before it leaves.

The rows of the proof are the training rows and rows made to find a fault: every entry of every
table is looked up, every cut hit exactly and missed by one unit in the last place; NaN, infinities,
zeros of both signs, the smallest and largest numbers, and category ids that do not exist.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.champion.additive import AdditiveModel, Categorical, Numeric
from models.champion.artifact import ArtifactError
from models.champion.graph import TableType, build_additive_champion
from models.champion.runtime import ChampionGraph
from models.features.catalogue import FeatureCatalogue

F4 = NDArray[np.float32]
TOLERANCE = 1e-6
_AT_ONCE = 8_192
_EVERYWHERE = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38, 0.5, -1.0)


def export_champion(
    model: AdditiveModel,
    catalogue: FeatureCatalogue,
    rows: F4,
    version: str = "",
    tables: TableType = "float32",
) -> bytes:
    """The artifact of an additive model, proven on these rows [n, C] and on adversarial ones.

    Raises:
        ArtifactError: the graph does not say what the model says; nothing may be published.
    """
    artifact = build_additive_champion(model, catalogue.hash, version, tables)
    prove_parity(model.rounded(tables), artifact, rows)
    return artifact


def prove_parity(model: AdditiveModel, artifact: bytes, rows: F4, gpu: bool = False) -> None:
    """Raise ArtifactError unless a graph and its reference agree to 1e-6 in every part.

    Args:
        model: the reference.
        artifact: ONNX bytes of the graph.
        rows: feature rows [n, C], those of the training.
        gpu: run the graph on CUDA.
    """
    graph = ChampionGraph(artifact, gpu)
    if graph.columns != len(model.columns) or graph.names != model.names:
        raise ArtifactError(
            f"the graph takes {graph.columns} columns and gives {len(graph.names)} terms, the "
            f"model {len(model.columns)} and {len(model.names)}: export this model anew"
        )
    for kind, part in _parts(training=rows, adversarial=adversarial_rows(model)):
        said = model.contributions(part)
        bias, terms, logits = graph.run_whole(part)
        for name, ours, theirs in (
            ("bias", said.bias, bias),
            ("contributions", said.contributions, terms),
            ("logit", said.logits, logits),
        ):
            gap = np.abs(ours - theirs).max(initial=0.0)
            if not gap <= TOLERANCE:
                raise ArtifactError(
                    f"graph and model differ by {gap:.3g} in the {name} of {kind} rows: this "
                    "artifact must not be used; please report the model as a bug"
                )


def _parts(**kinds: F4) -> Iterator[tuple[str, F4]]:
    for kind, rows in kinds.items():
        for start in range(0, len(rows), _AT_ONCE):
            yield kind, rows[start : start + _AT_ONCE]


def adversarial_rows(model: AdditiveModel) -> F4:
    """Rows [n, C] on which a graph would go wrong if it could."""
    return np.concatenate([_every_entry(model), _every_edge(model)])


def _every_entry(model: AdditiveModel) -> F4:
    """Rows such that any two columns meet in every combination of their bins.

    An orthogonal array of strength 2 (Bose 1938): over a prime p, row (a, b) has a + b·c mod p in
    column c, so that two columns take each of the p² combinations exactly once.
    """
    prime = max(2, len(model.bins), *(bins.count for bins in model.bins))
    while any(prime % factor == 0 for factor in range(2, int(prime**0.5) + 1)):
        prime += 1
    a, b = np.divmod(np.arange(prime * prime), prime)
    rows = np.empty((prime * prime, len(model.bins)), np.float32)
    for column, bins in enumerate(model.bins):
        rows[:, column] = _examples(bins)[(a + b * column) % prime % bins.count]
    return rows


def _examples(bins: Numeric | Categorical) -> F4:
    """A value of each bin; NaN where a bin has none."""
    if isinstance(bins, Numeric):
        lowest = np.nextafter(bins.cuts[:1], np.float32(-np.inf)) if len(bins.cuts) else [0.0]
        return np.concatenate([[np.nan], lowest, bins.cuts]).astype(np.float32)
    values = np.full(bins.count, np.nan, np.float32)
    values[bins.places] = np.arange(len(bins.places))
    values[0] = np.nan
    return values


def _every_edge(model: AdditiveModel) -> F4:
    """Rows that hold each probe of each column once, in combinations that chance made."""
    probes = [_probes(bins) for bins in model.bins]
    count = max(len(own) for own in probes)
    shuffle = np.random.Generator(np.random.PCG64(0))
    rows = np.empty((count, len(probes)), np.float32)
    for column, own in enumerate(probes):
        rows[:, column] = shuffle.permutation(np.resize(own, count))
    return rows


def _probes(bins: Numeric | Categorical) -> F4:
    everywhere = np.array(_EVERYWHERE, np.float32)
    if isinstance(bins, Categorical):
        last = len(bins.places)
        ids = np.array([*range(last), last - 0.5, last, last + 1, -0.5], np.float32)
        return np.concatenate([everywhere, ids])
    above = np.nextafter(bins.cuts, np.float32(np.inf))
    below = np.nextafter(bins.cuts, np.float32(-np.inf))
    return np.concatenate([everywhere, bins.cuts, above, below])
