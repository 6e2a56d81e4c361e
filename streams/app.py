"""The composition root: settings in, a worker of one role out.

Every role is declared once in :data:`ROLES`; the command line, topic creation, rebuild and the
local runner take it from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.dev.places import dev_folder
from models.config import ConfigError
from models.features.encoding import Encoding
from models.lifecycle.signing import KeyFileError, Signer, Verifier, ensure_development_key
from models.workspaces import WorkspaceConfig, load_workspaces
from schemas import registry as schemas
from streams import topics
from streams.engine.broadcast import Broadcast
from streams.engine.broker import KafkaBroker
from streams.engine.codec import Codec
from streams.engine.errors import ConfigurationError, InvalidRecord, RetryableError
from streams.engine.opening import TaskWiring
from streams.engine.processor import Processor
from streams.engine.warm import warm
from streams.engine.worker import EngineWorker
from streams.identity.metrics import IdentityMetrics
from streams.identity.processor import IdentityProcessor
from streams.learning.metrics import LearningMetrics
from streams.learning.processor import LearningProcessor
from streams.metrics import EngineMetrics
from streams.scoring.metrics import ModelMetrics
from streams.scoring.model_store import ModelStore
from streams.scoring.processor import ScoringProcessor
from streams.settings import Settings

Workspaces = Mapping[str, WorkspaceConfig]


@dataclass(frozen=True, slots=True)
class Parts:
    """What roles are built from.

    signer: of champions; None where what is published stays in the process.
    """

    workspaces: Workspaces
    metrics: EngineMetrics
    signer: Signer | None = None


@dataclass(frozen=True, slots=True)
class Role:
    """One role: its work, what it reads, and the broadcast topics it follows."""

    name: str
    inputs: tuple[str, ...]
    build: Callable[[Parts], Processor]
    broadcast: tuple[str, ...] = ()
    signs: bool = False


ROLES: Mapping[str, Role] = {
    role.name: role
    for role in (
        Role(
            "identity",
            IdentityProcessor.inputs,
            lambda parts: IdentityProcessor(
                parts.workspaces, IdentityMetrics(parts.metrics.registry).observe
            ),
        ),
        Role(
            "scoring",
            ScoringProcessor.inputs,
            lambda parts: ScoringProcessor(parts.workspaces),
            ("models.current", "market.indicators"),
        ),
        Role(
            "learning",
            LearningProcessor.inputs,
            lambda parts: LearningProcessor(
                parts.workspaces, parts.signer, LearningMetrics(parts.metrics.registry).observe
            ),
            signs=True,
        ),
    )
}


def workspaces_of(settings: Settings) -> Workspaces:
    """Read the configuration folder.

    Raises:
        ConfigurationError: a file is missing or wrong; the message says which and what to change.
    """
    try:
        return load_workspaces(settings.workspaces)
    except ConfigError as error:
        raise ConfigurationError(str(error)) from error


def model_store(workspaces: Workspaces, verifier: Verifier | None = None) -> ModelStore:
    """An empty snapshot of the broadcast topics; without a verifier nothing must be signed."""
    encodings = {n: Encoding(c.catalogue) for n, c in workspaces.items()}
    return ModelStore(workspaces, encodings, verifier)


def signer_of(settings: Settings) -> Signer:
    """The key that signs champions; in development one that is made once.

    Raises:
        ConfigurationError: the key file cannot be used.
    """
    try:
        if settings.signing_key is not None:
            return Signer.from_file(settings.signing_key)
        return Signer.from_file(ensure_development_key(dev_folder() / "keys"))
    except KeyFileError as error:
        raise ConfigurationError(f"LEADSTREAM_SIGNING_KEY: {error}") from error


def verifier_of(settings: Settings) -> Verifier:
    """The keys whose signatures are believed; in development the one that signs here.

    Raises:
        ConfigurationError: there is no key, or one cannot be used.
    """
    try:
        if settings.trusted_keys is not None:
            return Verifier.from_folder(settings.trusted_keys)
    except KeyFileError as error:
        raise ConfigurationError(f"LEADSTREAM_TRUSTED_KEYS: {error}") from error
    return signer_of(settings).verifier


def new_codec(settings: Settings) -> Callable[[str], Codec]:
    """A function that makes the codec of a logical topic.

    It raises RetryableError while the schema registry does not answer, and ConfigurationError when
    it refuses our schema.
    """
    registry = schemas.Registry.open(settings.schema_registry_url or None)

    def writer_schema(schema_id: int) -> str:
        try:
            return registry.by_id(schema_id)
        except schemas.RegistryUnavailable as error:
            raise RetryableError(str(error)) from error
        except schemas.UnknownSchemaId as error:
            raise InvalidRecord(str(error)) from error

    def make(topic: str) -> Codec:
        name = topics.topic(topic).schema
        try:
            own = registry.writing_id(name, settings.topic_prefix + topic)
        except schemas.RegistryUnavailable as error:
            raise RetryableError(str(error)) from error
        except schemas.SchemaRejected as error:
            raise ConfigurationError(str(error)) from error
        return Codec(schemas.schema_json(name), own, writer_schema)

    return make


def group_of(settings: Settings, role: str) -> str:
    """Consumer group of a role."""
    return f"{settings.topic_prefix}leadstream-{role}"


def wire(settings: Settings, role: Role, workspaces: Workspaces) -> TaskWiring:
    """Everything that the tasks of a role share."""
    broker = KafkaBroker(settings.kafka_bootstrap)
    changelog = topics.changelog_topic(role.name).name
    names = {settings.topic_prefix + t: t for t in (*topics.all_topics(), changelog)}
    found = broker.partitions(list(names))
    partitions = {names[physical]: count for physical, count in found.items()}
    missing = [t for t in (*role.inputs, *role.broadcast, changelog) if t not in partitions]
    if missing:
        raise ConfigurationError(
            f"topics are missing on {settings.kafka_bootstrap}: "
            f"{', '.join(settings.topic_prefix + t for t in missing)}; "
            "run `leadstream topics create`"
        )
    counts = {t: partitions[t] for t in (*role.inputs, changelog)}
    if len(set(counts.values())) > 1:
        raise ConfigurationError(
            f"inputs and changelog of {role.name} need equal partition counts, found {counts}"
        )
    metrics = EngineMetrics()
    signer = signer_of(settings) if role.signs else None
    processor = role.build(Parts(workspaces, metrics, signer))
    warm()
    if hasattr(processor, "warm"):
        processor.warm()
    return TaskWiring(
        settings=settings,
        processor=processor,
        broker=broker,
        metrics=metrics,
        partitions=partitions,
        new_codec=new_codec(settings),
        group=group_of(settings, role.name),
        changelog_topic=settings.topic_prefix + changelog,
        models=model_store(workspaces, verifier_of(settings)) if role.broadcast else None,
    )


def build_worker(settings: Settings, role_name: str) -> EngineWorker:
    """Compose a worker of a role.

    Raises:
        ConfigurationError: unknown role, missing topics, wrong configuration.
    """
    role = ROLES.get(role_name)
    if role is None:
        raise ConfigurationError(f"no role {role_name!r}; there are: {', '.join(ROLES)}")
    wiring = wire(settings, role, workspaces_of(settings))
    broadcast: Broadcast | None = None
    if role.broadcast:
        physical = {wiring.physical(t): t for t in role.broadcast}
        broadcast = Broadcast(
            settings.kafka_bootstrap,
            {p: wiring.partitions[t] for p, t in physical.items()},
            {p: wiring.codec(t) for p, t in physical.items()},
            _Followed(wiring),
            wiring.models_changed,
        )
    return EngineWorker(wiring, broadcast)


class _Followed:
    """Hands broadcast records on and shows the versions in use as metrics."""

    def __init__(self, wiring: TaskWiring) -> None:
        self._wiring, self._metrics = wiring, ModelMetrics(wiring.metrics.registry)
        self._topics = {wiring.physical(t): t for t in ROLES[wiring.processor.role].broadcast}

    def apply(self, topic: str, key: bytes, value: dict[str, Any] | None) -> None:
        """Take one record over."""
        store: ModelStore = self._wiring.models
        store.apply(self._topics[topic], key, value)
        gauge, role = self._wiring.metrics.model_version, self._wiring.processor.role
        for labels, version in store.versions().items():
            gauge.labels(role, *labels).set(version)
        self._metrics.observe(store)
