"""A class-data archive (AppCDS) of the broker, which takes more than a second off each start.

The first run writes down which classes it loads; after its clean stop the archive is made from
that list, once for a user. A JVM that finds the archive unfit runs without it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from infra.dev.java import Java
from infra.dev.places import cache_folder

DUMP_TIMEOUT_S = 120
KEPT = 3  # archives of 65 MB: one for each virtual environment or heap size used lately


class ClassArchive:
    """The archive for one runtime, one class path and one set of JVM flags."""

    def __init__(self, java: Java, classpath: Sequence[Path], flags: Sequence[str]) -> None:
        self._java = java
        self._classpath = os.pathsep.join(map(str, classpath))
        self._flags = list(flags)
        # The JVM refuses an archive whose jars or runtime have other times, so these are named too.
        files = (java.path, *classpath)
        facts = [java.version, *flags, *(f"{path}:{path.stat().st_mtime_ns}" for path in files)]
        name = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
        self.path = cache_folder() / f"kafka-classes-{name}.jsa"
        self._unfit = self.path.with_suffix(".unfit")

    def start_flags(self, class_list: Path) -> list[str]:
        """Return the JVM flags that use the archive, or else the ones that write `class_list`."""
        if self.path.exists():
            return [f"-XX:SharedArchiveFile={self.path}", "-Xlog:disable", "-Xlog:all=error:stderr"]
        return [] if self._unfit.exists() else [f"-XX:DumpLoadedClassList={class_list}"]

    def make(self, class_list: Path) -> None:
        """Make the archive from the classes that a run loaded (about 5 s of CPU).

        Where this Java cannot, that is remembered, and the broker starts as slowly as before.
        """
        if self.path.exists():  # another broker's stop was first
            class_list.unlink()
            return
        unfinished = self.path.with_suffix(f".{os.getpid()}")
        command = [
            str(self._java.path),
            *self._flags,
            "-Xshare:dump",
            "-Xlog:disable",
            f"-XX:SharedClassListFile={class_list}",
            f"-XX:SharedArchiveFile={unfinished}",
            "-cp",
            self._classpath,
        ]
        try:
            subprocess.run(command, capture_output=True, timeout=DUMP_TIMEOUT_S, check=True)
            unfinished.replace(self.path)
            self._forget_old()
        except (OSError, subprocess.SubprocessError):
            unfinished.unlink(missing_ok=True)
            self._unfit.touch()
        finally:
            class_list.unlink(missing_ok=True)

    def _forget_old(self) -> None:
        archives = self.path.parent.glob("kafka-classes-*.jsa")
        for old in sorted(archives, key=lambda path: path.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)
