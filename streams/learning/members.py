"""The members that learn each label once: a linear model and perhaps a river model.

With them what they stand on (target rates, scales of robust columns) and the calibration of the
mixture: together what a checkpoint holds and what un-learning takes back.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.calibration.affine import AffineCalibration
from models.features.encoding import Encoding
from models.features.learned import LearnedFeatures
from models.online.registry import make_online_model, make_river_member
from models.workspaces import WorkspaceConfig
from streams.learning.window import Labels

F8 = NDArray[np.float64]


class _Snapshot(msgspec.Struct):
    online: bytes
    river: bytes | None
    features: bytes
    calibration: bytes


class OnlineMembers:
    """What learns label by label for one target.

    Args:
        config: The workspace.
        encoding: Its model inputs.
    """

    def __init__(self, config: WorkspaceConfig, encoding: Encoding) -> None:
        settings = config.workspace.online
        self.online = make_online_model(settings, encoding, config.prior)
        self.river = make_river_member(settings, encoding)
        self.features = LearnedFeatures(encoding)
        self.calibration = AffineCalibration()

    def learn(self, labels: Labels) -> tuple[F8, F8]:
        """Learn at most ``features.until_change`` labels, so that scales change behind the last.

        Returns:
            What the linear and the river model said before each ``[n]``; NaN for no river model.
        """
        rows = labels.features
        online = self.online.learn(rows, labels.positive)
        river = np.full(len(labels), np.nan)
        if self.river is not None:
            river = self.river.learn(rows, labels.positive)
        self.features.learn(rows, labels.positive, labels.resolved_at)
        self._use_scales()
        return online, river

    def _use_scales(self) -> None:
        self.online.use(self.features.encoding)
        if self.river is not None:
            self.river.use(self.features.encoding)

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues bit for bit."""
        river = self.river.snapshot() if self.river is not None else None
        return msgspec.msgpack.encode(
            _Snapshot(
                self.online.snapshot(), river, self.features.snapshot(), self.calibration.snapshot()
            )
        )

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state.

        Raises:
            ValueError: it is of other models or another catalogue; some may be restored.
        """
        s = msgspec.msgpack.decode(data, type=_Snapshot)
        self.online.restore(s.online)
        if self.river is not None:
            if s.river is None:
                raise ValueError("online.river was added to the workspace")
            self.river.restore(s.river)
        self.features.restore(s.features)
        self.calibration.restore(s.calibration)
        self._use_scales()
