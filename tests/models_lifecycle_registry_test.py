"""The registry keeps every version with where it came from, and says what was in use when."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastavro.schema import load_schema
from fastavro.validation import validate_many

from models.champion.artifact import ArtifactError, artifact_version
from models.lifecycle.history import LifecycleEvent
from models.lifecycle.lineage import Lineage
from models.lifecycle.registry import ModelRegistry, RegistryError
from models.lifecycle.signing import Signer
from models.lifecycle.transitions import Action, Transition

ROOT = Path(__file__).parent.parent
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
ARTIFACTS = [f"graph {index}".encode() * 20 for index in range(3)]
FIRST, SECOND, THIRD = (artifact_version(artifact) for artifact in ARTIFACTS)
SECOND_US = 1_000_000


def lineage(index: int, **changes: object) -> Lineage:
    made = Lineage(
        "bank", "conversion", "c0ffee", 1_000 * (index + 1), 100, 0, 5 * SECOND_US, 6 * SECOND_US,
        f"sha256-rows-1:{index}", "0.1.0", {"trees": 100 + index, "rate": 0.1},
        {"auc": 0.7 + index / 100, "log_loss": 0.25},
    )  # fmt: skip
    return Lineage(**{name: getattr(made, name) for name in made.__struct_fields__} | changes)


def register(registry: ModelRegistry, index: int) -> str:
    signature = SIGNER.sign(ARTIFACTS[index], "bank", "conversion", "c0ffee")
    terms = {"age": 0.2 + index, "job": 0.1}
    return registry.register(lineage(index), ARTIFACTS[index], signature, terms)


def events(*steps: tuple[str, str]) -> list[LifecycleEvent]:
    made = []
    for number, (action, version) in enumerate(steps, start=1):
        step = Transition(number, action, version, f"because {number}", "learning", {}, {}, number)
        made.append(LifecycleEvent.of(step, "bank", "conversion", number * SECOND_US))
    return made


LOG = events(
    ("trained", FIRST), ("shadow", FIRST), ("gated", FIRST), ("promoted", FIRST),
    ("trained", SECOND), ("shadow", SECOND), ("canary", SECOND), ("promoted", SECOND),
    ("retired", FIRST), ("rolled_back", FIRST), ("retired", SECOND),
    ("alarm", FIRST), ("trained", THIRD), ("canary", THIRD), ("refused", "unknown"),
)  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty registry; making one takes a second."""
    folder = tmp_path_factory.mktemp("template")
    ModelRegistry.local(folder)
    return folder / "registry.db"


@pytest.fixture
def registry(template: Path, tmp_path: Path) -> ModelRegistry:
    (tmp_path / "registry.db").write_bytes(template.read_bytes())
    return ModelRegistry.local(tmp_path)


def contents(registry: ModelRegistry) -> list[tuple]:
    return [
        (e.version, e.state, e.aliases, e.lineage) for e in registry.entries("bank", "conversion")
    ]


def test_a_version_is_kept_with_all_that_it_came_from(registry: ModelRegistry) -> None:
    assert register(registry, 0) == FIRST
    entry = registry.show("bank", "conversion", FIRST)
    assert entry.lineage == lineage(0)
    assert (entry.state, entry.aliases) == ("training", ())
    fetched = registry.fetch("bank", "conversion", FIRST, "c0ffee", SIGNER.verifier)
    assert fetched.artifact == ARTIFACTS[0]


def test_states_and_aliases_follow_the_log(registry: ModelRegistry) -> None:
    for index in range(3):
        register(registry, index)
    registry.apply(*LOG)
    assert [(e.version, e.state, e.aliases) for e in registry.entries()] == [
        (FIRST, "champion", ("champion",)),
        (SECOND, "retired", ()),
        (THIRD, "canary", ("challenger",)),
    ]
    assert registry.show("bank", "conversion", "champion").version == FIRST
    registry.apply(*events(*[("gated", FIRST)] * 15, ("retired", FIRST), ("retired", THIRD))[-2:])
    assert [e.aliases for e in registry.entries()] == [(), (), ()]


def test_giving_everything_twice_and_in_any_order_changes_nothing(
    registry: ModelRegistry, template: Path, tmp_path: Path
) -> None:
    for index in range(3):
        register(registry, index)
    for event in LOG:
        registry.apply(event)
    before = contents(registry)
    for index in range(3):
        register(registry, index)
    registry.apply(*LOG)
    assert contents(registry) == before

    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "registry.db").write_bytes(template.read_bytes())
    again = ModelRegistry.local(tmp_path / "again")
    mixed = random.Random(1).sample(LOG, len(LOG))
    again.apply(*mixed[:8])  # a log that is given before the artifacts
    for index in range(3):
        register(again, index)
    again.apply(*mixed[8:])
    assert contents(again) == before
    assert again.history("bank", "conversion") == registry.history("bank", "conversion")


