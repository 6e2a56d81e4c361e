"""Reads CSV, Parquet and JSON lines as batches of columns with row numbers, in bounded memory.

Rows are counted from 1: the first data row of a CSV or Parquet file, the first line of a JSON
lines file. Rows that are no rows (a wrong number of fields, text in another encoding, broken
JSON) are reported and left out; the numbers of the others do not change by that.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from connectors.files.errors import Rejected, SourceFileError
from connectors.files.jsonl import plain_keys, read_json_lines
from connectors.files.model import FileFormat

CSV_BLOCK_BYTES = 4 << 20
"""A CSV is read by blocks of this size; a single row cannot be longer."""

PARQUET_ROWS = 16_384

_COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_TYPES = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of one file.

    columns: name -> Arrow array [n] (strings of CSV and JSON lines, any type of Parquet);
    numbers: row numbers in the file [n]; fraction: how much of the file was read, 0 to 1.
    """

    columns: Mapping[str, Any]
    numbers: NDArray[np.int64]
    fraction: float


class FileReader:
    """Iterates over the batches of one file; `rows` counts the rows seen so far.

    columns: column -> place in the mapping that names it; only these are read. Iterating raises
    SourceFileError when the file as a whole cannot be read or lacks a column.
    """

    def __init__(
        self,
        path: Path,
        file_format: FileFormat,
        columns: Mapping[str, str],
        on_rejected: Callable[[Rejected], None],
    ) -> None:
        self.path = path
        self.rows = 0
        self.unseen: frozenset[str] = frozenset()
        self._format = file_format
        self._columns = columns
        self._on_rejected = on_rejected
        self._type, self._codec = _kind_of(path, file_format)

    def __iter__(self) -> Iterator[Rows]:
        read = {"csv": self._csv, "parquet": self._parquet, "jsonl": self._jsonl}[self._type]
        try:
            yield from read()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            hint = ""
            if "straddling" in str(error):
                hint = (
                    f" (a row is longer than {CSV_BLOCK_BYTES >> 20} MiB, or a quote"
                    f" {self._format.quote!r} is never closed: see format.quote)"
                )
            raise SourceFileError(f"{self.path}: cannot be read: {error}{hint}") from error

    def names(self) -> list[str]:
        """Columns that the file has, of JSON lines the first ones' keys; no lists, no records."""
        if self._type == "csv":
            found = self._open_csv(None, lambda row: "skip")[0].schema.names
            return [name for name in found if found.count(name) == 1]
        if self._type == "parquet":
            schema = pq.read_schema(self.path)
            return [field.name for field in schema if not pa.types.is_nested(field.type)]
        raw = pa.OSFile(str(self.path))
        stream = pa.CompressedInputStream(raw, self._codec) if self._codec else raw
        return plain_keys(stream, self._format.encoding)

    def _reject(self, number: int, problem: str) -> None:
        self._on_rejected(Rejected(str(self.path), number, (f"row: {problem}",)))

    def _check_columns(self, present: Collection[str]) -> None:
        for column, place in self._columns.items():
            if column not in present:
                close = difflib.get_close_matches(column, present, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                shown = ", ".join(list(present)[:40])
                if self._type == "csv" and len(present) == 1:
                    hint += f"; is {self._format.delimiter!r} the delimiter (format.delimiter)?"
                raise SourceFileError(
                    f"{self.path}: has no column {column!r} that {place} names{hint}"
                    f" (its columns: {shown})"
                )

    def _csv(self) -> Iterator[Rows]:
        invalid: list[int] = []
        header = 0 if self._format.columns else 1

        def on_invalid(row: Any) -> str:
            invalid.append(row.number - header)
            self._reject(
                row.number - header,
                f"has {row.actual_columns} fields where {row.expected_columns} are expected:"
                f" {row.text[:120]!r}; see format.delimiter and format.quote",
            )
            return "skip"

        names, _ = self._open_csv(None, lambda row: "skip")
        present = names.schema.names
        self._check_columns(present)
        for column in self._columns:
            if present.count(column) > 1:
                raise SourceFileError(f"{self.path}: has two columns {column!r}; rename one")
        stream, raw = self._open_csv(list(self._columns) or present[:1], on_invalid)
        size = max(1, raw.size())
        for batch in stream:
            numbers = self._number(batch.num_rows, invalid)
            yield self._decoded(batch, numbers, min(1.0, raw.tell() / size))
        self.rows += len(invalid)

    def _open_csv(
        self, columns: list[str] | None, on_invalid: Callable[[Any], str]
    ) -> tuple[Any, Any]:
        f = self._format
        raw = pa.OSFile(str(self.path))
        stream = pa.CompressedInputStream(raw, self._codec) if self._codec else raw
        types = dict.fromkeys(columns, pa.binary()) if columns else None
        reader = pcsv.open_csv(
            stream,
            pcsv.ReadOptions(
                # Only a single-threaded reader tells the number of an invalid row.
                use_threads=False,
                block_size=CSV_BLOCK_BYTES,
                column_names=list(f.columns) or None,
                encoding=f.encoding,
            ),
            pcsv.ParseOptions(
                delimiter=f.delimiter,
                quote_char=f.quote or False,
                newlines_in_values=bool(f.quote),
                invalid_row_handler=on_invalid,
            ),
            pcsv.ConvertOptions(
                include_columns=columns,
                column_types=types,
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
        return reader, raw

    def _number(self, count: int, invalid: list[int]) -> NDArray[np.int64]:
        """Numbers of the next `count` good rows; takes the invalid ones before them off."""
        first = self.rows + 1
        numbers = np.setdiff1d(np.arange(first, first + count + len(invalid)), invalid)[:count]
        self.rows = int(numbers[-1]) if count else self.rows
        invalid[:] = [number for number in invalid if number > self.rows]
        return numbers.astype(np.int64)

    def _decoded(self, batch: Any, numbers: NDArray[np.int64], fraction: float) -> Rows:
        """Bytes to text; rows that are not UTF-8 are rejected."""
        bad = np.zeros(batch.num_rows, dtype=np.bool_)
        columns: dict[str, Any] = {}
        for name in self._columns:
            array = batch.column(name)
            try:
                columns[name] = pc.cast(array, pa.string())
            except pa.ArrowInvalid:
                texts = [_decode(value) for value in array.to_pylist()]
                bad |= np.fromiter((text is None for text in texts), np.bool_, len(texts))
                columns[name] = pa.array(texts, pa.string())
        if not bad.any():
            return Rows(columns, numbers, fraction)
        for number in numbers[bad]:
            self._reject(int(number), "is not UTF-8; give format.encoding, such as cp1252")
        good = pa.array(~bad)
        kept = {name: array.filter(good) for name, array in columns.items()}
        return Rows(kept, numbers[~bad], fraction)

    def _parquet(self) -> Iterator[Rows]:
        with pq.ParquetFile(self.path) as file:
            self._check_columns(file.schema_arrow.names)
            total = max(1, file.metadata.num_rows)
            for name in self._columns:
                if pa.types.is_nested(file.schema_arrow.field(name).type):
                    raise SourceFileError(f"{self.path}: column {name!r} holds lists or records")
            names = list(self._columns) or file.schema_arrow.names[:1]
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=names):
                first = self.rows + 1
                self.rows += batch.num_rows
                numbers = np.arange(first, self.rows + 1, dtype=np.int64)
                columns = {name: batch.column(name) for name in self._columns}
                yield Rows(columns, numbers, self.rows / total)

    def _jsonl(self) -> Iterator[Rows]:
        raw = pa.OSFile(str(self.path))
        stream = pa.CompressedInputStream(raw, self._codec) if self._codec else raw
        size = max(1, raw.size())
        unseen = set(self._columns)
        names = list(self._columns)
        lines = read_json_lines(stream, self._format.encoding, names, self._reject)
        for arrays, numbers, last in lines:
            self.rows = last
            for name, array in zip(names, arrays, strict=True):
                if name in unseen and array.null_count < len(array):
                    unseen.discard(name)
            columns = dict(zip(names, arrays, strict=True))
            yield Rows(columns, numbers, min(1.0, raw.tell() / size))
        self.unseen = frozenset(unseen)


def _decode(value: bytes | None) -> str | None:
    try:
        return value.decode("utf-8") if value is not None else None
    except UnicodeDecodeError:
        return None


def _kind_of(path: Path, file_format: FileFormat) -> tuple[str, str | None]:
    """(type, compression) of a file by the mapping or its name."""
    if not path.is_file():
        raise SourceFileError(f"{path}: there is no such file")
    codec = _COMPRESSED.get(path.suffix.lower())
    plain = path.with_suffix("") if codec else path
    kind = file_format.type or _TYPES.get(plain.suffix.lower())
    if kind is None:
        raise SourceFileError(
            f"{path}: its type is not clear from its name; give format.type: csv, jsonl or parquet"
        )
    return kind, codec
