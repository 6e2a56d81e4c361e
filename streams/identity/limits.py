"""Every limit on a source event, in one place; lengths are bytes of UTF-8, times are µs.

They keep one odd event from growing a table, a message or a watermark beyond what others can bear.
"""

from __future__ import annotations

MAX_EVENT_ID_BYTES = 256
MAX_KIND_BYTES = 128
MAX_SOURCE_BYTES = 256
MAX_OPPORTUNITY_ID_BYTES = 256
MAX_NAME_BYTES = 256
"""Name of an attribute, type of an identifier."""
MAX_IDENTIFIER_BYTES = 1024
MAX_TEXT_BYTES = 32 * 1024
"""Any other string: text attribute, account, stage, URL, time zone."""

MAX_IDENTIFIERS = 32
MAX_ATTRIBUTES = 256
"""Numbers and texts together."""

EARLIEST_US = 631_152_000_000_000
"""1990-01-01: before it, a time is a unit mixed up (seconds for microseconds) or a default."""
LATEST_US = 7_258_118_400_000_000
"""2200-01-01: keeps sums of times within 64 bits."""
MAX_AHEAD_US = 86_400_000_000
"""How far occurred_at may lie after received_at, and received_at after the record's log time."""
MAX_HEARTBEAT_AHEAD_US = 32 * MAX_AHEAD_US
"""The same for the received_at of a heartbeat: one that closes an import lies an epoch ahead."""
WATERMARK_AHEAD_US = 5 * 60_000_000
"""How far beyond its received_at an event may move the watermark."""

HEARTBEAT = "$heartbeat"
"""Kind of a source event that only moves the watermark."""
