"""The gate: may a challenger take the incumbent's place, and why (not)?

Both are judged on the same labels, none of which either has learned, newest in time. Labels that
lie close in time depend on each other, so the paired bootstrap draws whole blocks of consecutive
rows with replacement (Carlstein 1986, "The use of subseries values for estimating the variance of
a general statistic from a stationary sequence"). The AUC of a draw needs no sorting: with wins
U[b, c] of block b's positives over block c's negatives, counted once, it is w'Uw over the pairs,
w being how often each block was drawn. U counts halves, so these sums are exact.

Log-loss must be shown not to be worse by more than a margin (a test of non-inferiority): asking for
proof of a gain would keep out most refits, and a champion that is not refitted falls behind as data
drift. AUC only must not be shown to be worse: on a few hundred labels its interval is wide.

Everything here is a pure function of its arguments and the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.evaluation.metrics import auc, ece, ece_of_perfect
from models.lifecycle.settings import GateSettings

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
Mask = NDArray[np.bool_]

_WORST_LOSS = -float(np.log(1e-15))  # as in evaluation/metrics.py
ECE_LIMIT, ECE_LABELS = 0.02, 4_000  # the rule of calibration: below so many labels, by chance


@dataclass(frozen=True, slots=True)
class GateResult:
    """The decision, every check in words, and the figures behind them.

    reasons: one sentence a check, failed ones first.
    failed: names of the failed checks; empty when the gate was passed.
    """

    passed: bool
    reasons: tuple[str, ...]
    failed: tuple[str, ...]
    figures: dict[str, float]


def split_in_time(
    row_times: I8, resolved_at: I8 | None = None, share: float = 0.2
) -> tuple[Mask, Mask]:
    """Which labels to fit on and which to judge by: the newest `share` in time, never a random one.

    Args:
        row_times: [n] µs; rows of one time stay on one side, so the share may come out larger.
        resolved_at: [n] µs; outcomes that were not yet known when the judged rows begin are left
            out of the fit, as they would have been then.
        share: of the rows that are judged, above 0 and below 1.

    Returns:
        Two masks [n]: older rows, newest rows.

    Raises:
        ValueError: the share is no share.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"a share of {share} leaves one side empty: choose one such as 0.2")
    if not len(row_times):
        return np.zeros(0, np.bool_), np.zeros(0, np.bool_)
    ordered = np.sort(row_times)
    edge = ordered[len(ordered) - max(1, round(share * len(ordered)))]
    newest: Mask = row_times >= edge
    older: Mask = ~newest if resolved_at is None else ~newest & (resolved_at <= edge)
    return older, newest


def decide(
    settings: GateSettings,
    challenger: F8,
    incumbent: F8 | None,
    outcomes: Mask,
    row_times: I8,
    segments: I8 | None = None,
    segment_names: tuple[str, ...] = (),
    seed: int = 0,
) -> GateResult:
    """Judge a challenger's logits against the incumbent's on labels that neither has learned.

    Args:
        settings: Margins and confidence.
        challenger: Logits [n].
        incumbent: Logits [n]; None where nothing is in use yet: then the rival is the constant
            that fits these very labels best, which is harder to beat than any constant known
            before.
        outcomes: [n].
        row_times: [n] µs, in any order.
        segments: Codes [n]; negative for none.
        segment_names: Words for the codes 0, 1, ….
        seed: Of the bootstrap.
    """
    labels, positives = len(outcomes), int(np.count_nonzero(outcomes))
    figures = {"labels": float(labels), "positives": float(positives)}
    enough = min(positives, labels - positives) >= settings.min_positives
    if labels < settings.min_labels or not enough:
        reason = (
            f"too little to decide by: {labels} labels, {positives} of them positive; needed are "
            f"{settings.min_labels} with {settings.min_positives} of either outcome"
        )
        return GateResult(False, (reason,), ("labels",), figures)
    rate, name = positives / labels, "the incumbent"
    if incumbent is None:
        incumbent, name = np.full(labels, np.log(rate / (1.0 - rate))), "the best constant"
    order = np.lexsort((incumbent, challenger, outcomes, row_times))
    outcomes, challenger, rival = outcomes[order], challenger[order], incumbent[order]
    checks = _Checks(figures)
    blocks = np.arange(labels) * settings.blocks // labels
    weights = _draws(settings, seed)
    _check_log_loss(checks, settings, challenger, rival, outcomes, blocks, weights, name)
    _check_auc(checks, settings, challenger, rival, outcomes, blocks, weights, name)
    _check_calibration(checks, settings, challenger, rival, outcomes, name)
    if segments is not None:
        _check_segments(
            checks, settings, challenger, rival, outcomes, segments[order], segment_names, name
        )
    return checks.result()


