"""A mapping whose events carry every column of their file, for looks at what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from connectors.files.model import FileFormat, FileMapping, TextSpec
from connectors.files.reader import FileReader
from connectors.files.uses import named_numbers, named_texts

MAX_COLUMNS = 192
"""With what a mapping names itself an event stays below the attributes that identity takes."""


def with_every_column(mapping: FileMapping, files: Sequence[Path], prefix: str) -> FileMapping:
    """The mapping with columns as texts `<prefix><column>` of each event, but not of the outcome.

    Those that no event carries as a text or number of its own, nor the outcome is read from; of
    files and of what is joined to them, only columns that all files have, at most 192. Event ids
    differ from the mapping's own. Raises SourceFileError where a file cannot be read.
    """
    if not files:
        return mapping
    given = [_names(path, mapping.format) for path in files]
    names = [name for name in given[0] if all(name in others for others in given)]
    joins = []
    for join in mapping.join:
        found = _names(files[0].parent / join.file, join.format)
        more = [c for c in found if c not in (*names, *join.columns, join.match or join.key)]
        joins.append(msgspec.structs.replace(join, columns=(*join.columns, *more)))
        names += joins[-1].columns
    taken = _carried(mapping)
    left = [name for name in names if name not in taken]
    texts = {prefix + name: TextSpec(column=name) for name in left[:MAX_COLUMNS]}
    events = tuple(
        msgspec.structs.replace(event, texts={**named_texts(event.texts), **texts})
        for event in mapping.events
    )
    return msgspec.structs.replace(mapping, events=events, join=tuple(joins))


def _names(path: Path, file_format: FileFormat) -> list[str]:
    return FileReader(path, file_format, {}, lambda rejected: None).names()


def _carried(mapping: FileMapping) -> set[str]:
    found = {mapping.outcome.column} if mapping.outcome is not None else set()
    for event in mapping.events:
        columns = [spec.column for spec in named_texts(event.texts).values()]
        columns += [spec.column for spec in named_numbers(event.numbers).values()]
        found |= {column for column in columns if column is not None}
    return found
