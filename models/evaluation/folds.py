"""Cross-validation, for data without an order in time: everywhere else it overstates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.features.encoding import Encoding
from models.online.registry import make_online_model
from models.workspaces import WorkspaceConfig

FOLDS = 5
SEED = 0


def cross_validated(
    config: WorkspaceConfig, features: NDArray[np.float32], positive: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Probabilities ``[n]`` of the workspace's models, each row by those of the other folds.

    Args:
        features: Feature rows ``[n, C]``.
        positive: Outcomes ``[n]``.
    """
    encoding = Encoding(config.catalogue)
    shuffled = np.random.Generator(np.random.PCG64(SEED)).permutation(len(positive))
    logits = np.empty(len(positive))
    for fold in range(FOLDS):
        held = shuffled[fold::FOLDS]
        known = np.sort(np.setdiff1d(shuffled, held))
        model = make_online_model(config.workspace.online, encoding)
        model.learn(features[known], positive[known])
        logits[held] = model.predict_logit(features[held])
    return sigmoid(logits)
