"""Cross-validation, for data without an order in time: everywhere else it overstates."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.champion.boosted import train_boosted
from models.champion.settings import ChampionSettings
from models.features.encoding import Encoding
from models.online.registry import make_online_model
from models.workspaces import WorkspaceConfig

FOLDS = 5
SEED = 0
TREES = 300
"""Of a champion that is trained once; one that is refitted all day makes do with fewer."""
ONLINE, CHAMPION, MIXTURE = "online", "champion", "mixture"


def cross_validated(
    config: WorkspaceConfig, features: NDArray[np.float32], positive: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Probabilities ``[n]`` of leadstream's models, each row by those of the other folds.

    Args:
        config: The workspace, for its online model and its champion's settings.
        features: Feature rows ``[n, C]``.
        positive: Outcomes ``[n]``.

    Returns:
        ``online``, ``champion`` and their ``mixture``, the mean of both logits.
    """
    encoding = Encoding(config.catalogue)
    declared = config.workspace.champion or ChampionSettings()
    settings = msgspec.structs.replace(declared, trees=TREES)
    shuffled = np.random.Generator(np.random.PCG64(SEED)).permutation(len(positive))
    online, champion = np.empty(len(positive)), np.empty(len(positive))
    for fold in range(FOLDS):
        held = shuffled[fold::FOLDS]
        known = np.sort(np.delete(shuffled, np.s_[fold::FOLDS]))
        rows, labels = features[known], positive[known]
        learner = make_online_model(config.workspace.online, encoding)
        learner.learn(rows, labels)
        trained = train_boosted(config.catalogue, rows, labels, settings)
        online[held] = learner.predict_logit(features[held])
        champion[held] = trained.predict_logit(features[held])
    logits = {ONLINE: online, CHAMPION: champion, MIXTURE: (online + champion) / 2}
    return {name: sigmoid(found) for name, found in logits.items()}
