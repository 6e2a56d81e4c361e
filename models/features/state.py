"""What is remembered of a lead: one fixed-width row of a numpy structured array.

A row of zeros is a lead that was never seen, so a table needs no other initial value. Fields stand
in order of falling alignment without gaps, so views of them are aligned for the kernels.
`event_count` is also the evidence count of a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from models.features.catalogue import FeatureCatalogue

MINUTE_US = 60_000_000
DAY_US = 86_400_000_000

ExtraField = tuple[str, DTypeLike] | tuple[str, DTypeLike, tuple[int, ...]]


def lead_dtype(catalogue: FeatureCatalogue, extra: Sequence[ExtraField] = ()) -> np.dtype[Any]:
    """The state row of a lead of this catalogue.

    Args:
        catalogue: gives the numbers of attributes A, event kinds K and half-lives H.
        extra: more fields of the caller's own, as (name, dtype) or (name, dtype, shape).

    Returns:
        A structured dtype with first_seen i8, last_seen i8 (µs UTC), kind_last i8[K],
        event_count u4, sessions u4, gap_days f4, attributes f4[A], kind_counts f4[K],
        kind_decayed f4[K,H] (as of last_seen), and `extra`.
    """
    kinds = len(catalogue.behaviour.kinds)
    half_lives = len(catalogue.behaviour.half_lives_days)
    fields: list[tuple[str, np.dtype[Any]]] = [
        ("first_seen", np.dtype("<i8")),
        ("last_seen", np.dtype("<i8")),
        ("kind_last", np.dtype(("<i8", (kinds,)))),
        ("event_count", np.dtype("<u4")),
        ("sessions", np.dtype("<u4")),
        ("gap_days", np.dtype("<f4")),
        ("attributes", np.dtype(("<f4", (len(catalogue.attributes),)))),
        ("kind_counts", np.dtype(("<f4", (kinds,)))),
        ("kind_decayed", np.dtype(("<f4", (kinds, half_lives)))),
    ]
    for field in extra:
        shape = field[2] if len(field) == 3 else None
        fields.append((field[0], np.dtype((field[1], shape) if shape is not None else field[1])))
    fields.sort(key=lambda item: -item[1].base.alignment)
    names = [name for name, _ in fields]
    formats = [dtype for _, dtype in fields]
    sizes = [dtype.itemsize for dtype in formats]
    offsets = [sum(sizes[:index]) for index in range(len(sizes))]
    return np.dtype(
        {
            "names": names,
            "formats": formats,
            "offsets": offsets,
            "itemsize": -(-sum(sizes) // 8) * 8,
        }
    )


@dataclass(frozen=True, slots=True)
class StateViews:
    """Views of the fields of a table of lead rows; valid until the table grows."""

    first_seen: NDArray[np.int64]
    last_seen: NDArray[np.int64]
    kind_last: NDArray[np.int64]
    event_count: NDArray[np.uint32]
    sessions: NDArray[np.uint32]
    gap_days: NDArray[np.float32]
    attributes: NDArray[np.float32]
    kind_counts: NDArray[np.float32]
    kind_decayed: NDArray[np.float32]

    @staticmethod
    def of(table: NDArray[Any]) -> StateViews:
        """Views of `table`, a structured array [capacity] of `lead_dtype`."""
        return StateViews(
            table["first_seen"],
            table["last_seen"],
            table["kind_last"],
            table["event_count"],
            table["sessions"],
            table["gap_days"],
            table["attributes"],
            table["kind_counts"],
            table["kind_decayed"],
        )
