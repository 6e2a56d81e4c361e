"""Weights of a mixture's members, learned online and shrunk to the plain mean.

logit = Σ_k w_k·logit_k + c, by a second-order (Laplace) step a label as in `affine.py`: the
information fades with a window of labels, and every weight is pulled to 1/K with the information
of `prior` labels' worth. Weights stay >= 0; those published sum to 1, and what is left of scale and
shift is the affine calibration's. On drifting data a stack is no better than the mean, which is
therefore the default of a mixture; it helps where a member is far worse than the others.
Sequential and in float64: the same bits however labels are cut into calls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled, plain
from models.online.interface import pack_arrays, unpack_arrays

F8 = NDArray[np.float64]

WINDOW = 4_000.0  # labels; older ones fade
PRIOR = 100.0  # information of each weight's pull to 1/K; a label gives p·(1-p)·logit²
PRIOR_SHIFT = 5.0
MEMBERS = 16
_NOTHING = 1e-9


class Stack:
    """Weights of K members.

    Args:
        members: K.
        window: labels after which what was learned has faded to a third.
        prior: strength of the pull to the mean; larger stays nearer to it.

    Raises:
        ValueError: no member or more than 16, or a prior or window that makes no sense.
    """

    def __init__(self, members: int, window: float = WINDOW, prior: float = PRIOR) -> None:
        if not 1 <= members <= MEMBERS:
            raise ValueError(f"a stack of {members} members. Fix: 1 to {MEMBERS}")
        if not (window > 1 and prior > 0):
            raise ValueError(f"window {window}, prior {prior}. Fix: above 1 and above 0")
        self._settings = np.array([1.0 - 1.0 / window, prior, PRIOR_SHIFT])
        self._weights = np.append(np.full(members, 1.0 / members), 0.0)  # the shift last
        self._information = np.diag(np.append(np.full(members, prior), PRIOR_SHIFT))
        self.labels_learned = 0

    @property
    def shares(self) -> tuple[float, ...]:
        """The members' weights: >= 0, sum 1; as `mix(…, shares=…)` takes them."""
        weights = self._weights[:-1]
        total = float(weights.sum())
        if total <= _NOTHING:
            return (1.0 / len(weights),) * len(weights)
        return tuple(float(weight) / total for weight in weights)

    def learn(self, logits: F8, outcomes: NDArray[np.bool_]) -> F8:
        """Learn from the members' logits [n, K] and outcomes [n], one after the other.

        Take logits made before the members learned these labels.

        Returns:
            The shares [n, K] before each label was learned.
        """
        if logits.shape != (len(outcomes), len(self._weights) - 1):
            raise ValueError(
                f"logits {logits.shape} for {len(outcomes)} labels of {len(self._weights) - 1} "
                "members. Fix: one column a member, one row a label"
            )
        before = np.empty(logits.shape)
        _learn(
            plain(logits, np.float64), plain(outcomes, np.bool_), self._settings, self._weights,
            self._information, before,
        )  # fmt: skip
        self.labels_learned += len(outcomes)
        total = before.sum(axis=1, keepdims=True)
        none = total <= _NOTHING
        shares: F8 = np.where(none, 1.0 / before.shape[1], before / np.where(none, 1.0, total))
        return shares

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues bit for bit."""
        meta = {"kind": "stack", "labels_learned": self.labels_learned}
        arrays = {
            "settings": self._settings,
            "weights": self._weights,
            "information": self._information,
        }
        return pack_arrays(meta, arrays)

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state and settings; ValueError if it has other members."""
        meta, arrays = unpack_arrays(data)
        if meta.get("kind") != "stack":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'stack'")
        if arrays["weights"].shape != self._weights.shape:
            raise ValueError(
                f"the snapshot has {len(arrays['weights']) - 1} members, this mixture "
                f"{len(self._weights) - 1}. Fix: start the stack anew"
            )
        self._settings = np.array(arrays["settings"])
        self._weights = np.array(arrays["weights"])
        self._information = np.array(arrays["information"])
        self.labels_learned = int(meta["labels_learned"])

    def warm(self) -> None:
        """Compile (or load from the cache) before being ready."""
        Stack(1).learn(np.zeros((1, 1)), np.zeros(1, np.bool_))


@compiled
def _learn(
    logits: F8,
    outcomes: NDArray[np.bool_],
    settings: F8,
    weights: F8,
    information: F8,
    before: F8,
) -> None:
    keep, prior, prior_shift = settings[0], settings[1], settings[2]
    size = len(weights)
    mean = 1.0 / (size - 1)
    x, slope, root = np.ones(size), np.empty(size), np.empty((size, size))
    for row in range(len(outcomes)):
        z = weights[size - 1]
        for k in range(size - 1):
            before[row, k] = weights[k]
            x[k] = min(max(logits[row, k], -30.0), 30.0)
            z += weights[k] * x[k]
        p = 1.0 / (1.0 + np.exp(-z))
        error = p - (1.0 if outcomes[row] else 0.0)
        for i in range(size):
            last = i == size - 1
            pull = (1.0 - keep) * (prior_shift if last else prior)
            slope[i] = error * x[i] + pull * (weights[i] - (0.0 if last else mean))
            for j in range(i + 1):
                told = keep * information[i, j] + p * (1.0 - p) * x[i] * x[j]
                information[i, j] = information[j, i] = told + (pull if i == j else 0.0)
        # information · step = slope, by Cholesky
        for i in range(size):
            for j in range(i + 1):
                left = information[i, j]
                for k in range(j):
                    left -= root[i, k] * root[j, k]
                root[i, j] = np.sqrt(left) if i == j else left / root[j, j]
            for k in range(i):
                slope[i] -= root[i, k] * slope[k]
            slope[i] /= root[i, i]
        for i in range(size - 1, -1, -1):
            for k in range(i + 1, size):
                slope[i] -= root[k, i] * slope[k]
            slope[i] /= root[i, i]
            moved = weights[i] - slope[i]
            weights[i] = moved if i == size - 1 else min(max(moved, 0.0), 2.0)
