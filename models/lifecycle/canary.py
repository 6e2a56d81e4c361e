"""Which leads a challenger scores: a share by hash, the same everywhere and always."""

from __future__ import annotations

import numpy as np
import xxhash
from numpy.typing import NDArray

from models.compiled import compiled, plain

U8 = NDArray[np.uint64]


def in_canary(keys: U8, version: str, share: float) -> NDArray[np.bool_]:
    """Whether leads ``[n, 2]`` (halves of their id) belong to a version's canary ``[n]``.

    Nested: who is in at 5 % is in at 10 %. Each version draws anew, so that not always the same
    leads try what is new.
    """
    limit = min(max(share, 0.0), 1.0) * 2.0**53
    return _in_canary(
        plain(keys, np.uint64), np.uint64(xxhash.xxh64_intdigest(version.encode())), limit
    )


@compiled
def _in_canary(keys: U8, seed: np.uint64, limit: float) -> NDArray[np.bool_]:
    out = np.empty(len(keys), np.bool_)
    for i in range(len(keys)):
        mixed = keys[i, 0] ^ (keys[i, 1] * np.uint64(0x9E3779B97F4A7C15)) ^ seed
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
        out[i] = np.float64(mixed >> np.uint64(11)) < limit
    return out
