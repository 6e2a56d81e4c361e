"""Walks over a mapping: which texts and conditions it has, and which columns it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from connectors.files.model import (
    AmountSpec,
    Condition,
    FileMapping,
    NumberSpec,
    TextSpec,
)

ROW, FILE = "row", "file"
"""Names that a template may use besides columns."""

_FIELD = re.compile(r"\{([^{}]*)\}")


def template_fields(template: str) -> list[str]:
    """Names in braces, in order. Raises ValueError at a stray brace or when there is none.

    >>> template_fields("order-{row}-{Invoice No}")
    ['row', 'Invoice No']
    """
    fields = _FIELD.findall(template)
    rest = _FIELD.sub("", template)
    if not fields or "{" in rest or "}" in rest or "" in fields:
        raise ValueError(f"{template!r}: write columns in braces, such as contact-{{row}}")
    return fields


def template_pieces(template: str) -> list[str]:
    """Literal texts around the fields: one more than there are fields."""
    return _FIELD.split(template)[::2]


def as_text_spec(given: str | TextSpec, constant: bool = False) -> TextSpec:
    """The long form: a bare word is a constant for kind, currency, series; else a column."""
    if isinstance(given, TextSpec):
        return given
    return TextSpec(constant=given) if constant else TextSpec(column=given)


def as_number_spec(given: str | NumberSpec) -> NumberSpec:
    """The long form of a number."""
    return given if isinstance(given, NumberSpec) else NumberSpec(column=given)


def as_amount_spec(given: str | AmountSpec) -> AmountSpec:
    """The long form of an amount."""
    return given if isinstance(given, AmountSpec) else AmountSpec(column=given)


def named_texts(
    given: tuple[str, ...] | dict[str, str | TextSpec],
) -> dict[str, TextSpec]:
    """Name -> text, of the list form (name = column) or the dictionary form."""
    if isinstance(given, tuple):
        return {name: TextSpec(column=name) for name in given}
    return {name: as_text_spec(spec) for name, spec in given.items()}


def named_numbers(
    given: tuple[str, ...] | dict[str, str | NumberSpec],
) -> dict[str, NumberSpec]:
    """Name -> number, of the list form (name = column) or the dictionary form."""
    if isinstance(given, tuple):
        return {name: NumberSpec(column=name) for name in given}
    return {name: as_number_spec(spec) for name, spec in given.items()}


def conditions(given: Condition | tuple[Condition, ...]) -> tuple[Condition, ...]:
    """One condition or several, as a tuple."""
    return given if isinstance(given, tuple) else (given,)


def parts_of(m: FileMapping) -> Iterator[tuple[str, msgspec.Struct]]:
    """(place with a trailing dot, part) of the top level and of each event it gives."""
    yield "", m
    for i, event in enumerate(m.events):
        yield f"events[{i}].", event
    if m.outcome is not None:
        yield "outcome.", m.outcome
    for i, indicator in enumerate(m.indicators):
        yield f"indicators[{i}].", indicator


def texts_of(m: FileMapping) -> Iterator[tuple[str, TextSpec]]:
    """(place, long form) of every text of the mapping."""
    for place, part in parts_of(m):
        for kind, given in (getattr(part, "identifiers", None) or {}).items():
            yield f"{place}identifiers.{kind}", as_text_spec(given)
        for key in ("kind", "currency", "series"):
            if (given := getattr(part, key, None)) is not None:
                yield place + key, as_text_spec(given, constant=True)
        for key in ("account", "opportunity_id", "stage", "url", "time_zone"):
            if (given := getattr(part, key, None)) is not None:
                yield place + key, as_text_spec(given)
        for name, spec in named_texts(getattr(part, "texts", ())).items():
            yield f"{place}texts.{name}", spec


def conditions_of(m: FileMapping) -> Iterator[tuple[str, Condition]]:
    """(place, condition) of every filter of the mapping."""
    for place, part in parts_of(m):
        key = "when" if place else "rows"
        for condition in conditions(getattr(part, key)):
            yield place + key, condition


def columns_used(m: FileMapping) -> dict[str, str]:
    """Column of the imported file -> first place in the mapping that names it."""
    used: dict[str, str] = {}
    joined = {column for join in m.join for column in join.columns}
    for place, column in _columns(m):
        if column not in joined:
            used.setdefault(column, place)
    return used


def _columns(m: FileMapping) -> Iterator[tuple[str, str]]:
    for place, spec in texts_of(m):
        if spec.column is not None:
            yield place, spec.column
        for field in template_fields(spec.template) if spec.template is not None else ():
            if field not in (ROW, FILE):
                yield place, field
    for place, condition in conditions_of(m):
        yield place, condition.column
    for i, join in enumerate(m.join):
        yield f"join[{i}].key", join.key
    if m.outcome is not None:
        yield "outcome.column", m.outcome.column
    for i, indicator in enumerate(m.indicators):
        yield f"indicators[{i}].value", as_number_spec(indicator.value).column
    for place, part in parts_of(m):
        for key in ("time", "observed", "published"):
            time = getattr(part, key, None)
            if time is not None and time.column is not None:
                yield place + key, time.column
        for name, number in named_numbers(getattr(part, "numbers", ())).items():
            yield f"{place}numbers.{name}", number.column
        if (given := getattr(part, "amount", None)) is not None:
            amount = as_amount_spec(given)
            yield f"{place}amount", amount.column
            if amount.times is not None:
                yield f"{place}amount.times", amount.times
