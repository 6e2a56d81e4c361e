"""models.metrics: figures of what was published, by a plain count over the labels."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from learning_support import FIRST, Learning, epoch_end, label


def by_hand(labels: list[dict[str, Any]]) -> dict[str, float]:
    """Figures as a textbook defines them, from each label's published logit."""
    pairs = [(1 / (1 + math.exp(-row["logit"])), row["positive"]) for row in labels]
    won, lost = [p for p, y in pairs if y], [p for p, y in pairs if not y]
    above = sum((a > b) + 0.5 * (a == b) for a, b in product(won, lost))
    ordered = sorted(pairs, reverse=True)
    hits = np.cumsum([y for _, y in ordered])
    precision = [hits[i] / (i + 1) for i, (_, y) in enumerate(ordered) if y]
    top = ordered[: math.ceil(len(pairs) / 10)]
    bins = np.array_split(np.array(ordered[::-1]), 10)
    return {
        "auc": above / (len(won) * len(lost)),
        "average_precision": float(np.mean(precision)),
        "log_loss": -np.mean([math.log(p if y else 1 - p) for p, y in pairs]),
        "brier": np.mean([(p - y) ** 2 for p, y in pairs]),
        "ece": sum(len(b) * abs(b[:, 0].mean() - b[:, 1].mean()) for b in bins) / len(pairs),
        "lift_top_decile": np.mean([y for _, y in top]) / (len(won) / len(pairs)),
    }


def test_figures_judge_the_published_logit_of_each_label() -> None:
    run, seen = Learning(), []
    for epoch in range(FIRST, FIRST + 3):
        rows = [label(1000 * (epoch - FIRST) + n, epoch) for n in range(120)]
        run.feed(*rows, epoch_end(epoch))
        seen += rows
        made = run.metrics()[-1]
        for name, value in by_hand(seen).items():
            assert made[name] == pytest.approx(value, rel=1e-9), name
        assert made["labels"] == made["window_labels"] == len(seen)
        assert made["positives"] == sum(row["positive"] for row in seen)
        delays = [(row["resolved_at"] - row["row_time"]) / 1e6 for row in seen]
        assert made["label_delay_s_p50"] == pytest.approx(np.quantile(delays, 0.5))
        assert made["label_delay_s_p95"] == pytest.approx(np.quantile(delays, 0.95))
        assert (made["version"], made["epoch"]) == (epoch - FIRST + 1, epoch)


def test_the_window_fades() -> None:
    run = Learning()
    run.feed(*[label(n) for n in range(4000)], epoch_end())
    run.feed(*[label(n, FIRST + 1) for n in range(4000, 6000)], epoch_end(FIRST + 1))
    made = run.metrics()[-1]
    assert (made["labels"], made["window_labels"]) == (6000, 5000)
