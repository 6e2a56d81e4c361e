"""Rows of a file + mapping -> source events as columns, or the reasons why a row gives none.

A row is imported whole or not at all: when one of its events cannot be built the row is rejected
with everything that is wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.files.columns import Columns, plain_decimals, true, valid
from connectors.files.conditions import passing
from connectors.files.ids import EventIds, row_event
from connectors.files.model import EventSpec, FileMapping, OutcomeSpec
from connectors.files.money import exponents, minor_units
from connectors.files.problems import Problems
from connectors.files.records import SOURCE_EVENT, number_map, record_batch, text_map, timestamps
from connectors.files.uses import (
    as_amount_spec,
    as_text_spec,
    conditions,
    named_numbers,
    named_texts,
)

MAX_TEXT_BYTES = 512 << 10
"""A broker takes messages of 1 MB by default; a row with longer texts than this is rejected."""


@dataclass(slots=True)
class Chunk:
    """Records of one topic and event number, not yet in order of time.

    times: event times in microseconds [k]; seq: (row, event number) as one integer [k], the order
    of records of equal time; at: place of each record's row in its batch of rows [k];
    records: RecordBatch [k].
    """

    topic: str
    times: NDArray[np.int64]
    seq: NDArray[np.int64]
    at: NDArray[np.int64]
    records: Any


@dataclass(frozen=True, slots=True)
class Slots:
    """The rows of a batch that give one certain event.

    columns: of those rows [k]; at: their places in the batch [k]; numbers: their row numbers in
    the file [k]; times: the event times [k]; number: the event number; place: of the event in the
    mapping; ids: of the file.
    """

    columns: Columns
    at: NDArray[np.int64]
    numbers: NDArray[np.int64]
    times: NDArray[np.int64]
    number: int
    place: str
    ids: EventIds


class EventBuilder:
    """Builds the source events of one part of the mapping (an event or the outcome)."""

    def __init__(self, mapping: FileMapping, spec: EventSpec | OutcomeSpec, place: str) -> None:
        own = getattr(spec, "identifiers", None)
        given = mapping.identifiers if own is None else own
        self._mapping = mapping
        self._spec = spec
        self._place = place
        self._identifiers = {kind: as_text_spec(text) for kind, text in given.items()}
        self._numbers = named_numbers(spec.numbers)
        self._texts = named_texts(spec.texts)

    def build(self, slots: Slots, kinds: Any, problems: Problems) -> Chunk:
        """Chunk of the slots [k], wrong ones included (and marked in `problems`).

        kinds: Arrow string array [k].
        """
        count = slots.columns.n
        columns: dict[str, Any] = {
            "event_id": slots.ids.of(slots.numbers, slots.number),
            "workspace": pa.repeat(self._mapping.workspace, count),
            "source": pa.repeat(self._mapping.source, count),
            "source_type": pa.repeat("file", count),
            "kind": pc.fill_null(kinds, ""),
            "occurred_at": timestamps(slots.times),
            "received_at": timestamps(slots.times),
            "identifiers": self._identifier_map(slots, problems),
            "numbers": self._number_map(slots, problems),
        }
        texts = [slots.columns.render(spec) for spec in self._texts.values()]
        columns["texts"] = text_map(list(self._texts), texts, count)
        problems.add(slots.at, ~valid(kinds), f"{self._place}.kind", "is empty")
        for key in ("account", "opportunity_id", "stage", "url", "time_zone"):
            given = getattr(self._spec, key, None) or getattr(self._mapping, key, None)
            if given is not None:
                columns[key] = slots.columns.render(as_text_spec(given))
        columns |= self._money(slots, problems)
        keys = ("account", "opportunity_id", "stage", "url")
        named = [columns[key] for key in keys if key in columns]
        self._check_size([*texts, *named], slots, problems)
        records = record_batch(SOURCE_EVENT, columns, count)
        seq = row_event(slots.columns.rows, slots.number)
        return Chunk(self._mapping.topic, slots.times, seq, slots.at, records)

    def _check_size(self, texts: list[Any], slots: Slots, problems: Problems) -> None:
        """Marks records whose texts are longer than a message may be."""
        lengths = [pc.fill_null(pc.binary_length(text), 0) for text in texts]
        if sum(pc.max(length).as_py() or 0 for length in lengths) <= MAX_TEXT_BYTES:
            return
        total = sum(length.to_numpy().astype(np.int64) for length in lengths)
        problems.add(
            slots.at, total > MAX_TEXT_BYTES, self._place,
            f"its texts are longer than {MAX_TEXT_BYTES >> 10} KiB together; leave a column out",
        )  # fmt: skip

    def _identifier_map(self, slots: Slots, problems: Problems) -> Any:
        texts = [slots.columns.render(spec) for spec in self._identifiers.values()]
        missing = ~np.logical_or.reduce([valid(text) for text in texts])
        named = ", ".join(repr(s.column or s.template) for s in self._identifiers.values())
        problems.add(
            slots.at,
            missing,
            f"{self._place}.identifiers",
            f"the row has no identifier ({named} are empty); leave such rows out with `rows`",
        )
        return text_map(list(self._identifiers), texts, slots.columns.n)

    def _number_map(self, slots: Slots, problems: Problems) -> Any:
        values, present = [], []
        for name, spec in self._numbers.items():
            numbers, there, texts = slots.columns.number(spec)
            problems.add(
                slots.at,
                there & ~np.isfinite(numbers),
                f"{self._place}.numbers.{name}",
                "which is not a finite number; name it in `nulls` or `values`",
                spec.column,
                texts,
            )
            values.append(numbers)
            present.append(there)
        return number_map(list(self._numbers), values, present, slots.columns.n)

    def _money(self, slots: Slots, problems: Problems) -> dict[str, Any]:
        if self._spec.amount is None:
            return {}
        spec = as_amount_spec(self._spec.amount)
        place = f"{self._place}.amount"
        columns = slots.columns
        given = columns.text(spec.column, spec.nulls)
        texts = plain_decimals(given, columns.format)
        factors = None
        if spec.times is not None:
            factors = plain_decimals(columns.text(spec.times), columns.format)
        if self._spec.currency is None:
            currencies = pa.nulls(columns.n, pa.string())
        else:
            currencies = pc.utf8_upper(
                columns.render(as_text_spec(self._spec.currency, constant=True))
            )
        there = valid(given)
        good = true(pc.match_substring_regex(currencies, "^[A-Z]{3}$"))
        problems.add(
            slots.at, there & ~good, f"{self._place}.currency",
            "an amount needs a currency, three letters as EUR", "currency", currencies,
        )  # fmt: skip
        decimals = exponents(currencies)
        minor, wrong, inexact = minor_units(texts, factors, decimals, spec.rounding)
        times = f" (times {spec.times!r})" if spec.times is not None else ""
        problems.add(
            slots.at, wrong, place,
            f"which{times} is not a decimal number, or is too large", spec.column, given,
        )  # fmt: skip
        problems.add(
            slots.at, inexact, place,
            f"which{times} has more decimals than its currency; set `rounding` to half_even",
            spec.column, given,
        )  # fmt: skip
        mask = pa.array(~there)
        signed = -minor if spec.negate else minor
        return {
            "amount_minor": pa.array(signed, pa.int64(), mask=~there),
            "currency": pc.if_else(mask, None, currencies),
        }


def outcome_rows(
    columns: Columns, spec: OutcomeSpec, selected: NDArray[np.bool_], problems: Problems
) -> tuple[NDArray[np.bool_], Any]:
    """(mask [n] of the selected rows that have an outcome, Arrow array [n] of its kind or null)."""
    text = columns.text(spec.column)
    is_in = {
        key: true(pc.is_in(text, value_set=pa.array(values, pa.string())))
        for key, values in (("won", spec.won), ("lost", spec.lost), ("open", spec.open))
    }
    unknown = selected & valid(text) & ~(is_in["won"] | is_in["lost"] | is_in["open"])
    problems.add(
        np.arange(columns.n), unknown, "outcome",
        f"which is neither in won {list(spec.won)} nor in lost {list(spec.lost)}; add it there,"
        " or to `open` where nothing is decided yet", spec.column, text,
    )  # fmt: skip
    selected = selected & passing(columns, conditions(spec.when))
    decided = selected & (is_in["won"] | is_in["lost"])
    return decided, pc.if_else(pa.array(is_in["won"]), spec.kinds.won, spec.kinds.lost)
