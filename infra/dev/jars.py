"""Kafka's jars: pinned Maven coordinates and digests, downloaded once into the user's cache.

`kafka_jars.json` maps `group:artifact:version` to the SHA-256 of the jar.
`python -m infra.dev.jars` resolves them anew (jgo walks the dependency graph) and rewrites it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from infra.dev.errors import JarsUnavailable
from infra.dev.places import cache_folder

if TYPE_CHECKING:
    from jgo.maven import Artifact, MavenContext

KAFKA_VERSION = "4.1.1"
KAFKA = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
# Kafka logs through slf4j 1.7; its own distribution adds this binding, its Maven module does not
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"
PINS = Path(__file__).with_name("kafka_jars.json")


def kafka_classpath(say: Callable[[str], None] | None = None) -> list[Path]:
    """Return the paths of Kafka's jars, downloading what the cache lacks.

    Safe to call from several processes at once. `say` gets one line when something is downloaded.

    Raises:
        JarsUnavailable: a jar could not be downloaded, or its digest is not the pinned one.
    """
    pins: dict[str, str] = json.loads(PINS.read_text())
    repository = cache_folder() / "maven"
    paths = {coordinate: _path(repository, coordinate) for coordinate in pins}
    # The stamp spares hashing 45 MB at every start; it names the pins that were checked.
    stamp = repository / f"kafka-{hashlib.sha256(PINS.read_bytes()).hexdigest()[:16]}.checked"
    if not stamp.exists() or not all(path.exists() for path in paths.values()):
        repository.mkdir(parents=True, exist_ok=True)
        with (repository / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _complete(repository, paths, pins, say)
            stamp.touch()
    return list(paths.values())


def _complete(
    repository: Path,
    paths: Mapping[str, Path],
    pins: Mapping[str, str],
    say: Callable[[str], None] | None,
) -> None:
    wrong = [c for c, path in paths.items() if not path.exists() or _digest(path) != pins[c]]
    if not wrong:
        return
    if say:
        say(f"Downloading Apache Kafka {KAFKA_VERSION} ({len(wrong)} jars, once) to {repository}")
    context = _maven(repository)
    for coordinate in wrong:
        paths[coordinate].unlink(missing_ok=True)
        group, name, version = coordinate.split(":")
        _download(context.project(group, name).at_version(version).artifact())
        if _digest(paths[coordinate]) != pins[coordinate]:
            paths[coordinate].unlink()
            raise JarsUnavailable(
                f"The downloaded {coordinate} is not the jar that leadstream pins.",
                "Something between this machine and the Maven repository changes files; "
                "let LEADSTREAM_MAVEN_REPOSITORY name a repository that you trust.",
            )


def _download(artifact: Artifact) -> Path:
    try:
        return Path(artifact.resolve())
    except Exception as error:  # jgo passes on whatever its HTTP layer raises
        raise JarsUnavailable(
            f"Could not download {artifact}: {error}",
            "Check this machine's network or proxy and run the command again; what was downloaded "
            "is kept. LEADSTREAM_MAVEN_REPOSITORY can name another Maven repository, "
            "LEADSTREAM_KAFKA_BOOTSTRAP a broker that runs already.",
        ) from error


def _maven(repository: Path) -> MavenContext:
    from jgo.constants import MAVEN_CENTRAL_URL  # takes a second to import
    from jgo.maven import MavenContext

    remote = os.environ.get("LEADSTREAM_MAVEN_REPOSITORY") or MAVEN_CENTRAL_URL
    return MavenContext(repo_cache=repository, remote_repos={"central": remote})


def _path(repository: Path, coordinate: str) -> Path:
    group, name, version = coordinate.split(":")
    return repository.joinpath(*group.split("."), name, version, f"{name}-{version}.jar")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def repin() -> None:
    """Resolve KAFKA with all its runtime dependencies, add LOGGING, and rewrite the pins."""
    from jgo.parse import Coordinate

    context = _maven(cache_folder() / "maven")
    kafka, logging = (
        context.create_dependency(replace(Coordinate.parse(c), scope="compile"))
        for c in (KAFKA, LOGGING)
    )
    direct, transitive = context.resolver.resolve([kafka])
    kept = [*direct, *(d for d in transitive if d.scope in ("compile", "runtime")), logging]
    pins = {f"{d.groupId}:{d.artifactId}:{d.version}": _digest(_download(d.artifact)) for d in kept}
    PINS.write_text(json.dumps(dict(sorted(pins.items())), indent=1) + "\n")
    print(f"{len(pins)} jars pinned in {PINS}")


if __name__ == "__main__":
    repin()
