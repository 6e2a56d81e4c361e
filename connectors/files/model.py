"""What a mapping can say: the shape of the YAML, key by key. README.md documents each key."""

from __future__ import annotations

from typing import Literal

import msgspec

Order = Literal["file", "any"]
Rounding = Literal["reject", "half_even", "half_up"]


class _Part(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """Base of all parts: unknown keys are errors; defaults do not change the digest."""


class FileFormat(_Part, frozen=True):
    """How the bytes of a file become rows and columns."""

    type: Literal["csv", "jsonl", "parquet"] | None = None
    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    decimal: Literal[".", ","] = "."
    thousands: str = ""
    nulls: tuple[str, ...] = ("",)
    columns: tuple[str, ...] = ()


class Condition(_Part, frozen=True):
    """A test of one column; every key given must hold. A null never passes but `null: true`."""

    column: str
    equals: str | None = None
    not_equals: str | None = None
    in_: tuple[str, ...] | None = msgspec.field(default=None, name="in")
    not_in: tuple[str, ...] | None = None
    null: bool | None = None
    not_null: bool | None = None
    greater: float | None = None
    at_least: float | None = None
    less: float | None = None
    at_most: float | None = None
    starts_with: str | None = None
    matches: str | None = None


class TextSpec(_Part, frozen=True):
    """A text: one of column, template, constant; then `values` maps it, `default` fills nulls."""

    column: str | None = None
    template: str | None = None
    constant: str | None = None
    values: dict[str, str] = {}
    nulls: tuple[str, ...] = ()
    default: str | None = None


class NumberSpec(_Part, frozen=True):
    """A number: `values` maps texts of the column to numbers, other texts are parsed."""

    column: str
    values: dict[str, float] = {}
    nulls: tuple[str, ...] = ()
    default: float | None = None


class AmountSpec(_Part, frozen=True):
    """Money: decimal text or number of a column, times that of another, to minor units."""

    column: str
    times: str | None = None
    nulls: tuple[str, ...] = ()
    rounding: Rounding = "reject"
    negate: bool = False


class TimeSpec(_Part, frozen=True):
    """Either `column` (+ `format`, `zone`) or, from the order of rows, `start` + row * `step`."""

    column: str | None = None
    format: str = "iso"
    zone: str = "UTC"
    start: str | None = None
    step: str | None = None


class EventSpec(_Part, frozen=True):
    """One event a row; what is not given is taken from the mapping's top level."""

    kind: str | TextSpec
    when: Condition | tuple[Condition, ...] = ()
    time: TimeSpec | None = None
    offset: str = "0s"
    identifiers: dict[str, str | TextSpec] | None = None
    account: str | TextSpec | None = None
    numbers: tuple[str, ...] | dict[str, str | NumberSpec] = ()
    texts: tuple[str, ...] | dict[str, str | TextSpec] = ()
    amount: str | AmountSpec | None = None
    currency: str | TextSpec | None = None
    opportunity_id: str | TextSpec | None = None
    stage: str | TextSpec | None = None
    url: str | TextSpec | None = None
    time_zone: str | TextSpec | None = None


class OutcomeKinds(_Part, frozen=True):
    """Event kinds of the two outcomes."""

    won: str = "won"
    lost: str = "lost"


class OutcomeSpec(_Part, frozen=True):
    """The event that says how it ended, `delay` after the row's time or at a time of its own."""

    column: str
    won: tuple[str, ...]
    lost: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    kinds: OutcomeKinds = OutcomeKinds()
    delay: str = "0s"
    time: TimeSpec | None = None
    when: Condition | tuple[Condition, ...] = ()
    numbers: tuple[str, ...] | dict[str, str | NumberSpec] = ()
    texts: tuple[str, ...] | dict[str, str | TextSpec] = ()
    amount: str | AmountSpec | None = None
    currency: str | TextSpec | None = None
    opportunity_id: str | TextSpec | None = None
    stage: str | TextSpec | None = None


class IndicatorSpec(_Part, frozen=True):
    """A market series: `series` is its name, or a TextSpec where a column holds it."""

    series: str | TextSpec
    value: str | NumberSpec
    unit: str | None = None
    observed: TimeSpec | None = None
    published: TimeSpec | None = None
    publish_delay: str = "0s"
    when: Condition | tuple[Condition, ...] = ()
    on_change: bool = False


class JoinSpec(_Part, frozen=True):
    """More columns from a file beside the imported one; `match` is its key, if named otherwise."""

    file: str
    key: str
    columns: tuple[str, ...]
    match: str | None = None
    format: FileFormat = FileFormat()


class FileMapping(_Part, frozen=True):
    """A whole mapping. Load it with :func:`connectors.files.mapping.load_mapping`."""

    workspace: str
    source: str
    events: tuple[EventSpec, ...] = ()
    topic: Literal["crm.events", "web.events"] = "crm.events"
    description: str = ""
    format: FileFormat = FileFormat()
    time: TimeSpec | None = None
    order: Order | None = None
    join: tuple[JoinSpec, ...] = ()
    rows: Condition | tuple[Condition, ...] = ()
    identifiers: dict[str, str | TextSpec] = {}
    account: str | TextSpec | None = None
    time_zone: str | TextSpec | None = None
    outcome: OutcomeSpec | None = None
    indicators: tuple[IndicatorSpec, ...] = ()
