"""After warming, a real batch compiles nothing more."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from models.calibration.affine import AffineCalibration
from models.calibration.interval import VennAbers
from models.calibration.percentile import RecentScores, percentile
from models.calibration.stack import Stack
from models.evaluation.estimate import EstimateLedger
from models.evaluation.histograms import FeatureBins, counts_of
from models.evaluation.monitor import LossMonitor
from models.explain.mixture import mix
from models.explain.top import top_contributions
from models.features.encoding import Encoding
from models.features.extract import Extractor
from models.features.kernels import FeatureKernels
from models.features.rates import TargetRates
from models.features.scaling import RobustScaler
from models.features.state import StateViews, lead_dtype
from models.online.ftrl import FTRL
from models.warm import warm
from models.workspaces import load_workspaces

KERNELS = {
    "models.features.kernels": ("_update_rows", "_feature_rows"),
    "models.features.extract": ("_merged",),
    "models.features.encoding": ("_contributions", "_sparse"),
    "models.features.rates": ("_learn",),
    "models.features.scaling": ("_push",),
    "models.online.ftrl": ("_learn",),
    "models.calibration.affine": ("_learn",),
    "models.calibration.percentile": ("_add", "_percentile"),
    "models.calibration.interval": ("_curves",),
    "models.calibration.stack": ("_learn",),
    "models.evaluation.adwin": ("_update",),
    "models.evaluation.estimate": ("_add_labels",),
    "models.evaluation.histograms": ("_count_rows", "_count_logits"),
    "models.evaluation.monitor": ("_losses",),
    "models.explain.mixture": ("_sum_terms",),
    "models.explain.top": ("_top",),
}


def compiled() -> dict[str, int]:
    found = {}
    for module, names in KERNELS.items():
        for name in names:
            kernel: Any = getattr(importlib.import_module(module), name)
            found[f"{module}.{name}"] = len(kernel.signatures)
    return found


def watch(catalogue: Any, rows: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> None:
    """Everything that looks at scores and labels, with read-only and strided arrays."""
    scaler = RobustScaler(catalogue)
    scaler.add(rows[::2])
    rates = TargetRates(1)
    rates.learn(np.zeros(len(labels[::2]), np.int32), labels[::2], np.arange(len(labels[::2])))
    rates.rates(10**9)
    interval = VennAbers()
    interval.learn(logits[::2], labels[::2])
    interval.table()
    Stack(2).learn(np.stack([logits, logits])[:, ::2].T, labels[::2])
    counts_of(FeatureBins(catalogue), rows[::2], logits[::2])
    LossMonitor().learn(logits[::2], labels[::2])
    ledger = EstimateLedger()
    again = EstimateLedger()
    again.restore(ledger.snapshot())
    again.add_labels(np.zeros(len(labels), np.int64)[::2], logits[::2], labels[::2])
    monitor = LossMonitor()
    monitor.restore(LossMonitor().snapshot())
    monitor.learn(logits, labels)


def test_nothing_compiles_after_warming() -> None:
    folder = Path(__file__).parent.parent / "infra" / "dev" / "workspaces"
    config = load_workspaces(folder)["shop"]
    warm(config)
    before = compiled()
    assert all(before.values())

    catalogue, count = config.catalogue, 50
    columns = pa.record_batch(
        {
            "kind": pa.array(["session", "other"] * 25),
            "numbers": pa.array(
                [[("page_values", 1.5)]] * count, pa.map_(pa.string(), pa.float64())
            ),
            "texts": pa.array([[("month", "May")]] * count, pa.map_(pa.string(), pa.string())),
            "occurred_at": pa.array(range(count), pa.timestamp("us")),
        }
    ).slice(10)
    count -= 10
    found = Extractor(catalogue).extract(columns["kind"], columns["numbers"], columns["texts"])
    times = columns["occurred_at"].cast(pa.int64()).to_numpy()
    table = np.zeros(64, lead_dtype(catalogue, [("mine", "f8")]))
    views = StateViews.of(table)
    leads = np.arange(2 * count)[::2]
    kernels, model = FeatureKernels(catalogue), FTRL(Encoding(catalogue))
    rows = kernels.update_rows(
        views, leads % 64, times, found.kind, found.attr_event, found.attr_slot, found.attr_value
    )
    kernels.feature_rows(views, leads[:5], times[:5])
    kept = np.frombuffer(rows.tobytes(), np.float32).reshape(rows.shape)
    labels = np.frombuffer(b"\x00\x01" * (count // 2), np.bool_)
    model.learn(kept, labels)
    again = FTRL(Encoding(catalogue))
    again.restore(model.snapshot())
    again.learn(kept[::2], labels[::2])
    mixed = mix([again.contributions(rows[3:])], 0.9, 0.1)
    top_contributions(mixed)
    percentile(mixed.logits, np.frombuffer(np.linspace(-1, 1, 101).tobytes()))
    RecentScores().add(mixed.logits, times[3:])
    AffineCalibration().learn(mixed.logits, labels[3:])
    watch(catalogue, kept, mixed.logits, labels[3:])
    assert compiled() == before
