"""Which source events can be used, and for the others a reason that a person can act on.

Each check looks at a whole column. An event gets the first reason found, and one bad value refuses
the whole event (see the package).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streams.engine.columns import InputBatch, Rejection
from streams.identity import limits
from streams.identity.findings import Findings, always, shown, time_shown
from streams.identity.flat import Entries, entries, lengths, mask, micros
from streams.identity.normalise import currencies
from streams.identity.validate_maps import check_attributes, check_identifiers

_REQUIRED = {
    "event_id": "give each event an id of its own, so that a repeat of it is recognised",
    "kind": "say what happened, e.g. contact or page_view",
    "workspace": "name the workspace that the event belongs to",
}
_LONGEST = {
    "event_id": limits.MAX_EVENT_ID_BYTES,
    "kind": limits.MAX_KIND_BYTES,
    "source": limits.MAX_SOURCE_BYTES,
    "opportunity_id": limits.MAX_OPPORTUNITY_ID_BYTES,
    "account": limits.MAX_TEXT_BYTES,
    "stage": limits.MAX_TEXT_BYTES,
    "url": limits.MAX_TEXT_BYTES,
    "time_zone": limits.MAX_TEXT_BYTES,
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What validation found in a batch of n events.

    Attributes:
        valid: ``[n]`` whether the event can be used.
        workspace: ``[n]`` number of the workspace in the order of the names given, -1 unknown.
        heartbeat: ``[n]`` whether it is a heartbeat.
        occurred, received: ``[n]`` µs.
        identifiers: Entries of all n events, of the bad ones too.
        foreign_key: ``[n]`` valid, but the message key is not the workspace.
        rejections: One for each event that is not valid, in row order.
    """

    valid: NDArray[np.bool_]
    workspace: NDArray[np.int64]
    heartbeat: NDArray[np.bool_]
    occurred: NDArray[np.int64]
    received: NDArray[np.int64]
    identifiers: Entries
    foreign_key: NDArray[np.bool_]
    rejections: list[Rejection]


def validate(batch: InputBatch, workspaces: Mapping[str, int]) -> Checked:
    """Check n >= 1 events.

    Args:
        batch: Columns of the source event schema.
        workspaces: Number of each configured workspace.
    """
    values, findings = batch.values, Findings()
    for name, fix in _REQUIRED.items():
        findings.flag(
            lengths(values.column(name)) == 0,
            f"Missing{name.title().replace('_', '')}",
            always(f"{name} is empty; {fix}"),
        )
    number = _workspaces(values.column("workspace"), workspaces, findings)
    for name, longest in _LONGEST.items():
        _check_length(values.column(name), name, longest, findings)
    heartbeat = mask(pc.equal(values.column("kind"), limits.HEARTBEAT))
    identifiers = entries(values.column("identifiers"))
    check_identifiers(identifiers, heartbeat, findings)
    check_attributes(entries(values.column("numbers")), entries(values.column("texts")), findings)
    occurred, received = micros(values.column("occurred_at")), micros(values.column("received_at"))
    _check_times(occurred, received, heartbeat, batch.timestamps, findings)
    _check_money(values.column("amount_minor"), values.column("currency"), findings)
    rejections = findings.rejections
    valid = np.ones(len(batch), np.bool_)
    valid[[rejection.row for rejection in rejections]] = False
    same = pc.equal(batch.keys.cast(pa.binary()), values.column("workspace").cast(pa.binary()))
    return Checked(
        valid,
        number,
        heartbeat,
        occurred,
        received,
        identifiers,
        valid & ~mask(same),
        rejections,
    )


def _workspaces(
    column: pa.Array, workspaces: Mapping[str, int], findings: Findings
) -> NDArray[np.int64]:
    encoded = column.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    known = np.array([*(workspaces.get(name, -1) for name in names), -1], np.int64)
    code = pc.fill_null(encoded.indices, len(names)).to_numpy(zero_copy_only=False)
    number: NDArray[np.int64] = known[code]
    findings.flag(
        number < 0,
        "UnknownWorkspace",
        lambda row: (
            f"there is no workspace {shown(column[row])}; the known ones are "
            f"{', '.join(workspaces)}: correct the name or add the workspace's folder"
        ),
    )
    return number


def _check_length(column: pa.Array, name: str, longest: int, findings: Findings) -> None:
    if column.null_count == len(column):
        return
    size = lengths(column)
    findings.flag(
        size > longest,
        "TooLong",
        lambda row: (
            f"{name} has {size[row]:,} bytes, at most {longest:,} are allowed; it begins with "
            f"{shown(column[row])}: shorten it or send a reference to it"
        ),
    )


def _check_times(
    occurred: NDArray[np.int64],
    received: NDArray[np.int64],
    heartbeat: NDArray[np.bool_],
    log_ms: NDArray[np.int64],
    findings: Findings,
) -> None:
    unit = "times are microseconds since 1970-01-01 UTC, from 1990 on"
    findings.flag(
        (received < limits.EARLIEST_US) | (received > limits.LATEST_US),
        "BadReceivedAt",
        lambda row: f"received_at is {time_shown(received[row])}; {unit}",
    )
    findings.flag(
        occurred < limits.EARLIEST_US,
        "OccurredTooEarly",
        lambda row: f"occurred_at is {time_shown(occurred[row])}; {unit}",
    )
    # a record without a log time (the local runner's) says nothing about its received_at
    log_us = np.where(log_ms * 1000 >= limits.EARLIEST_US, log_ms * 1000, limits.LATEST_US)
    ahead_us = np.where(heartbeat, limits.MAX_HEARTBEAT_AHEAD_US, limits.MAX_AHEAD_US)
    findings.flag(
        received - ahead_us > log_us,
        "ReceivedInFuture",
        lambda row: (
            f"received_at is {time_shown(received[row])}, far after the event reached the "
            f"log at {time_shown(log_us[row])}; check the sender's clock and time zone"
        ),
    )
    findings.flag(
        occurred - limits.MAX_AHEAD_US > received,
        "OccurredInFuture",
        lambda row: (
            f"occurred_at is {time_shown(occurred[row])}, more than a day after received_at "
            f"({time_shown(received[row])}); check the sender's clock, or put a planned date into "
            "texts"
        ),
    )


def _check_money(amount: pa.Array, currency: pa.Array, findings: Findings) -> None:
    if amount.null_count == len(amount):
        return
    code = mask(pc.match_substring_regex(currencies(currency), "^[A-Z]{3}$"))
    findings.flag(
        mask(amount.is_valid()) & ~code,
        "BadCurrency",
        lambda row: (
            f"currency is {shown(currency[row])} and there is an amount; give the three letters "
            "of ISO 4217, e.g. EUR"
        ),
    )
