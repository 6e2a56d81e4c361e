"""Where a champion comes from: the labels it was fitted on, by digest, and how it was fitted.

The digest names a set of labelled rows, not the way they came: each row has a SHA-256 of its
canonical bytes, and the digest is the SHA-256 of these, sorted. So order of arrival, partitions and
chunks do not matter, a label that is there twice counts twice, and anyone who has the labels can
compute it again.

Canonical bytes of a row, little-endian: row time int64 (µs), resolved at int64 (µs), outcome uint8,
length of the row's id uint32, the id in UTF-8, features float32 (one NaN for all, no negative 0).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

DIGEST = "sha256-rows-1"
"""Name of the method, in front of each digest, so that it can change one day."""

_HEAD = struct.Struct("<qqBI")


class LabelDigest:
    """Takes labelled rows in chunks; 32 bytes are kept of each."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []

    def add(
        self,
        lead_ids: Sequence[str],
        row_times: NDArray[np.int64],
        resolved_at: NDArray[np.int64],
        outcomes: NDArray[np.bool_],
        features: NDArray[np.float32],
    ) -> None:
        """Take n labels: ids, times in µs [n], outcomes [n], features [n, C].

        Raises:
            ValueError: they are not equally many.
        """
        count = len(lead_ids)
        if not count == len(row_times) == len(resolved_at) == len(outcomes) == len(features):
            raise ValueError("every label needs id, both times, outcome and features")
        plain = np.where(np.isnan(features), np.float32(np.nan), features) + np.float32(0.0)
        data = np.ascontiguousarray(plain, "<f4").tobytes()
        width = 4 * features.shape[1]
        columns = zip(row_times.tolist(), resolved_at.tolist(), outcomes.tolist(), strict=True)
        for at, (row_time, resolved, outcome) in enumerate(columns):
            name = lead_ids[at].encode()
            row = hashlib.sha256(_HEAD.pack(row_time, resolved, outcome, len(name)))
            row.update(name)
            row.update(data[at * width : (at + 1) * width])
            self._rows.append(row.digest())

    def __len__(self) -> int:
        return len(self._rows)

    def digest(self) -> str:
        """`sha256-rows-1:` and 64 hex digits."""
        return f"{DIGEST}:{hashlib.sha256(b''.join(sorted(self._rows))).hexdigest()}"


class Lineage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a version was made of and how; enough to make it again.

    Attributes:
        workspace: Of the labels.
        target: Of the labels.
        catalogue: Hash of the feature catalogue.
        labels: That were learned.
        positives: Of them.
        first_row_time: µs of event time of the oldest row.
        last_row_time: µs of event time of the newest row.
        learned_until: µs of event time at which the newest outcome was known.
        digest: Of the labels, by `LabelDigest`.
        code_version: Of the program that trained.
        parameters: Of the training.
        metrics: Of the training and of the gate, by name.
        parent: Version that was in use when it was trained; None for the first.
    """

    workspace: str
    target: str
    catalogue: str
    labels: int
    positives: int
    first_row_time: int
    last_row_time: int
    learned_until: int
    digest: str
    code_version: str
    parameters: dict[str, float | int | str | bool] = {}
    metrics: dict[str, float] = {}
    parent: str | None = None
