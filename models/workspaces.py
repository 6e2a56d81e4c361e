"""A configuration folder: `<folder>/<workspace>/{workspace,features,targets}.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from models.champion.settings import ChampionSettings
from models.config import ConfigError, Document, duration_us
from models.evaluation.segments import segment_names
from models.features.catalogue import FeatureCatalogue, load_catalogue
from models.features.state import check_size
from models.lifecycle.settings import LifecycleSettings
from models.lifecycle.subscribers import Subscriber
from models.online.prior import Prior, load_prior
from models.targets import Target, load_targets

Duration = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+[smhd]$")]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class OnlineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which online model learns and how fast.

    `model` is `ftrl`, `adagrad`, `second_order` or `mean` (of these three), all compiled, or
    `river_ftrl`; for experiments also the path of a river classifier such as
    `naive_bayes.GaussianNB`. `parameters` are those of the model's constructor; `alpha`, `beta`,
    `l1` and `l2` are FTRL's, also within `mean`. `prior` is a file beside workspace.yaml, of pooled
    weights to start from. `river` is the path of a river classifier that learns beside it and
    enters each score as one term; expect 100 µs a lead and more.
    """

    model: str = "ftrl"
    alpha: Positive = 0.05
    beta: Positive = 1.0
    l1: NotNegative = 0.0
    l2: NotNegative = 1.0
    parameters: dict[str, float | int | str | bool] = {}
    prior: str | None = None
    river: str | None = None
    river_parameters: dict[str, float | int | str | bool] = {}


class Workspace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`workspace.yaml`: one tenant's clock, deduplication and learning settings."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_\-]{0,63}$")]
    allowed_lateness: Duration = "5m"
    epoch: Duration = "1h"
    dedup_window: Annotated[int, msgspec.Meta(ge=0)] = 100_000
    state_ttl: Duration = "400d"
    training_window: Annotated[int, msgspec.Meta(ge=100, le=1_000_000)] = 20_000
    segment: str | None = None
    online: OnlineSettings = OnlineSettings()
    champion: ChampionSettings | None = None
    lifecycle: LifecycleSettings = LifecycleSettings()
    subscribers: tuple[Subscriber, ...] = ()

    @property
    def allowed_lateness_us(self) -> int:
        """How far the watermark stays behind the newest event, in microseconds."""
        return duration_us(self.allowed_lateness)

    @property
    def epoch_us(self) -> int:
        """Length of an epoch of event time in microseconds."""
        return duration_us(self.epoch)

    @property
    def state_ttl_us(self) -> int:
        """How long a lead without events is remembered, in microseconds of event time."""
        return duration_us(self.state_ttl)


@dataclass(frozen=True, slots=True)
class WorkspaceConfig:
    """Everything declared about one workspace."""

    workspace: Workspace
    catalogue: FeatureCatalogue
    targets: tuple[Target, ...]
    prior: Prior | None = None

    @property
    def name(self) -> str:
        """The workspace's name."""
        return self.workspace.name

    @property
    def segment_names(self) -> tuple[str, ...]:
        """Names of the segments by category id."""
        if self.workspace.segment is None:
            return ()
        return segment_names(self.catalogue, self.workspace.segment)

    def target(self, name: str) -> Target:
        """The target called `name`; KeyError lists the known ones."""
        for target in self.targets:
            if target.name == name:
                return target
        known = ", ".join(target.name for target in self.targets)
        raise KeyError(f"workspace {self.name} has no target {name!r}; it has: {known}")


def load_workspace(folder: Path | str) -> WorkspaceConfig:
    """Read one workspace's folder; its name must be the folder's.

    Raises:
        ConfigError: naming file, line and field, and what to change.
    """
    folder = Path(folder)
    document = Document(folder / "workspace.yaml")
    workspace = document.convert(Workspace)
    if workspace.name != folder.name:
        raise document.error(
            ("name",),
            f"{workspace.name!r} is not the name of its folder {folder.name!r}",
            "rename one of them so that both are equal",
        )
    if workspace.epoch_us == 0:
        raise document.error(("epoch",), "an epoch cannot be empty", "e.g. 1h or 1d")
    if workspace.state_ttl_us == 0:
        raise document.error(("state_ttl",), "every lead would be forgotten", "e.g. 400d")
    catalogue = load_catalogue(folder / "features.yaml")
    targets = load_targets(folder / "targets.yaml")
    _check_size(folder / "features.yaml", catalogue, len(targets))
    _check_subscribers(document, workspace.subscribers, {target.name for target in targets})
    categorical = [a.name for a in catalogue.attributes if a.type == "categorical"]
    if workspace.segment is not None and workspace.segment not in categorical:
        raise document.error(
            ("segment",),
            f"{workspace.segment!r} is no categorical attribute of features.yaml",
            f"write one of {', '.join(categorical) or 'them into features.yaml first'}",
        )
    return WorkspaceConfig(workspace, catalogue, targets, _prior(document, folder, workspace))


def _prior(document: Document, folder: Path, workspace: Workspace) -> Prior | None:
    if workspace.online.prior is None:
        return None
    try:
        return load_prior(folder / workspace.online.prior)
    except ValueError as error:
        raise document.error(
            ("online", "prior"), str(error), "write one by `leadstream train prior --out FILE`"
        ) from error


def _check_size(path: Path, catalogue: FeatureCatalogue, targets: int) -> None:
    try:
        check_size(catalogue, targets)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _check_subscribers(
    document: Document, subscribers: tuple[Subscriber, ...], targets: set[str]
) -> None:
    pairs = [(subscriber.name, subscriber.target) for subscriber in subscribers]
    for index, (name, target) in enumerate(pairs):
        if target not in targets:
            raise document.error(
                ("subscribers", index, "target"),
                f"no target {target!r}",
                f"name one of targets.yaml: {', '.join(sorted(targets))}",
            )
        if (name, target) in pairs[:index]:
            raise document.error(
                ("subscribers", index, "name"),
                f"{name!r} is there twice for {target}",
                "give each its own name",
            )


def load_workspaces(folder: Path | str) -> dict[str, WorkspaceConfig]:
    """Every workspace in a configuration folder, by name, in alphabetical order.

    Raises:
        ConfigError: a workspace cannot be used, or the folder has none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder. Fix: name a folder of workspaces")
    paths = sorted(path.parent for path in folder.glob("*/workspace.yaml"))
    if not paths:
        raise ConfigError(
            f"{folder}: holds no workspace. Fix: add <name>/workspace.yaml, features.yaml and "
            "targets.yaml (infra/dev/workspaces has examples)"
        )
    return {path.name: load_workspace(path) for path in paths}
