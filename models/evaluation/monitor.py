"""Watches a target for drift and says once when it comes and once when it has gone.

`DriftMonitor` compares the recent epochs' counts with those of the champion's training window;
`LossMonitor` runs ADWIN over the log-loss of each label's published probability. Both give alarms
as plain data and are functions of their input in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled, plain
from models.evaluation.adwin import DELTA, Adwin
from models.evaluation.drift import Drift, feature_drifts, prediction_drift
from models.evaluation.histograms import Counts, FeatureBins, no_counts
from models.online.interface import pack_arrays, unpack_arrays

F8 = NDArray[np.float64]

WINDOW_EPOCHS = 24
CALM = 0.8  # an alarm is cleared below this share of its limit
LOSS_CAP = 4.0  # nats; a single surprise counts no more, as ADWIN's bound wants a range
STEADY_LABELS = 2_000  # after which a raised loss is the new normal

Kind = Literal["feature_drift", "prediction_drift", "loss_drift"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something drifted (`raised`) or no longer does.

    value and limit: PSI, or KS if that is further over its limit; for the loss nats a label before
    (limit) and after (value).
    """

    kind: Kind
    feature: str | None
    value: float
    limit: float
    words: str
    raised: bool = True


class DriftMonitor:
    """A sliding window of epochs' counts against the reference.

    Args:
        bins: of the catalogue.
        reference: counts of the champion's training window.
        epochs: how many of the newest epochs are compared.
        design_effect: rows of one lead within the window, about (see `drift.py`).
    """

    def __init__(
        self,
        bins: FeatureBins,
        reference: Counts,
        epochs: int = WINDOW_EPOCHS,
        design_effect: float = 1.0,
    ) -> None:
        self._bins = bins
        self._reference = reference
        self._epochs = epochs
        self._design_effect = design_effect
        self._window: dict[int, Counts] = {}
        self._raised: set[tuple[Kind, str]] = set()

    @property
    def raised(self) -> tuple[tuple[Kind, str], ...]:
        """What is drifting: kind and feature, in alphabetical order."""
        return tuple(sorted(self._raised))

    def add(self, epoch: int, counts: Counts) -> None:
        """Add counts to an epoch, those of several partitions one after the other."""
        known = self._window.get(epoch)
        self._window[epoch] = counts if known is None else known + counts
        newest = max(self._window)
        self._window = {e: c for e, c in self._window.items() if e > newest - self._epochs}

    def recent(self) -> Counts:
        """The counts of the window."""
        return sum(self._window.values(), no_counts(self._bins))

    def drifts(self) -> tuple[Drift, ...]:
        """Each column's drift in the catalogue's order, then that of the predictions."""
        recent = self.recent()
        features = feature_drifts(self._bins, self._reference, recent, self._design_effect)
        said = prediction_drift(self._reference, recent, len(features), self._design_effect)
        return (*features, said)

    def check(self) -> list[Alarm]:
        """Alarms that are new or over since the last check, e.g. at each end of an epoch."""
        *features, said = self.drifts()
        found = [self._judge("feature_drift", drift) for drift in features]
        found.append(self._judge("prediction_drift", said))
        return [alarm for alarm in found if alarm is not None]

    def _judge(self, kind: Kind, drift: Drift) -> Alarm | None:
        key = (kind, drift.name)
        if key not in self._raised and drift.drifted:
            self._raised.add(key)
            return _alarm(kind, drift, True)
        if key in self._raised and drift.strength < CALM:
            self._raised.remove(key)
            return _alarm(kind, drift, False)
        return None

    def replace_reference(self, reference: Counts) -> None:
        """Compare with another training window from now on; alarms stay until cleared."""
        self._reference = reference

    def snapshot(self) -> bytes:
        """The whole state, reference and settings with it."""
        catalogue = self._bins.catalogue
        meta = {
            "kind": "drift_monitor",
            "catalogue": catalogue.hash,
            "epochs": self._epochs,
            "design_effect": self._design_effect,
            "raised": [list(key) for key in self.raised],
            "reference": self._reference.pack(catalogue),
            "window": [[e, self._window[e].pack(catalogue)] for e in sorted(self._window)],
        }
        return pack_arrays(meta, {})

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state; ValueError if it is something else or of another catalogue."""
        meta, _ = unpack_arrays(data)
        if meta.get("kind") != "drift_monitor":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'drift_monitor'")
        catalogue = self._bins.catalogue
        self._reference = Counts.unpack(meta["reference"], catalogue)
        self._window = {int(e): Counts.unpack(c, catalogue) for e, c in meta["window"]}
        self._raised = {(kind, name) for kind, name in meta["raised"]}
        self._epochs = int(meta["epochs"])
        self._design_effect = float(meta["design_effect"])


def _alarm(kind: Kind, drift: Drift, raised: bool) -> Alarm:
    by_ks = drift.ks is not None and drift.ks / drift.ks_limit > drift.psi / drift.psi_limit
    name, value, limit = (
        ("KS", drift.ks or 0.0, drift.ks_limit) if by_ks else ("PSI", drift.psi, drift.psi_limit)
    )
    what = "predictions" if kind == "prediction_drift" else f"feature {drift.name}"
    how = "drifted from" if raised else "is like"
    if kind == "prediction_drift":
        how = "drifted from those of" if raised else "are like those of"
    words = (
        f"{what} {how} the training window: {name} {value:.3f}, limit {limit:.3f}, "
        f"{drift.recent_rows:,} rows against {drift.reference_rows:,}"
    )
    feature = drift.name if kind == "feature_drift" else None
    return Alarm(kind, feature, value, limit, words, raised)


class LossMonitor:
    """ADWIN over log-loss: an alarm when it rises; cleared when it falls or has stayed steady."""

    def __init__(self, delta: float = DELTA) -> None:
        self._adwin = Adwin(delta)
        self._raised = False
        self._since = 0  # labels since the last rise
        self._before, self._after = 0.0, 0.0  # loss around the last rise

    @property
    def raised(self) -> bool:
        """Whether the loss rose and is not yet cleared."""
        return self._raised

    @property
    def loss(self) -> float:
        """Mean log-loss (each label capped at 4 nats) since the last change."""
        return self._adwin.mean * LOSS_CAP

    def learn(self, logits: F8, outcomes: NDArray[np.bool_]) -> list[Alarm]:
        """Take n labels' published logits [n] and outcomes [n], in order; the alarms among them."""
        losses = np.empty(len(logits))
        _losses(plain(logits, np.float64), plain(outcomes, np.bool_), losses)
        alarms: list[Alarm] = []
        done = 0
        for change in self._adwin.update(losses):
            before, after = change.before * LOSS_CAP, change.after * LOSS_CAP
            alarms += self._steady(change.place + 1 - done)
            done = change.place + 1
            words = f"log-loss went from {before:.4f} to {after:.4f} nats a label"
            if after > before:
                self._since, self._before, self._after = 0, before, after
                if not self._raised:
                    self._raised = True
                    alarms.append(Alarm("loss_drift", None, after, before, words))
            elif self._raised:
                self._raised = False
                alarms.append(Alarm("loss_drift", None, after, before, words, False))
        return alarms + self._steady(len(losses) - done)

    def _steady(self, labels: int) -> list[Alarm]:
        """Count labels without a change; enough of them clear the alarm."""
        self._since += labels
        if not self._raised or self._since < STEADY_LABELS:
            return []
        self._raised = False
        words = f"log-loss has not risen further for {STEADY_LABELS:,} labels"
        return [Alarm("loss_drift", None, self._after, self._before, words, False)]

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues bit for bit."""
        meta = {
            "kind": "loss_monitor",
            "adwin": self._adwin.snapshot(),
            "raised": self._raised,
            "since": self._since,
            "levels": [self._before, self._after],
        }
        return pack_arrays(meta, {})

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state; ValueError if it is something else."""
        meta, _ = unpack_arrays(data)
        if meta.get("kind") != "loss_monitor":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'loss_monitor'")
        self._adwin.restore(meta["adwin"])
        self._raised, self._since = bool(meta["raised"]), int(meta["since"])
        self._before, self._after = meta["levels"]

    def warm(self) -> None:
        """Compile (or load from the cache) before being ready."""
        LossMonitor().learn(np.zeros(1), np.zeros(1, np.bool_))


@compiled
def _losses(logits: F8, outcomes: NDArray[np.bool_], out: F8) -> None:
    """Log-loss of each label, at most 4 nats, as a share of that."""
    for i in range(len(logits)):
        margin = logits[i] if outcomes[i] else -logits[i]
        loss = np.log1p(np.exp(-margin)) if margin > 0 else np.log1p(np.exp(margin)) - margin
        out[i] = min(loss, 4.0) / 4.0