def test_events_pass_through_their_records_unchanged() -> None:
    assert [LifecycleEvent.of_record(event.record()) for event in LOG] == LOG
    published = LOG[0].record() | {"details": {}}
    with pytest.raises(ValueError, match="no event of a champion's slot"):
        LifecycleEvent.of_record(published)


def test_records_are_those_of_the_topic() -> None:
    schema = load_schema(ROOT / "schemas" / "model_lifecycle.avsc")
    records = [event.record() for event in LOG]
    assert validate_many(records, schema, strict=True)
    (action,) = [field["type"] for field in schema["fields"] if field["name"] == "action"]
    assert set(get_args(Action)) <= set(action["symbols"])


def test_history_says_what_was_in_use_when_and_why_it_ended(registry: ModelRegistry) -> None:
    registry.apply(*LOG)
    history = registry.history("bank", "conversion")
    assert [(p.version, p.since, p.until) for p in history.periods] == [
        (FIRST, 4 * SECOND_US, 8 * SECOND_US),
        (SECOND, 8 * SECOND_US, 10 * SECOND_US),
        (FIRST, 10 * SECOND_US, None),
    ]
    assert history.periods[1].ended_by == "rolled_back by learning: because 10"
    assert history.in_use(3 * SECOND_US) is None
    assert history.in_use(9 * SECOND_US) == SECOND
    assert history.in_use(99 * SECOND_US) == FIRST
    assert history.events == tuple(LOG)


def test_a_difference_shows_what_changed_and_only_that(registry: ModelRegistry) -> None:
    for index in range(3):
        register(registry, index)
    found = registry.diff("bank", "conversion", FIRST, THIRD)
    assert (found.before, found.after) == (FIRST, THIRD)
    assert [(c.name, c.before, c.after) for c in found.parameters] == [("trees", 100, 102)]
    assert [c.name for c in found.figures] == ["auc"]
    assert [(c.name, c.before, c.after) for c in found.terms] == [("age", 0.2, 2.2)]
    assert {c.name for c in found.origin} == {"labels", "digest"}


def test_an_artifact_changed_on_disk_is_not_given_out(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    register(registry, 0)
    path = next(tmp_path.glob(f"artifacts/**/{FIRST}.onnx"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="cut short"):
        registry.fetch("bank", "conversion", FIRST, "c0ffee", SIGNER.verifier)
    path.unlink()
    with pytest.raises(RegistryError, match="Fix: "):
        registry.fetch("bank", "conversion", FIRST, "c0ffee", SIGNER.verifier)


def test_what_a_crash_left_half_done_is_completed(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry._client, "create_model_version", crash)
        with pytest.raises(KeyboardInterrupt):
            register(registry, 0)
    assert registry.entries() == []
    register(registry, 0)
    experiment = registry._client.get_experiment_by_name("bank.conversion.champion")
    assert len(registry._client.search_runs([experiment.experiment_id])) == 1
    assert registry.fetch("bank", "conversion", FIRST[:6], "c0ffee", SIGNER.verifier)


def test_an_unknown_version_names_the_known_ones(registry: ModelRegistry) -> None:
    with pytest.raises(RegistryError, match="train a champion first"):
        registry.show("bank", "conversion", FIRST)
    register(registry, 0)
    with pytest.raises(RegistryError, match=f"unknown.*{FIRST}"):
        registry.show("bank", "conversion", "beef")
    register(registry, 1)
    with pytest.raises(RegistryError, match="beginning of several"):
        registry.show("bank", "conversion", "")


def test_models_of_others_on_the_same_server_are_left_alone(registry: ModelRegistry) -> None:
    registry._client.create_registered_model("somebody else's")
    registry._client.create_registered_model("bank.churn.champion")
    registry._client.create_model_version("bank.churn.champion", "file:///nowhere")
    assert registry.entries() == []


def test_a_server_that_cannot_be_reached_is_told_without_its_password() -> None:
    with pytest.raises(RegistryError, match="Fix: check the URL") as refused:
        ModelRegistry("http://somebody:secret@127.0.0.1:9")
    assert "127.0.0.1" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_it_is_quiet_and_loads_mlflow_only_when_opened(tmp_path: Path) -> None:
    program = f"""
import sys
from models.lifecycle.registry import ModelRegistry
from models.lifecycle import gate, preview, signing, states
assert "mlflow" not in sys.modules and "sqlalchemy" not in sys.modules
ModelRegistry.local({str(tmp_path)!r}).entries()
from mlflow.telemetry.utils import is_telemetry_disabled
assert is_telemetry_disabled()
"""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", program],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
