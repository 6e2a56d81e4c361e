"""Puts a changed schema into force: ``python -m schemas.add_version NAME`` (from a clone).

Checks the .avsc file against its history, copies it to ``history/<name>/<version>.avsc`` and gives
it the next id. A new schema gets version 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from schemas.compatibility import transitive_incompatibilities
from schemas.errors import SchemaError
from schemas.local import FIRST_ID, FOLDER, LocalRegistry, SchemaVersion
from schemas.registry import without_docs


class NotAdded(SchemaError):
    """The schema cannot become a version; the message says why."""


def add_version(name: str, folder: Path = FOLDER) -> SchemaVersion:
    """Add ``<name>.avsc`` as the newest version. Raises :class:`NotAdded`."""
    path = folder / f"{name}.avsc"
    if not path.is_file():
        raise NotAdded(f"{path} does not exist")
    text = path.read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    versions = LocalRegistry(folder).versions
    older = sorted(
        (each for each in versions.values() if each.name == name), key=lambda each: each.version
    )
    if older and without_docs(older[-1].load()) == without_docs(schema):
        raise NotAdded(f"{name} is the same as version {older[-1].version}, apart from docs")
    problems = transitive_incompatibilities(schema, [each.load() for each in older])
    if problems:
        lines = "".join(f"\n  version {version}: {problem}" for version, problem in problems)
        raise NotAdded(f"{name} cannot read what older versions wrote:{lines}")
    added = SchemaVersion(max(versions, default=FIRST_ID) + 1, name, len(older) + 1, text)
    copy = folder / "history" / name / f"{added.version}.avsc"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text, "utf-8")
    entries = [
        f'  "{each.id}": {json.dumps({"name": each.name, "version": each.version})}'
        for each in (*versions.values(), added)
    ]
    (folder / "history" / "ids.json").write_text("{\n" + ",\n".join(entries) + "\n}\n", "utf-8")
    return added


def main() -> int:
    """Add the schemas named on the command line; exit status 1 if one is refused."""
    if len(sys.argv) < 2:
        print("usage: python -m schemas.add_version NAME…", file=sys.stderr)
        return 2
    for name in sys.argv[1:]:
        try:
            added = add_version(name)
        except NotAdded as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        print(f"{name} version {added.version} has id {added.id}; commit schemas/history")
    return 0


if __name__ == "__main__":
    sys.exit(main())
