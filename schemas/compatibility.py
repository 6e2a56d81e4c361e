"""May a schema change? Only if a reader with the newest version can read every older version.

That is BACKWARD_TRANSITIVE, checked here by Avro's rules of schema resolution: an added field needs
a default, a removed field is skipped, numbers may widen, enum symbols may not vanish unless the
enum has a default, each branch of a written union needs a branch to read it. Stricter than Avro in
two points: logical types must stay, because the bytes would be readable with a wrong meaning, and
names are compared with their namespace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.defaults import default_problem
from schemas.names import NAMED, Names, branch_name, full_name, kind_of

_PROMOTIONS: Mapping[str, frozenset[str]] = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """Why the reader cannot read what the writer wrote: where in the schema, and what to do."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def incompatibilities(reader: Any, writer: Any) -> list[Incompatibility]:
    """What keeps `reader` from reading data of `writer` (both parsed JSON); empty if nothing.

    Raises ValueError when a schema is not valid Avro (an unknown type or name).
    """
    return list(_Check(Names(reader), Names(writer)).compare(reader, writer, "", "", "$"))


def transitive_incompatibilities(
    newest: Any, older: Sequence[Any]
) -> list[tuple[int, Incompatibility]]:
    """(version number from 1, problem) for all `older` versions, given oldest first."""
    return [
        (version, problem)
        for version, writer in enumerate(older, 1)
        for problem in incompatibilities(newest, writer)
    ]


class _Check:
    def __init__(self, readers: Names, writers: Names) -> None:
        self._readers = readers
        self._writers = writers
        self._seen: set[tuple[str, str]] = set()

    def compare(
        self, reader: Any, writer: Any, reader_space: str, writer_space: str, path: str
    ) -> Iterator[Incompatibility]:
        reader, reader_space = self._readers.resolve(reader, reader_space)
        writer, writer_space = self._writers.resolve(writer, writer_space)
        if isinstance(writer, list):
            for branch in writer:
                name = branch_name(self._writers, branch, writer_space)
                yield from self.compare(
                    reader, branch, reader_space, writer_space, f"{path}<{name}>"
                )
        elif isinstance(reader, list):
            yield from self._union(reader, writer, reader_space, writer_space, path)
        else:
            yield from self._types(reader, writer, reader_space, writer_space, path)

    def _union(
        self, reader: list[Any], writer: Any, reader_space: str, writer_space: str, path: str
    ) -> Iterator[Incompatibility]:
        wanted = branch_name(self._writers, writer, writer_space)
        names = [branch_name(self._readers, branch, reader_space) for branch in reader]
        in_order = sorted(
            zip(names, reader, strict=True), key=lambda pair: pair[0] != wanted
        )  # the branch of the same name says best what is wrong
        first: list[Incompatibility] = []
        for _, branch in in_order:
            seen = set(self._seen)
            found = list(self.compare(branch, writer, reader_space, writer_space, path))
            if not found:
                return
            self._seen = seen  # a pair that failed in this branch must fail again in the next
            first = first or found
        if wanted in names:
            yield from first
        else:
            yield Incompatibility(
                path, f"was {wanted}, which no branch of [{', '.join(names)}] reads; keep a branch"
            )

    def _types(
        self, reader: Any, writer: Any, reader_space: str, writer_space: str, path: str
    ) -> Iterator[Incompatibility]:
        new, old = kind_of(reader), kind_of(writer)
        if new != old and new not in _PROMOTIONS.get(old, frozenset()):
            yield Incompatibility(path, f"was {old} and is {new}, which cannot read it")
            return
        yield from _logical(reader, writer, path)
        if new == "array":
            yield from self.compare(
                reader["items"], writer["items"], reader_space, writer_space, f"{path}[]"
            )
        elif new == "map":
            yield from self.compare(
                reader["values"], writer["values"], reader_space, writer_space, f"{path}{{}}"
            )
        elif new in NAMED:
            yield from self._named(new, reader, writer, reader_space, writer_space, path)

    def _named(
        self,
        kind: str,
        reader: dict[str, Any],
        writer: dict[str, Any],
        reader_space: str,
        writer_space: str,
        path: str,
    ) -> Iterator[Incompatibility]:
        new, new_space = full_name(reader, reader_space)
        old, old_space = full_name(writer, writer_space)
        aliases = {full_name({"name": a}, new_space)[0] for a in reader.get("aliases", [])}
        if old != new and old not in aliases:
            yield Incompatibility(path, f"{kind} {old} is now {new}; add {old} to its aliases")
            return
        if (new, old) in self._seen:
            return
        self._seen.add((new, old))
        if kind == "record":
            yield from self._record(reader, writer, new_space, old_space, path)
        elif kind == "enum":
            missing = [each for each in writer["symbols"] if each not in reader["symbols"]]
            if missing and "default" not in reader:
                yield Incompatibility(
                    path, f"symbols {', '.join(missing)} are gone; keep them or give a default"
                )
        elif reader["size"] != writer["size"]:
            yield Incompatibility(path, f"size was {writer['size']} and is {reader['size']} bytes")

    def _record(
        self, reader: dict[str, Any], writer: dict[str, Any], new: str, old: str, path: str
    ) -> Iterator[Incompatibility]:
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            name = field["name"]
            here = f"{path}.{name}"
            source = written.get(name)
            if source is None:
                renamed = [alias for alias in field.get("aliases", []) if alias in written]
                source = written[renamed[0]] if renamed else None
            if source is not None:
                yield from self.compare(field["type"], source["type"], new, old, here)
            elif "default" not in field:
                yield Incompatibility(
                    here, "is new and has no default; give one, or an alias if it was renamed"
                )
            else:
                problem = default_problem(self._readers, field["type"], field["default"], new)
                if problem:
                    yield Incompatibility(here, f"default does not fit its type: {problem}")


def _logical(reader: Any, writer: Any, path: str) -> Iterator[Incompatibility]:
    keys = ("logicalType", "precision", "scale")
    new, old = (
        tuple(each.get(key) for key in keys) if isinstance(each, dict) else (None,) * len(keys)
        for each in (reader, writer)
    )
    if new != old:
        yield Incompatibility(
            path,
            f"logical type was {old[0] or 'none'} and is {new[0] or 'none'}: the bytes would be "
            "read with another meaning; add a new field instead",
        )
