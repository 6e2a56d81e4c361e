"""From a workspace's `online:` settings to its model."""

from __future__ import annotations

from models.features.encoding import Encoding
from models.online.ftrl import FTRL
from models.online.interface import OnlineModel
from models.workspaces import OnlineSettings


def make_online_model(settings: OnlineSettings, encoding: Encoding) -> OnlineModel:
    """A fresh model as `workspace.yaml` says: `ftrl`, `river_ftrl` or a river classifier's path.

    Raises:
        ValueError: river has no such classifier, saying what to write instead.
    """
    if settings.model == "ftrl":
        return FTRL(encoding, settings.alpha, settings.beta, settings.l1, settings.l2)
    if settings.model == "river_ftrl":
        from models.online.river_reference import RiverFTRL

        return RiverFTRL(encoding, settings.alpha, settings.beta, settings.l1, settings.l2)
    from models.online.river_model import RiverModel, river_classifier

    return RiverModel(
        encoding, river_classifier(settings.model, settings.parameters), settings.model
    )
