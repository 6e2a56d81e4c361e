"""Files + mapping -> windows of records in the order of event time; no broker takes part."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.files.convert import Converter
from connectors.files.errors import Rejected
from connectors.files.ids import EventIds, digest_of_all, file_digest
from connectors.files.join import Join
from connectors.files.mapping import load_mapping, mapping_digest
from connectors.files.model import FileMapping
from connectors.files.reader import FileReader, Rows
from connectors.files.timeline import MEMORY_BYTES, Timeline, Window
from connectors.files.uses import columns_used

BATCH_ROWS = 4_096
SLICE_ROWS = 16_384
"""Rows converted at a time; results do not depend on it."""


@dataclass(slots=True)
class ReadStats:
    """What was read so far. fraction: of all files, 0 to 1; unseen: columns never filled."""

    rows: int = 0
    rejected: int = 0
    filtered: int = 0
    fraction: float = 0.0
    waiting: int = 0
    unseen: set[str] = field(default_factory=set)


class Pipeline:
    """One pass over files; iterate over :meth:`windows` once.

    The records and their order depend on mapping and files alone, never on window_records.
    Reading the digests raises SourceFileError when a file is missing.
    """

    def __init__(
        self,
        mapping: FileMapping,
        files: Sequence[Path],
        window_records: int = BATCH_ROWS,
        on_rejected: Callable[[Rejected], None] | None = None,
        now_us: int | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.mapping = mapping
        self.stats = ReadStats()
        self._report = on_rejected
        self._columns = columns_used(mapping)
        self._readers = [
            FileReader(path, mapping.format, self._columns, self._on_rejected) for path in files
        ]
        self.digest = mapping_digest(mapping)
        self._joins = [_joins(mapping, path.parent) for path in files]
        self.file_digests = [
            digest_of_all([file_digest(path), *(join.digest for join in joins)])
            for path, joins in zip(files, self._joins, strict=True)
        ]
        self._window_records = window_records
        self._memory_bytes = memory_bytes
        self._now_us = time.time_ns() // 1_000 if now_us is None else now_us

    def _on_rejected(self, rejected: Rejected) -> None:
        self.stats.rejected += 1
        if self._report is not None:
            self._report(rejected)

    def windows(self) -> Iterator[Window]:
        """Windows in order of time. Raises SourceFileError where a file cannot be read."""
        converter = Converter(self.mapping, self._now_us)
        with Timeline(self._window_records, self._memory_bytes) as timeline:
            first_row = 0
            for i, reader in enumerate(self._readers):
                ids = EventIds(self.digest, self.file_digests[i])
                for read in _slices(reader):
                    rows = read
                    for join in self._joins[i]:
                        rows = join.extended(rows)
                    self.stats.rows = first_row + reader.rows
                    self.stats.fraction = (i + rows.fraction) / len(self._readers)
                    done = converter.convert(
                        rows, first_row, ids, str(reader.path), _stem(reader.path)
                    )
                    self.stats.filtered += done.filtered
                    for rejected in done.rejected:
                        self._on_rejected(rejected)
                    for chunk in done.chunks:
                        timeline.push(chunk)
                    if done.floor is not None:
                        yield from timeline.release(done.floor)
                    self.stats.waiting = timeline.waiting
                first_row += reader.rows
                self.stats.rows = first_row
                self.stats.unseen |= reader.unseen
            self.stats.fraction = 1.0
            for window in timeline.release(None):
                self.stats.waiting = timeline.waiting
                yield window


def source_batches(
    mapping: FileMapping | str | Path,
    files: Sequence[str | Path],
    batch_rows: int = BATCH_ROWS,
    on_rejected: Callable[[Rejected], None] | None = None,
) -> Iterator[tuple[str, Any]]:
    """(topic, RecordBatch) in the order of event time, without a broker.

    mapping: a mapping, its path, or the name of a shipped one; files: as many as one likes,
    merged by time. A batch has the columns of the topic's Avro schema as pyruhvro gives them
    (source_event, or market_indicator on `market.indicators`). Cutting the sequence at every
    `batch_rows` records changes no record; market indicators come first within such a cut.

    Raises MappingError and SourceFileError; rejected rows go to `on_rejected`.
    """
    loaded = mapping if isinstance(mapping, FileMapping) else load_mapping(mapping)
    paths = [Path(file) for file in files]
    for window in Pipeline(loaded, paths, batch_rows, on_rejected).windows():
        yield from window.part(0, window.count)


def has_real_times(mapping: FileMapping) -> bool:
    """Whether event times come from columns, so that they can pace an import."""
    return mapping.time is None or mapping.time.start is None


def _slices(reader: FileReader) -> Iterator[Rows]:
    for rows in reader:
        for start in range(0, max(1, len(rows.numbers)), SLICE_ROWS):
            stop = start + SLICE_ROWS
            columns = {name: a.slice(start, SLICE_ROWS) for name, a in rows.columns.items()}
            yield Rows(columns, rows.numbers[start:stop], rows.fraction)


def _joins(mapping: FileMapping, folder: Path) -> list[Join]:
    return [Join(folder, spec, mapping.format) for spec in mapping.join]


def _stem(path: Path) -> str:
    return path.name.split(".")[0] or path.name
