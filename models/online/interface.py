"""What every online model offers, and the one format of their snapshots.

A snapshot is msgpack: a version, a map of plain values and named arrays as (dtype, shape, bytes).
Nothing in it can run code when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from models.features.encoding import Encoding

SNAPSHOT_VERSION = 1
_DTYPES = {"<f8", "<f4", "<i8", "<i4", "|b1", "|u1"}


@dataclass(frozen=True, slots=True)
class Terms:
    """Logits as sums: logits[i] = bias[i] + contributions[i, 0] + contributions[i, 1] + ….

    names: one per term, the catalogue's columns for an additive model, else the model's own name.
    bias [n], contributions [n, len(names)], logits [n]; all float64, summed in this order.
    """

    names: tuple[str, ...]
    bias: NDArray[np.float64]
    contributions: NDArray[np.float64]
    logits: NDArray[np.float64]


class OnlineModel(Protocol):
    """An estimator that learns each label once, in the order given."""

    name: str
    additive: bool
    labels_learned: int

    def predict_logit(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits [n] of feature rows [n, C]; a row's logit never depends on the others."""

    def learn(self, rows: NDArray[np.float32], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Learn rows [n, C] with outcomes [n] one after the other.

        Returns:
            What the model said of each row just before it learned it, logits [n].
        """

    def use(self, encoding: Encoding) -> None:
        """Take other centers and scales of the same catalogue's inputs from now on."""

    def weights(self) -> NDArray[np.float64]:
        """Weights [D] over the encoding's inputs; empty for a model that has none."""

    def contributions(self, rows: NDArray[np.float32]) -> Terms:
        """The logits of rows [n, C] as sums of terms."""

    def snapshot(self) -> bytes:
        """The whole state."""

    def restore(self, data: bytes) -> None:
        """Continue from a snapshot as if never interrupted; ValueError if it does not fit."""

    def warm(self) -> None:
        """Compile what must be compiled, before being ready."""


def pack_arrays(
    meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], version: int = SNAPSHOT_VERSION
) -> bytes:
    """Plain values and arrays as bytes, the same bytes for the same content."""
    packed = {
        name: [array.dtype.str, list(array.shape), np.ascontiguousarray(array).tobytes()]
        for name, array in arrays.items()
    }
    return msgspec.msgpack.encode(
        {"version": version, "meta": dict(meta), "arrays": packed}, order="deterministic"
    )


def unpack_arrays(
    data: bytes, version: int = SNAPSHOT_VERSION
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The reverse of `pack_arrays`.

    Raises:
        ValueError: other bytes, another version, or an array that is not what it says.
    """
    try:
        content = msgspec.msgpack.decode(data)
        found, meta, packed = content["version"], content["meta"], content["arrays"]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise ValueError(f"not a snapshot: {error}") from error
    if found != version:
        raise ValueError(f"snapshot version {found}, this program reads {version}: rebuild it")
    arrays = {}
    for name, (dtype, shape, raw) in packed.items():
        if dtype not in _DTYPES:
            raise ValueError(f"array {name} of the snapshot has the unknown dtype {dtype!r}")
        arrays[name] = np.frombuffer(raw, dtype).reshape(shape)
    return meta, arrays


def expect_kind(meta: Mapping[str, Any], kind: str, catalogue_hash: str) -> None:
    """ValueError unless a snapshot is of this kind of model and of this catalogue."""
    if meta.get("kind") != kind:
        raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected {kind!r}")
    if meta.get("catalogue") != catalogue_hash:
        raise ValueError("the snapshot belongs to another feature catalogue: retrain the model")