def latency_refusal(settings: GateSettings, us_a_row: float) -> str | None:
    """Why a measured latency is too high, or None.

    Apart from `decide`, since a measured time differs from run to run: it may stop a training or a
    person's promotion, never a decision that must be the same when it is repeated.
    """
    if settings.latency_us is None or us_a_row <= settings.latency_us:
        return None
    return (
        f"it takes {us_a_row:.1f} µs a row, at most {settings.latency_us:g} are allowed. Fix: "
        "train with fewer terms, or raise lifecycle.gate.latency_us"
    )


def losses(logits: F8, outcomes: Mask) -> F8:
    """Negative log-likelihood [n] in nats, at most 34.5; a logit that is no number has that too."""
    with np.errstate(invalid="ignore"):
        loss: F8 = np.logaddexp(0.0, np.where(outcomes, -logits, logits))
    return np.fmin(loss, _WORST_LOSS)


def surely_worse(
    settings: GateSettings,
    challenger: F8,
    incumbent: F8,
    outcomes: Mask,
    confidence: float,
    margin: float,
    seed: int = 0,
) -> tuple[bool, dict[str, float]]:
    """Whether the challenger's log-loss is worse by more than a margin, with this confidence.

    One-sided, by the same bootstrap of blocks; rows are taken in the order given. With fewer than
    `settings.min_positives` of either outcome nothing is sure.

    Returns:
        The decision, and figures: both log-losses, their difference and its lower bound.
    """
    blocks = np.arange(len(outcomes)) * settings.blocks // max(len(outcomes), 1)
    worse, former = losses(challenger, outcomes), losses(incumbent, outcomes)
    drawn = _drawn_means(worse - former, blocks, _draws(settings, seed))
    low = float(np.quantile(drawn, 1.0 - confidence))
    figures = {
        "labels": float(len(outcomes)),
        "log_loss": float(worse.mean()),
        "log_loss_former": float(former.mean()),
        "log_loss_difference": float((worse - former).mean()),
        "log_loss_difference_low": low,
    }
    positives = int(np.count_nonzero(outcomes))
    enough = min(positives, len(outcomes) - positives) >= settings.min_positives
    return enough and low > margin, figures


class _Checks:
    def __init__(self, figures: dict[str, float]) -> None:
        self.figures = figures
        self._said: list[tuple[bool, str, str]] = []

    def add(self, name: str, passed: bool, words: str) -> None:
        self._said.append((passed, name, words))

    def result(self) -> GateResult:
        said = sorted(self._said, key=lambda check: check[0])
        failed = tuple(name for passed, name, _ in said if not passed)
        return GateResult(not failed, tuple(words for *_, words in said), failed, self.figures)


def _draws(settings: GateSettings, seed: int) -> I8:
    """How often each block is taken in each draw [draws, blocks]."""
    generator = np.random.Generator(np.random.PCG64(seed))
    taken = generator.integers(0, settings.blocks, (settings.draws, settings.blocks))
    flat = taken + settings.blocks * np.arange(settings.draws)[:, None]
    counts = np.bincount(flat.ravel(), minlength=settings.draws * settings.blocks)
    return counts.reshape(settings.draws, settings.blocks)


def _drawn_means(values: F8, blocks: I8, weights: I8) -> F8:
    """The mean of `values` [n] in each draw."""
    sums = np.bincount(blocks, values, minlength=weights.shape[1])
    sizes = np.bincount(blocks, minlength=weights.shape[1])
    means: F8 = (weights * sums).sum(axis=1) / np.maximum((weights * sizes).sum(axis=1), 1)
    return means


def _wins(logits: F8, outcomes: Mask, blocks: I8, count: int) -> F8:
    """[b, c]: how many pairs block b's positives win over block c's negatives, ties by half."""
    positive, at = logits[outcomes], blocks[outcomes]
    table = np.empty((count, count))
    for block in range(count):
        negatives = np.sort(logits[~outcomes & (blocks == block)])
        below = np.searchsorted(negatives, positive, side="left")
        upto = np.searchsorted(negatives, positive, side="right")
        table[:, block] = np.bincount(at, (below + upto) / 2.0, minlength=count)
    return table


def _drawn_auc(wins: F8, outcomes: Mask, blocks: I8, weights: I8) -> F8:
    """The AUC in each draw; NaN where a draw has one outcome only."""
    positives = np.bincount(blocks, outcomes, minlength=weights.shape[1])
    negatives = np.bincount(blocks, ~outcomes, minlength=weights.shape[1])
    pairs = (weights * positives).sum(axis=1) * (weights * negatives).sum(axis=1)
    won = ((weights @ wins) * weights).sum(axis=1)
    with np.errstate(invalid="ignore"):
        drawn: F8 = won / pairs
    return drawn


