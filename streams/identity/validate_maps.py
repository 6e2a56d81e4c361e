"""Which maps of identifiers and attributes can be used: their sizes, names and values."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from streams.identity import limits
from streams.identity.findings import Findings, always, shown
from streams.identity.flat import Entries, lengths, mask
from streams.identity.normalise import trimmed


def check_identifiers(found: Entries, heartbeat: NDArray[np.bool_], findings: Findings) -> None:
    """Refuse events by their identifiers; a heartbeat needs none."""
    findings.flag(
        (found.count == 0) & ~heartbeat,
        "NoIdentifiers",
        always(
            "the event has no identifier; give at least one of anonymous_id, user_id, email, crm_id"
        ),
    )
    findings.flag(
        found.count > limits.MAX_IDENTIFIERS,
        "TooManyIdentifiers",
        lambda row: (
            f"the event has {found.count[row]:,} identifiers, at most {limits.MAX_IDENTIFIERS} "
            "are allowed; send one event per person"
        ),
    )
    _check_names(found, "identifiers", findings)
    _check_items(found, "identifiers", limits.MAX_IDENTIFIER_BYTES, findings)
    if len(found.items):
        empty = lengths(trimmed(found.items)) == 0
        findings.flag_entries(
            found,
            empty,
            "EmptyIdentifier",
            lambda at: (
                f"identifiers[{shown(found.keys[at])}] is empty; leave an identifier out when it "
                "is not known"
            ),
        )


def check_attributes(numbers: Entries, texts: Entries, findings: Findings) -> None:
    """Refuse events by their attributes, numbers and texts."""
    count = numbers.count + texts.count
    findings.flag(
        count > limits.MAX_ATTRIBUTES,
        "TooManyAttributes",
        lambda row: (
            f"the event has {count[row]:,} attributes, at most {limits.MAX_ATTRIBUTES} are "
            "allowed; send those that the feature catalogue uses"
        ),
    )
    _check_names(numbers, "numbers", findings)
    _check_names(texts, "texts", findings)
    _check_items(texts, "texts", limits.MAX_TEXT_BYTES, findings)
    if len(numbers.items):
        number = numbers.items
        if number.null_count:
            number = pc.fill_null(number, float("nan"))
        findings.flag_entries(
            numbers,
            ~np.isfinite(number.to_numpy()),
            "NotFinite",
            lambda at: (
                f"numbers[{shown(numbers.keys[at])}] is {numbers.items[at].as_py()}; leave a "
                "number out when it is not known"
            ),
        )


def _check_names(found: Entries, what: str, findings: Findings) -> None:
    size = lengths(found.keys)
    findings.flag_entries(
        found,
        (size == 0) | (size > limits.MAX_NAME_BYTES),
        "BadName",
        lambda at: (
            f"a name in {what} has {size[at]:,} bytes, allowed are 1 to {limits.MAX_NAME_BYTES}; "
            f"it begins with {shown(found.keys[at])}"
        ),
    )


def _check_items(found: Entries, what: str, longest: int, findings: Findings) -> None:
    if found.items.null_count:
        findings.flag_entries(
            found,
            mask(found.items.is_null()),
            "MissingValue",
            lambda at: f"{what}[{shown(found.keys[at])}] is null; leave it out if it is not known",
        )
    size = lengths(found.items)
    findings.flag_entries(
        found,
        size > longest,
        "TooLong",
        lambda at: (
            f"{what}[{shown(found.keys[at])}] has {size[at]:,} bytes, at most {longest:,} are "
            "allowed; shorten it or send a reference to it"
        ),
    )
