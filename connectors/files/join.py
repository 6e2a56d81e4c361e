"""Columns from a second file, found by a key: an account's sector, how a deal ended.

The second file lies beside the imported one and is held in memory; each key stands in it once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connectors.files.columns import Columns
from connectors.files.errors import Rejected, SourceFileError
from connectors.files.ids import file_digest
from connectors.files.model import FileFormat, JoinSpec
from connectors.files.reader import FileReader, Rows


class Join:
    """One joined file.

    Args:
        folder: Where the imported file lies; the joined file's name is relative to it.
        spec: File, keys and columns.
        rows_format: Format of the imported file, for its key.

    Raises:
        SourceFileError: The file cannot be read, lacks a column, or has a key twice.
    """

    def __init__(self, folder: Path, spec: JoinSpec, rows_format: FileFormat) -> None:
        self._spec, self._rows_format = spec, rows_format
        path = folder / spec.file
        key = spec.match or spec.key
        wanted = dict.fromkeys([key, *spec.columns], "join")
        reader = FileReader(path, spec.format, wanted, _refuse)
        parts = [Columns(p.columns, p.numbers, spec.format, "") for p in reader]
        self.digest = file_digest(path)
        self._keys = _together([part.text(key) for part in parts])
        self._columns = {
            name: _together([part.text(name) for part in parts]) for name in spec.columns
        }
        known = self._keys.drop_null()
        if len(pc.unique(known)) < len(known):
            twice = pc.value_counts(known)
            at = pc.index(pc.greater(twice.field("counts"), 1), True).as_py()
            raise SourceFileError(
                f"{path}: {key} {twice.field('values')[at].as_py()!r} stands there twice, so a row "
                "could not say which it means. Fix: join by a column whose values are unique"
            )

    def extended(self, rows: Rows) -> Rows:
        """The rows with the joined columns; null where the key is not found."""
        columns = Columns(rows.columns, rows.numbers, self._rows_format, "")
        at = pc.index_in(columns.text(self._spec.key), value_set=self._keys, skip_nulls=True)
        found = {name: array.take(at) for name, array in self._columns.items()}
        return Rows({**rows.columns, **found}, rows.numbers, rows.fraction)


def _together(parts: list[Any]) -> Any:
    return pa.chunked_array(parts, pa.string()).combine_chunks()


def _refuse(rejected: Rejected) -> None:
    raise SourceFileError(f"{rejected.file}: row {rejected.row}: {rejected.problems[0]}")
