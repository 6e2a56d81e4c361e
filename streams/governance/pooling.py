"""Pools what several workspaces learned into the prior that a new one starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.features.encoding import Encoding
from models.online.prior import Prior, pooled
from models.workspaces import WorkspaceConfig
from streams.engine.errors import ConfigurationError
from streams.governance.log import rows
from streams.settings import Settings


def pool(
    settings: Settings, configs: Mapping[str, WorkspaceConfig], names: Sequence[str], target: str
) -> Prior:
    """The newest online weights of these workspaces, as one prior.

    Raises:
        ConfigurationError: a workspace has no such target, or nothing was learned yet.
    """
    parts: list[tuple[str, dict[str, float], int]] = []
    newest = {key.decode(): row for key, row in rows(settings, "models.current") if row}
    for name in names:
        config = configs.get(name)
        if config is None or target not in [t.name for t in config.targets]:
            raise ConfigurationError(f"{name} {target} is not configured in {settings.workspaces}")
        row = newest.get(f"{name}/{target}/online")
        inputs = Encoding(config.catalogue).input_names
        if row is not None and len(row["weights"]) == len(inputs):
            weights = dict(zip(inputs, row["weights"], strict=True))
            parts.append((name, weights, int(row["labels_learned"])))
    try:
        return pooled(parts)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