def _interval(drawn: F8, confidence: float) -> tuple[float, float]:
    low, high = np.nanquantile(drawn, [(1.0 - confidence) / 2, (1.0 + confidence) / 2])
    return float(low), float(high)


def _check_log_loss(
    checks: _Checks,
    settings: GateSettings,
    challenger: F8,
    rival: F8,
    outcomes: Mask,
    blocks: I8,
    weights: I8,
    name: str,
) -> None:
    ours, theirs = losses(challenger, outcomes), losses(rival, outcomes)
    low, high = _interval(_drawn_means(ours - theirs, blocks, weights), settings.confidence)
    difference = float((ours - theirs).mean())
    checks.figures |= {
        "log_loss": float(ours.mean()),
        "log_loss_incumbent": float(theirs.mean()),
        "log_loss_difference": difference,
        "log_loss_difference_low": low,
        "log_loss_difference_high": high,
    }
    checks.add(
        "log_loss",
        high <= settings.log_loss_margin,
        f"log-loss {ours.mean():.4f} against {theirs.mean():.4f} of {name}: difference "
        f"{difference:+.4f} ({low:+.4f} to {high:+.4f}); at worst it may be "
        f"{settings.log_loss_margin:+g}",
    )


def _check_auc(
    checks: _Checks,
    settings: GateSettings,
    challenger: F8,
    rival: F8,
    outcomes: Mask,
    blocks: I8,
    weights: I8,
    name: str,
) -> None:
    count = settings.blocks
    drawn = [
        _drawn_auc(_wins(logits, outcomes, blocks, count), outcomes, blocks, weights)
        for logits in (challenger, rival)
    ]
    ours, theirs = auc(outcomes, challenger) or 0.0, auc(outcomes, rival) or 0.0
    low, high = _interval(drawn[0] - drawn[1], settings.confidence)
    checks.figures |= {
        "auc": ours,
        "auc_incumbent": theirs,
        "auc_difference": ours - theirs,
        "auc_difference_low": low,
        "auc_difference_high": high,
    }
    checks.add(
        "auc",
        high >= -settings.auc_margin,
        f"AUC {ours:.4f} against {theirs:.4f} of {name}: difference {ours - theirs:+.4f} "
        f"({low:+.4f} to {high:+.4f}); it must not surely be below {0.0 - settings.auc_margin:g}",
    )


def _check_calibration(
    checks: _Checks,
    settings: GateSettings,
    challenger: F8,
    rival: F8,
    outcomes: Mask,
    name: str,
) -> None:
    ours = ece(outcomes, sigmoid(challenger)) or 0.0
    theirs = ece(outcomes, sigmoid(rival)) or 0.0
    limit, by = ECE_LIMIT, ""
    if len(outcomes) < ECE_LABELS:
        limit = max(limit, ece_of_perfect(sigmoid(challenger), draws=200) or 0.0)
        by = f" (what a perfect one shows by chance on {len(outcomes)} labels)"
    checks.figures |= {"ece": ours, "ece_incumbent": theirs, "ece_limit": limit}
    checks.add(
        "calibration",
        ours <= limit or ours <= theirs + settings.ece_margin,
        f"calibration error {ours:.4f} against {theirs:.4f} of {name}; it may be {limit:.4f}{by}, "
        f"or {settings.ece_margin:g} above {name}'s",
    )


def _check_segments(
    checks: _Checks,
    settings: GateSettings,
    challenger: F8,
    rival: F8,
    outcomes: Mask,
    segments: I8,
    names: tuple[str, ...],
    name: str,
) -> None:
    difference = losses(challenger, outcomes) - losses(rival, outcomes)
    known = segments >= 0
    sizes = np.bincount(segments[known])
    enough = np.flatnonzero(sizes >= settings.segment_min_labels)
    if not len(enough):
        return
    means = np.bincount(segments[known], difference[known])[enough] / sizes[enough]
    at = int(np.argmax(means))
    code, worst = int(enough[at]), float(means[at])
    called = names[code] if code < len(names) else f"segment {code}"
    checks.figures |= {"segment_worst": worst, "segment_labels": float(sizes[code])}
    checks.add(
        "segments",
        worst <= settings.segment_margin,
        f"worst of {len(enough)} segments is {called} ({sizes[code]} labels): log-loss "
        f"{worst:+.4f} against {name}; at most {settings.segment_margin:+g}",
    )
