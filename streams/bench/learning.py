"""``leadstream bench learning``: labels a second of the learning role, model by model.

The labels are those of the shipped bank_marketing excerpt, made by identity, scoring and ledger in
the local runner, and learned over and over in batches of a live worker's size. What is timed of
each model is all that learning a label causes: live figures, recent scores, calibration, interval,
training window and the model; of the whole role also publishing, refits and the state to keep.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from connectors.files.mapping import load_mapping
from connectors.files.pipeline import source_batches
from connectors.files.shipped import shipped_excerpt, shipped_mapping
from models.features.encoding import Encoding
from models.online.interface import OnlineModel
from models.workspaces import OnlineSettings, WorkspaceConfig
from streams.app import signer_of, workspaces_of
from streams.engine.state import State
from streams.evaluation.collect import ResolvedRows
from streams.evaluation.local import run_local
from streams.learning.learner import Learner
from streams.learning.records import Published
from streams.learning.window import Labels
from streams.settings import load

MODELS = ("ftrl", "adagrad", "second_order", "mean")
_WORKSPACE, _MAPPING, _BATCH = "bank", "bank_marketing", 100
_WARM_UP = 2_000
_ROLE_LABELS = 10_000


def run(labels: int, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Learn so many labels with each linear online model.

    Returns:
        ``labels_per_s`` and ``cpu_us_per_label`` of the workspace's own model, and of each in
        ``models``, with ``model_us_per_label`` and ``model_labels_per_s`` for the model alone;
        ``role``: what a label costs all in all. By CPU time of one core.
    """
    config = workspaces_of(load(kafka_bootstrap="unused"))[_WORKSPACE]
    rows = excerpt_labels(config)
    say(f"{len(rows.positive):,} labels of the excerpt, learned again and again")
    found = []
    for name in MODELS:
        found.append({"model": name, **_measured(config, name, rows, labels)})
        say(f"{name}: {found[-1]['labels_per_s']:,} labels/s")
    own = next(each for each in found if each["model"] == config.workspace.online.model)
    return {
        "bench": "learning",
        "labels": labels,
        "inputs": Encoding(config.catalogue).size,
        "labels_per_s": own["labels_per_s"],
        "cpu_us_per_label": own["cpu_us_per_label"],
        "models": found,
        "role": _whole(config, rows, min(labels, _ROLE_LABELS), say),
    }


def _whole(
    config: WorkspaceConfig, rows: Labels, count: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """CPU µs that a label costs the whole role, as the workspace is configured.

    Learned and published 100 at a time, the champion of the workspace judged beside and refitted on
    its schedule; ``keep`` is the state for the changelog. ``refit_ms`` is one refit.
    """
    state = State([Learner.table(config, config.targets[0])])
    signer = signer_of(load(kafka_bootstrap="unused"))
    learner = Learner(config, Encoding(config.catalogue), config.targets[0], state, signer)
    spent = {"learn": 0.0, "publish": 0.0, "refit": 0.0, "keep": 0.0}
    refits = []

    def learn(part: Labels, counts: bool) -> None:
        times = [time.process_time()]
        learner.learn(part)
        times.append(time.process_time())
        published = Published()
        learner.publish(learner.labels * 1_000_000, published)
        published.outputs()
        times.append(time.process_time())
        learner.keep()
        state.blobs.take_changes()
        times.append(time.process_time())
        if not counts:
            return
        learned, made, kept = np.diff(times).tolist()
        refitted = any(row["action"] == "trained" for row in published.lifecycle)
        refits.extend([made] * refitted)
        spent["refit" if refitted else "publish"] += made
        spent["learn"] += learned
        spent["keep"] += kept

    _learn(lambda part: learn(part, False), rows, _WARM_UP)
    _learn(lambda part: learn(part, True), rows, count)
    us = {f"{name}_us": round(s / count * 1e6, 1) for name, s in spent.items()}
    whole = sum(spent.values()) / count * 1e6
    say(f"the whole role: {whole:.0f} µs a label, {us}")
    return {
        "labels_per_s": round(1e6 / whole),
        "cpu_us_per_label": round(whole, 1),
        **us,
        "refits": len(refits),
        "refit_ms": round(1000 * float(np.median(refits)), 1) if refits else None,
    }


def excerpt_labels(config: WorkspaceConfig) -> Labels:
    """Labels of the shipped bank_marketing excerpt, as identity, scoring and ledger make them."""
    mapping, excerpt = shipped_mapping(_MAPPING), shipped_excerpt(_MAPPING)
    if mapping is None or excerpt is None:
        raise RuntimeError(f"the shipped mapping and excerpt of {_MAPPING} are missing")
    batches = source_batches(load_mapping(mapping), [excerpt])
    target = config.targets[0].name
    made: ResolvedRows = run_local({config.name: config}, config.name, target, batches).rows
    keys = np.zeros((len(made), 2), np.uint64)
    keys[:, 0] = np.arange(len(made))
    return Labels(
        keys,
        made.features(),
        made.column("positive").astype(np.bool_),
        made.column("logit").astype(np.float64),
        made.column("row_time").astype(np.int64),
        made.column("resolved_at").astype(np.int64),
    )


def _measured(config: WorkspaceConfig, model: str, rows: Labels, count: int) -> dict[str, Any]:
    online = OnlineSettings(model=model)
    workspace = msgspec.structs.replace(config.workspace, online=online)
    changed = WorkspaceConfig(workspace, config.catalogue, config.targets)
    state = State([Learner.table(changed, config.targets[0])])
    learner = Learner(changed, Encoding(config.catalogue), config.targets[0], state)
    _learn(learner.learn, rows, _WARM_UP)
    whole_us = _learn(learner.learn, rows, count)
    alone: OnlineModel = learner.online
    model_us = _learn(lambda part: alone.learn(part.features, part.positive), rows, count)
    return {
        "labels_per_s": round(1e6 / whole_us),
        "cpu_us_per_label": round(whole_us, 2),
        "model_us_per_label": round(model_us, 2),
        "model_labels_per_s": round(1e6 / model_us),
    }


def _learn(learn: Callable[[Labels], object], rows: Labels, count: int) -> float:
    """CPU µs a label."""
    done, started = 0, time.process_time()
    while done < count:
        at = done % (len(rows) - _BATCH)
        part = rows.part(slice(at, at + min(_BATCH, count - done)))
        part.keys[:, 1] += np.uint64(1)  # labels that were not there before
        learn(part)
        done += len(part)
    return (time.process_time() - started) / count * 1e6
