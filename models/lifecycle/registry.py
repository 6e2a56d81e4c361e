"""Versions of champions in an MLflow registry: artifacts, lineage, states, and the whole log.

A slot is the registered model `<workspace>.<target>.champion`. A version is one of its model
versions with a run that holds the artifact (named by its SHA-256), signature, lineage and the sizes
of its terms. The slot's log stands in the registered model's tags, an event each; aliases
`champion` and `challenger` and the versions' states follow from the log alone. So everything may be
given twice, and giving a log again gives the same registry.

MLflow takes a second to import and two to make a first sqlite file; it is imported when a registry
is opened, never by a worker. One writer a slot is assumed.
"""

from __future__ import annotations

import logging
import math
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from models.champion.artifact import ArtifactError, artifact_version
from models.lifecycle.difference import Difference, difference
from models.lifecycle.history import LifecycleEvent, SlotHistory, slot_history
from models.lifecycle.lineage import Lineage
from models.lifecycle.signing import Verifier

ALIASES = ("champion", "challenger")
_LIBRARIES = ("mlflow", "sqlalchemy", "alembic", "requests", "urllib3")
_EVENT = "event."
_SIGNATURE, _LINEAGE, _TERMS = "signature.txt", "lineage.json", "terms.json"


class RegistryError(ValueError):
    """The registry cannot do what was asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One version as the registry knows it.

    Attributes:
        workspace: Of the slot.
        target: Of the slot.
        version: The first 12 digits of its artifact's SHA-256.
        number: MLflow's own count of the slot's versions.
        state: training, shadow, canary, champion or retired.
        aliases: champion, challenger.
        lineage: Where it comes from.
    """

    workspace: str
    target: str
    version: str
    number: int
    state: str
    aliases: tuple[str, ...]
    lineage: Lineage


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified artifact with its signature."""

    artifact: bytes
    signature: str
    version: str


class ModelRegistry:
    """The registry behind a tracking server's URL or a sqlite file.

    Args:
        url: `sqlite:///<path>`, or a tracking server such as `https://mlflow.example.com`.
        artifacts: Folder of the artifacts; None leaves them to the server.

    Raises:
        RegistryError: MLflow is not installed, or the registry cannot be opened.
    """

    def __init__(self, url: str, artifacts: Path | None = None) -> None:
        self._url = url
        self._artifacts = artifacts
        with _told(self._url):
            self._client = _client(url)

    @classmethod
    def local(cls, folder: Path | str) -> ModelRegistry:
        """The registry in a folder: `registry.db` and `artifacts/`, made if not there."""
        folder = Path(folder).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{folder / 'registry.db'}", folder / "artifacts")

    def register(
        self,
        lineage: Lineage,
        artifact: bytes,
        signature: str,
        terms: Mapping[str, float] | None = None,
    ) -> str:
        """Take a version in, once; its name comes from the artifact's bytes.

        Args:
            lineage: Where it comes from; names the slot.
            artifact: Its bytes.
            signature: Of `Signer.sign`.
            terms: Sizes of its terms (`difference.term_sizes`).

        Returns:
            The version.
        """
        version, name = artifact_version(artifact), _name(lineage.workspace, lineage.target)
        with _told(self._url):
            if self._find(name, version) is None:
                self._ensure_model(name)
                files = {
                    f"{version}.onnx": artifact,
                    _SIGNATURE: signature.encode(),
                    _LINEAGE: msgspec.json.encode(lineage),
                    _TERMS: msgspec.json.encode(dict(terms or {}), order="sorted"),
                }
                run = self._run(name, version, lineage, files)
                tags = {
                    "version": version,
                    "state": "training",
                    "lineage": msgspec.json.encode(lineage).decode(),
                    "terms": files[_TERMS].decode(),
                }
                self._client.create_model_version(
                    name,
                    run.info.artifact_uri,
                    run_id=run.info.run_id,
                    tags=tags,
                    description=_words(lineage),
                )
            # a log that was given first says more of the version than that it exists
            self._follow(name, slot_history(self._events(name)))
        return version

    def apply(self, *events: LifecycleEvent) -> None:
        """Take events of the log in, in any order, each as often as one likes."""
        slots: dict[str, list[LifecycleEvent]] = {}
        for event in events:
            slots.setdefault(_name(event.workspace, event.target), []).append(event)
        with _told(self._url):
            for name, own in slots.items():
                self._ensure_model(name)
                known = {event.place: event for event in self._events(name)}
                for event in own:
                    if known.get(event.place) == event:
                        continue
                    key = f"{_EVENT}{event.occurred_at:020d}.{event.number:09d}"
                    text = msgspec.json.encode(event, order="sorted").decode()
                    self._client.set_registered_model_tag(name, key, text)
                    known[event.place] = event
                self._follow(name, slot_history(known.values()))

    def entries(self, workspace: str | None = None, target: str | None = None) -> list[Entry]:
        """Versions of all slots, or of one workspace's or target's; oldest first in each slot."""
        entries: list[Entry] = []
        with _told(self._url):
            for model in _pages(self._client.search_registered_models):
                slot = _slot(model.name)
                if slot is None or (workspace or slot[0], target or slot[1]) != slot:
                    continue
                entries += [self._entry(model, version) for version in self._versions(model.name)]
        return entries

    def show(self, workspace: str, target: str, version: str) -> Entry:
        """One version, by name, alias or the beginning of its name.

        Raises:
            RegistryError: no such version, or several.
        """
        with _told(self._url):
            model, found = self._one(workspace, target, version)
            return self._entry(model, found)

    def history(self, workspace: str, target: str) -> SlotHistory:
        """The slot's log, and what was in use when."""
        with _told(self._url):
            return slot_history(self._events(_name(workspace, target)))

    def diff(self, workspace: str, target: str, before: str, after: str) -> Difference:
        """What changed from one version to another, each by name, alias or beginning."""
        with _told(self._url):
            tags = [self._one(workspace, target, version)[1].tags for version in (before, after)]
        old, new = (msgspec.json.decode(tag["lineage"], type=Lineage) for tag in tags)
        was, now = (msgspec.json.decode(tag["terms"], type=dict[str, float]) for tag in tags)
        return difference((tags[0]["version"], tags[1]["version"]), old, new, was, now)

    def fetch(
        self, workspace: str, target: str, version: str, catalogue: str, verifier: Verifier
    ) -> Fetched:
        """An artifact with its signature, verified.

        Raises:
            RegistryError: no such version, or its files are gone.
            ArtifactError: it may not be used here; see `Verifier.verify`.
        """
        with _told(self._url), tempfile.TemporaryDirectory(prefix="leadstream-") as folder:
            _, found = self._one(workspace, target, version)
            full, paths = str(found.tags["version"]), []
            for file in (f"{full}.onnx", _SIGNATURE):
                paths.append(self._client.download_artifacts(found.run_id, file, folder))
            artifact, signature = Path(paths[0]).read_bytes(), Path(paths[1]).read_text()
        claims = verifier.verify(artifact, signature, workspace, target, catalogue)
        if claims.version != full:
            raise ArtifactError(
                f"the registry keeps champion {claims.version} under the name of {full}. Fix: "
                "register it again"
            )
        return Fetched(artifact, signature, full)

    def _ensure_model(self, name: str) -> None:
        if not list(_pages(self._client.search_registered_models, f"name = '{name}'")):
            self._client.create_registered_model(name)

    def _run(self, name: str, version: str, lineage: Lineage, files: Mapping[str, bytes]) -> Any:
        """The run of a version; one that a crash left half done is completed."""
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            place = None if self._artifacts is None else (self._artifacts / name).as_uri()
            identity = self._client.create_experiment(name, artifact_location=place)
        else:
            identity = experiment.experiment_id
        found = self._client.search_runs([identity], f"tags.version = '{version}'")
        run = found[0] if found else None
        if run is None:
            run = self._client.create_run(identity, run_name=version, tags={"version": version})
        run_id, at = run.info.run_id, lineage.learned_until // 1_000
        for parameter, value in lineage.parameters.items():
            self._client.log_param(run_id, parameter, value)
        for metric, figure in lineage.metrics.items():
            if math.isfinite(figure):
                self._client.log_metric(run_id, metric, figure, timestamp=at, step=0)
        with tempfile.TemporaryDirectory(prefix="leadstream-") as folder:
            for file, data in files.items():
                (Path(folder) / file).write_bytes(data)
            self._client.log_artifacts(run_id, folder)
        self._client.set_terminated(run_id)
        return run

    def _follow(self, name: str, history: SlotHistory) -> None:
        """Set the aliases and the versions' states to what the log says."""
        versions = {found.tags["version"]: found for found in self._versions(name)}
        for version, state in history.states.items():
            found = versions.get(version)
            if found is not None and found.tags.get("state") != state:
                self._client.set_model_version_tag(name, found.version, "state", state)
        now = self._client.get_registered_model(name).aliases
        for alias, wanted in zip(ALIASES, (history.champion, history.challenger), strict=True):
            found = versions.get(wanted or "")
            if found is None:
                if alias in now:
                    self._client.delete_registered_model_alias(name, alias)
            elif str(now.get(alias)) != str(found.version):
                self._client.set_registered_model_alias(name, alias, found.version)

    def _events(self, name: str) -> list[LifecycleEvent]:
        for model in _pages(self._client.search_registered_models, f"name = '{name}'"):
            return [
                msgspec.json.decode(text, type=LifecycleEvent)
                for key, text in model.tags.items()
                if key.startswith(_EVENT)
            ]
        return []

    def _versions(self, name: str) -> list[Any]:
        found = _pages(self._client.search_model_versions, f"name = '{name}'")
        own = [version for version in found if "version" in version.tags]
        return sorted(own, key=lambda version: int(version.version))

    def _find(self, name: str, version: str) -> Any:
        """MLflow's model version, or None."""
        return next((v for v in self._versions(name) if v.tags["version"] == version), None)

    def _one(self, workspace: str, target: str, version: str) -> tuple[Any, Any]:
        """MLflow's registered model and model version by name, alias or beginning."""
        name = _name(workspace, target)
        models = list(_pages(self._client.search_registered_models, f"name = '{name}'"))
        if not models:
            raise RegistryError(
                f"{workspace}/{target} has no versions in the registry. Fix: train a champion first"
            )
        versions, number = self._versions(name), models[0].aliases.get(version)
        if number is not None:
            fitting = [found for found in versions if str(found.version) == str(number)]
        else:
            fitting = [found for found in versions if found.tags["version"].startswith(version)]
        if len(fitting) != 1 or not version:
            known = ", ".join(found.tags["version"] for found in versions[-10:])
            problem = "is the beginning of several" if fitting else "is unknown"
            raise RegistryError(
                f"version {version!r} of {workspace}/{target} {problem}. Fix: name one of: {known}"
            )
        return models[0], fitting[0]

    def _entry(self, model: Any, found: Any) -> Entry:
        workspace, target = _slot(model.name) or ("", "")
        aliases = sorted(a for a, n in model.aliases.items() if str(n) == str(found.version))
        lineage = msgspec.json.decode(found.tags["lineage"], type=Lineage)
        tags = found.tags
        return Entry(
            workspace,
            target,
            tags["version"],
            int(found.version),
            tags["state"],
            tuple(aliases),
            lineage,
        )


