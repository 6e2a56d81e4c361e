"""One spelling for what means the same: e-mails, identifiers, URLs, currencies, accounts.

Trimming and case are Arrow's work on whole columns. What needs Python (international domains, URLs
that are not in their normal form yet, time zones) is done once for each distinct value of a batch.

No mailbox tricks: dots and +tags in an address mean something at some providers and nothing at
others, so they stay.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit, urlunsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streams.identity.flat import mask

FREE_MAIL = (
    "163.com", "aol.com", "free.fr", "gmail.com", "gmx.at", "gmx.ch", "gmx.com", "gmx.de",
    "gmx.net", "googlemail.com", "hotmail.co.uk", "hotmail.com", "hotmail.de", "hotmail.fr",
    "icloud.com", "laposte.net", "libero.it", "live.com", "mac.com", "mail.com", "mail.ru",
    "me.com", "msn.com", "naver.com", "orange.fr", "outlook.com", "outlook.de", "pm.me",
    "proton.me", "protonmail.com", "qq.com", "t-online.de", "web.de", "yahoo.co.jp",
    "yahoo.co.uk", "yahoo.com", "yahoo.de", "yahoo.fr", "yandex.ru", "zoho.com",
)  # fmt: skip
"""Domains of private mailboxes: they name no account."""

_FREE_MAIL = pa.array(FREE_MAIL)
_PORTS = {"http": 80, "https": 443}
_TRACKING = re.compile(r"utm_|(gclid|fbclid)(=|$)", re.IGNORECASE)
# What normal_url would leave alone: the character ranges are printable ASCII without ? and #.
_NORMAL_URL = r'^https?://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?:/[!-"$->@-~]*)?(?:\?[!-"$-~]+)?$'
_TRACKED_URL = r"(?i)[?&](?:utm_|(?:gclid|fbclid)(?:=|&|$))"


def trimmed(column: pa.Array) -> pa.Array:
    """Strings without white space around them."""
    return pc.utf8_trim_whitespace(column)


def currencies(column: pa.Array) -> pa.Array:
    """Currency codes, trimmed and in capitals."""
    return pc.utf8_upper(trimmed(column))


def emails(column: pa.Array) -> pa.Array:
    """Trimmed addresses in lower case, their domain in ASCII (IDNA)."""
    lower = pc.utf8_lower(column)
    return _repaired(lower, pc.invert(pc.string_is_ascii(lower)), normal_email)


def urls(column: pa.Array) -> pa.Array:
    """URLs as :func:`normal_url` gives them."""
    normal = pc.and_not(
        pc.match_substring_regex(column, _NORMAL_URL),
        pc.match_substring_regex(column, _TRACKED_URL),
    )
    return _repaired(column, pc.invert(normal), normal_url)


def accounts(named: pa.Array, email: pa.Array) -> pa.Array:
    """The account that the source named, else the domain of the e-mail unless it is a free one.

    Args:
        named: string [n], as it came.
        email: string [n], normalised, null where there is none.
    """
    if named.null_count < len(named):
        named = pc.utf8_lower(trimmed(named))
        named = pc.if_else(pc.equal(named, ""), None, named)
    if named.null_count == 0 or email.null_count == len(email):
        return named
    domain = pc.struct_field(pc.extract_regex(email, r"@(?P<domain>[^@]+\.[^@]+)$"), "domain")
    company = pc.if_else(pc.is_in(domain, _FREE_MAIL), None, domain)
    return pc.coalesce(named, company)


def unknown_time_zones(column: pa.Array) -> int:
    """How many values name no time zone."""
    counts = pc.value_counts(column.drop_null())
    return sum(
        count["counts"].as_py() for count in counts if not is_time_zone(count["values"].as_py())
    )


def normal_email(address: str) -> str:
    """Lower case, composed characters, the domain in ASCII where it can be."""
    local, at, domain = unicodedata.normalize("NFC", address).lower().rpartition("@")
    return local + at + _ascii_host(domain) if at else domain


def normal_url(url: str) -> str:
    """Scheme and host in lower case; no default port, user info, fragment or tracking parameters.

    Path and the other parameters stay as they are. What is no URL is only trimmed.

    >>> normal_url("HTTPS://Shop.Example:443/Cart?utm_source=x&id=7#top")
    'https://shop.example/Cart?id=7'
    """
    text = url.strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return text
    query = "&".join(p for p in parts.query.split("&") if not _TRACKING.match(p)).rstrip()
    host = _ascii_host(parts.hostname or "")
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != _PORTS.get(parts.scheme):
        host = f"{host}:{port}"
    return urlunsplit(SplitResult(parts.scheme, host, parts.path, query, "")).strip()


@lru_cache(maxsize=1024)
def is_time_zone(name: str) -> bool:
    """Whether the time zone data base has this name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _ascii_host(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def _repaired(column: pa.Array, wrong: pa.Array, repair: Callable[[str], str]) -> pa.Array:
    """``column`` with ``repair`` applied where it is wrong, once for each distinct value."""
    where = mask(wrong)
    if not where.any():
        return column
    encoded = column.filter(pa.array(where)).dictionary_encode()
    repaired = pa.array([repair(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return pc.replace_with_mask(
        column, pa.array(where), repaired.take(encoded.indices.cast(pa.int64()))
    )


def none(n: int) -> pa.Array:
    """Return n null strings."""
    return pa.nulls(n, pa.string())


def picked(column: pa.Array, events: NDArray[np.int64], n: int) -> pa.Array:
    """Spread ``column`` [m], the values of ``events`` [m], over n events; null elsewhere."""
    at = np.full(n, -1, np.int64)
    at[events[::-1]] = np.arange(len(events))[::-1]  # of several the first stays
    return column.take(pa.array(at, mask=at < 0))
