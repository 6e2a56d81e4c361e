"""From a workspace's `online:` settings to its model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from models.features.encoding import Encoding
from models.online.adagrad import AdaGrad
from models.online.ftrl import FTRL
from models.online.interface import OnlineModel
from models.online.linear import LinearModel
from models.online.mean import Mean
from models.online.prior import Prior
from models.online.second_order import SecondOrder
from models.workspaces import OnlineSettings

if TYPE_CHECKING:
    from models.online.river_model import RiverModel

RIVER_FTRL = "river_ftrl"
_BY_PARAMETERS: dict[str, Callable[..., OnlineModel]] = {
    AdaGrad.name: AdaGrad,
    SecondOrder.name: SecondOrder,
}


def make_online_model(
    settings: OnlineSettings, encoding: Encoding, prior: Prior | None = None
) -> OnlineModel:
    """A fresh model as `workspace.yaml` says: one of ours by name, or a river classifier's path.

    Raises:
        ValueError: no such model or parameter, or one that cannot start from a prior, saying what
            to write instead.
    """
    model = _fresh(settings, encoding)
    if prior is not None:
        if not isinstance(model, LinearModel):
            raise ValueError(
                f"{settings.model} cannot start from a prior. Fix: use ftrl, adagrad, second_order "
                "or mean, or take online.prior away"
            )
        model.start_from(prior.of(encoding))
    return model


def _fresh(settings: OnlineSettings, encoding: Encoding) -> OnlineModel:
    if settings.model == FTRL.name:
        return _ftrl(settings, encoding)
    if settings.model == Mean.name:
        return Mean(encoding, [_ftrl(settings, encoding), AdaGrad(encoding), SecondOrder(encoding)])
    if settings.model in _BY_PARAMETERS:
        return _made(settings, encoding)
    if settings.model == RIVER_FTRL:
        from models.online.river_reference import RiverFTRL

        return RiverFTRL(encoding, settings.alpha, settings.beta, settings.l1, settings.l2)
    if "." not in settings.model:
        names = ", ".join([FTRL.name, *_BY_PARAMETERS, Mean.name, RIVER_FTRL])
        raise ValueError(
            f"there is no online model {settings.model!r}. Fix: write one of {names}, or the path "
            "of a river classifier such as tree.HoeffdingTreeClassifier"
        )
    from models.online.river_model import RiverModel, river_classifier

    return RiverModel(
        encoding, river_classifier(settings.model, settings.parameters), settings.model
    )


def make_river_member(settings: OnlineSettings, encoding: Encoding) -> RiverModel | None:
    """The river classifier that is one more member of the mixture, if the workspace has one.

    Raises:
        ValueError: river has no such classifier, or it does not take these parameters.
    """
    if settings.river is None:
        return None
    from models.online.river_model import RiverModel, river_classifier

    return RiverModel(
        encoding, river_classifier(settings.river, settings.river_parameters), settings.river
    )


def _ftrl(settings: OnlineSettings, encoding: Encoding) -> FTRL:
    return FTRL(encoding, settings.alpha, settings.beta, settings.l1, settings.l2)


def _made(settings: OnlineSettings, encoding: Encoding) -> OnlineModel:
    parameters: dict[str, Any] = dict(settings.parameters)
    try:
        return _BY_PARAMETERS[settings.model](encoding, **parameters)
    except TypeError as error:
        raise ValueError(f"{settings.model}: {error}. Fix: correct online.parameters") from error
