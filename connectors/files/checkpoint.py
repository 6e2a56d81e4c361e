"""Remembers how far an import got, so that a killed one goes on where it was acknowledged.

One small JSON file an import: the same mapping and files to the same topics. The topics' own ids
take part, so a topic that was deleted and created again starts from the first record.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec


class Checkpoint(msgspec.Struct, frozen=True, omit_defaults=False):
    """Progress of one import: `records` of its total order are acknowledged."""

    records: int = 0
    done: bool = False
    source: str = ""
    files: tuple[str, ...] = ()
    saved_at: str = ""


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """Where the checkpoint of one import is kept."""

    path: Path

    @classmethod
    def of(
        cls,
        folder: Path,
        source: str,
        mapping_digest: str,
        file_digests: Sequence[str],
        destination: str,
    ) -> CheckpointFile:
        """File in `folder` named after the source and what makes the import this one."""
        what = "\n".join([mapping_digest, *file_digests, destination])
        key = hashlib.sha256(what.encode()).hexdigest()[:20]
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", source).strip("-.") or "import"
        return cls(folder / f"{slug}-{key}.json")

    def load(self) -> Checkpoint:
        """The saved progress; none when there is no file, or one that cannot be understood.

        A damaged file costs a repetition only: event ids stay the same, repeats are dropped.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Checkpoint)
        except (FileNotFoundError, msgspec.DecodeError):
            return Checkpoint()

    def save(self, records: int, done: bool, source: str, files: Sequence[str]) -> None:
        """Replaces the file at once: a crash leaves the old one or the new one."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".part")
        with partial.open("wb") as file:
            file.write(msgspec.json.encode(Checkpoint(records, done, source, tuple(files), now)))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)

    def forget(self) -> None:
        """Removes it, so that the import starts from the first record."""
        self.path.unlink(missing_ok=True)
