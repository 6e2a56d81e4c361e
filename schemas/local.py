"""The registry that needs no server: this folder, with one fixed id for each schema version.

Ids start at 1,000,000, far above those that a registry server hands out, so both kinds can stand
side by side on one topic. ``history/ids.json`` maps id -> (name, version) and
``history/<name>/<version>.avsc`` holds the text that was in force; neither is ever changed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from schemas.errors import UnknownSchema, UnknownSchemaId

FOLDER = Path(__file__).resolve().parent
FIRST_ID = 1_000_000


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """One version of one schema: its id on the wire, file name stem, version from 1, and text."""

    id: int
    name: str
    version: int
    text: str

    def load(self) -> dict[str, Any]:
        """The schema as JSON objects, a fresh copy at each call."""
        loaded: dict[str, Any] = json.loads(self.text)
        return loaded


class LocalRegistry:
    """Schemas of a folder by id and by name; reads the files once, at first use."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder

    @cached_property
    def versions(self) -> dict[int, SchemaVersion]:
        """All versions by id."""
        history = self.folder / "history"
        ids: dict[str, dict[str, Any]] = json.loads((history / "ids.json").read_text("utf-8"))
        found: dict[int, SchemaVersion] = {}
        for key, entry in ids.items():
            name, version = str(entry["name"]), int(entry["version"])
            text = (history / name / f"{version}.avsc").read_text("utf-8")
            found[int(key)] = SchemaVersion(int(key), name, version, text)
        return found

    @cached_property
    def _newest(self) -> dict[str, SchemaVersion]:
        in_order = sorted(self.versions.values(), key=lambda each: each.version)
        return {each.name: each for each in in_order}

    def names(self) -> list[str]:
        """Names of all schemas, sorted."""
        return sorted(self._newest)

    def current(self, name: str) -> dict[str, Any]:
        """Content of ``<name>.avsc``: the newest version, its docs as they are worded today.

        Raises :class:`UnknownSchema`.
        """
        self.newest(name)
        loaded: dict[str, Any] = json.loads((self.folder / f"{name}.avsc").read_text("utf-8"))
        return loaded

    def newest(self, name: str) -> SchemaVersion:
        """The version in force. Raises :class:`UnknownSchema`."""
        try:
            return self._newest[name]
        except KeyError:
            known = ", ".join(self.names())
            raise UnknownSchema(f"no schema named {name!r}; there are: {known}") from None

    def history(self, name: str) -> list[SchemaVersion]:
        """All versions of a schema, oldest first. Raises :class:`UnknownSchema`."""
        self.newest(name)
        found = [each for each in self.versions.values() if each.name == name]
        return sorted(found, key=lambda each: each.version)

    def by_id(self, schema_id: int) -> str:
        """Writer's schema, JSON text. Raises :class:`UnknownSchemaId`."""
        try:
            return self.versions[schema_id].text
        except KeyError:
            raise UnknownSchemaId(
                schema_id, f"schema id {schema_id} is not one of leadstream's own"
            ) from None
