"""Compile (or load from numba's disk cache) every kernel of a workspace, before a worker is ready.

One made-up event goes the whole way from Arrow columns to a score and one label, so that the first
real one does not wait seconds for a compiler.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from models.calibration.affine import AffineCalibration
from models.calibration.interval import VennAbers
from models.calibration.percentile import RecentScores, percentile
from models.calibration.stack import Stack
from models.evaluation.estimate import EstimateLedger
from models.evaluation.histograms import FeatureBins
from models.evaluation.monitor import LossMonitor
from models.explain.mixture import mix
from models.explain.top import top_contributions
from models.features.encoding import Encoding
from models.features.extract import Extractor
from models.features.kernels import FeatureKernels
from models.features.rates import TargetRates
from models.features.scaling import RobustScaler
from models.online.registry import make_online_model
from models.workspaces import WorkspaceConfig


def warm(config: WorkspaceConfig) -> None:
    """Warm everything that scores or learns for this workspace; nothing is kept."""
    catalogue = config.catalogue
    numbers = pa.array([[]], pa.map_(pa.string(), pa.float64()))
    texts = pa.array([[]], pa.map_(pa.string(), pa.string()))
    Extractor(catalogue).extract(pa.array([""], pa.string()), numbers, texts)
    FeatureKernels(catalogue).warm()
    RobustScaler(catalogue).warm()
    TargetRates(1).warm()
    encoding = Encoding(catalogue)
    model = make_online_model(config.workspace.online, encoding)
    model.warm()
    row = np.zeros((1, len(catalogue.columns)), np.float32)
    mixed = mix([model.contributions(row)])
    top_contributions(mixed)
    percentile(mixed.logits, np.linspace(-1.0, 1.0, 101))
    RecentScores().add(mixed.logits, np.zeros(1, np.int64))
    AffineCalibration().learn(mixed.logits, np.zeros(1, np.bool_))
    VennAbers().warm()
    Stack(1).warm()
    FeatureBins(catalogue).warm()
    LossMonitor().warm()
    EstimateLedger().warm()