def _name(workspace: str, target: str) -> str:
    return f"{workspace}.{target}.champion"


def _slot(name: str) -> tuple[str, str] | None:
    """Workspace and target of a registered model's name; None for models of others."""
    parts = name.split(".")
    return (parts[0], parts[1]) if len(parts) == 3 and parts[2] == "champion" else None


def _words(lineage: Lineage) -> str:
    return f"fitted on {lineage.labels} labels, {lineage.positives} of them positive"


def _pages(search: Any, query: str | None = None) -> Iterator[Any]:
    """All results of one of MLflow's paged searches."""
    token = None
    while True:
        page = search(query, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _client(url: str) -> Any:
    """MLflow's client: no telemetry, no chatter, and an unreachable server is told in seconds."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for variable, value in (
        ("MLFLOW_LOGGING_LEVEL", "ERROR"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "20"),
        ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
    ):
        os.environ.setdefault(variable, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow calls what SQLAlchemy will remove one day
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise RegistryError(
                f"MLflow cannot be loaded ({error}). Fix: pip install 'leadstream[registry]'"
            ) from error
        for logger in ("mlflow", "alembic", "urllib3"):
            logging.getLogger(logger).setLevel(logging.ERROR)
        client = MlflowClient(tracking_uri=url, registry_uri=url)
        client.search_registered_models(max_results=1)  # makes a sqlite file, or says what is wrong
    return client


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Errors of MLflow, its database and its connection as RegistryError."""
    try:
        yield
    except Exception as error:
        library = type(error).__module__.split(".")[0]  # not imported yet when we start
        if library not in _LIBRARIES and not isinstance(error, OSError):
            raise
        first = str(error).strip().splitlines() or [type(error).__name__]
        problem = re.sub(r"//[^/@\s]*@", "//", f"registry {url}: {first[0]}")  # no passwords
        raise RegistryError(
            f"{problem[:400]}. Fix: check the URL, that the server runs and that its database is "
            "of this version of MLflow"
        ) from None  # the cause says the password too
