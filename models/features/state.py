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

SKETCH_BITS = 128
"""Of a sketch of distinct values: 16 bytes."""

SEQUENCE = 32
"""Events that a lead's sequence holds."""

HOT_ROW_BYTES = 384
"""Most that a lead's row, written anew with each of its events, may take."""

TARGET_BYTES = 32
"""About what scoring and the ledger keep in it of each target."""

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
        kind_decayed f4[K,H] (as of last_seen), and `extra`. Where they are declared also
        distinct_bits u8[F,2] (each field's sketch), recent_kinds u1[32] (1 + position of the kind,
        1 + K of another one, 0 of none) and recent_gaps u1[32] (see `gap_seconds`), newest first.
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
    if distinct := len(catalogue.behaviour.distinct):
        fields.append(("distinct_bits", np.dtype(("<u8", (distinct, SKETCH_BITS // 64)))))
    if catalogue.behaviour.sequence:
        fields.append(("recent_kinds", np.dtype(("u1", (SEQUENCE,)))))
        fields.append(("recent_gaps", np.dtype(("u1", (SEQUENCE,)))))
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


def check_size(catalogue: FeatureCatalogue, targets: int) -> None:
    """Refuse a catalogue whose leads would take too much to be written with every event.

    Raises:
        ValueError: saying what takes how much, and what to drop.
    """
    behaviour = catalogue.behaviour
    size = lead_dtype(catalogue).itemsize + targets * TARGET_BYTES
    if size <= HOT_ROW_BYTES:
        return
    half_lives = len(behaviour.half_lives_days)
    each = 12 + 4 * half_lives
    parts = [
        (len(behaviour.kinds) * each, f"{len(behaviour.kinds)} kinds of {each} B each"),
        (len(catalogue.attributes) * 4, f"{len(catalogue.attributes)} attributes of 4 B"),
        (len(behaviour.distinct) * 16, f"{len(behaviour.distinct)} distinct fields of 16 B"),
        (2 * SEQUENCE * behaviour.sequence, f"the sequence of {2 * SEQUENCE} B"),
        (targets * TARGET_BYTES, f"{targets} targets of {TARGET_BYTES} B"),
    ]
    said = ", ".join(text for size_, text in sorted(parts, reverse=True) if size_)
    raise ValueError(
        f"a lead would take {size} B, more than the {HOT_ROW_BYTES} B that may be written with "
        f"each of its events: {said}. Fix: drop {size - HOT_ROW_BYTES} B of them, such as kinds, "
        f"half-lives ({len(behaviour.kinds) * 4} B each) or distinct fields that tell little"
    )


def gap_seconds(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Seconds before each event of a sequence, to 5 %, from `recent_gaps`."""
    return np.asarray(np.exp2(codes / 8.0) - 1.0)


@dataclass(frozen=True, slots=True)
class StateViews:
    """Views of the fields of a table of lead rows; valid until the table grows.

    Those that the catalogue does not declare have no columns: [capacity, 0, 2], [capacity, 0].
    """

    first_seen: NDArray[np.int64]
    last_seen: NDArray[np.int64]
    kind_last: NDArray[np.int64]
    event_count: NDArray[np.uint32]
    sessions: NDArray[np.uint32]
    gap_days: NDArray[np.float32]
    attributes: NDArray[np.float32]
    kind_counts: NDArray[np.float32]
    kind_decayed: NDArray[np.float32]
    distinct_bits: NDArray[np.uint64]
    recent_kinds: NDArray[np.uint8]
    recent_gaps: NDArray[np.uint8]

    @staticmethod
    def of(table: NDArray[Any]) -> StateViews:
        """Views of `table`, a structured array [capacity] of `lead_dtype`."""
        names, n = table.dtype.names or (), len(table)
        none = np.empty((n, 0), np.uint8)
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
            table["distinct_bits"] if "distinct_bits" in names else np.empty((n, 0, 2), np.uint64),
            table["recent_kinds"] if "recent_kinds" in names else none,
            table["recent_gaps"] if "recent_gaps" in names else none,
        )
