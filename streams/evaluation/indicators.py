"""The market indicators of an evaluation, from its mapping and from files of their own.

They are handed over before the first event: what a row may know of them hangs on when they were
published and on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from connectors.files.errors import Rejected
from connectors.files.model import FileMapping, IndicatorSpec, TextSpec, TimeSpec
from connectors.files.pipeline import source_batches
from connectors.files.records import INDICATORS_TOPIC
from streams.evaluation.source import Batches

Batch = tuple[str, pa.RecordBatch]


def publications(
    mapping: FileMapping,
    files: Sequence[Path],
    own_files: Sequence[Path],
    on_rejected: Callable[[Rejected], None],
) -> Iterator[Batch]:
    """All records for ``market.indicators``.

    Args:
        mapping: Of the events; rows of theirs that are rejected are not reported here.
        files: Files of events, read only where the mapping has indicators.
        own_files: CSV with columns series, observed_at, published_at (ISO times), value.
        on_rejected: Told of rows of ``own_files`` that cannot be read.

    Raises:
        ImportFailed: a file is missing or has other columns.
    """
    if mapping.indicators:
        yield from (b for b in source_batches(mapping, files) if b[0] == INDICATORS_TOPIC)
    for path in own_files:
        own = FileMapping(
            mapping.workspace,
            f"indicators/{path.name}",
            indicators=(
                IndicatorSpec(
                    TextSpec(column="series"),
                    "value",
                    observed=TimeSpec(column="observed_at"),
                    published=TimeSpec(column="published_at"),
                ),
            ),
        )
        yield from source_batches(own, [path], on_rejected=on_rejected)


def events_only(batches: Batches) -> Iterator[Batch]:
    """Leave out what :func:`publications` gives."""
    return (batch for batch in batches if batch[0] != INDICATORS_TOPIC)
