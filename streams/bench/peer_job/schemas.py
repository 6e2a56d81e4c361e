"""Schemas and constants of the peer job; ids and fields are the job's, not leadstream's."""

from __future__ import annotations

import json

SCHEMA_ID = 1
PARTITIONS = 4
EVENT_TYPES = (
    "page_view", "pricing_view", "form_submit", "email_open", "email_click", "webinar",
    "chat", "call", "meeting", "demo_request", "trial_start", "content_download",
)  # fmt: skip
DAY_US = 86_400e6
HALF_LIFE_US = 7 * DAY_US
WINDOW = 16
"""A lead remembers this many accepted event ids."""
MODEL_VERSION = "mlp-1"

_TIME = {"type": "long", "logicalType": "timestamp-micros"}

EVENT_SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "LeadEvent",
        "namespace": "peer",
        "fields": [
            {"name": "event_id", "type": "string"},
            {"name": "lead_id", "type": "string"},
            {
                "name": "event_type",
                "type": {"type": "enum", "name": "EventType", "symbols": list(EVENT_TYPES)},
            },
            {"name": "occurred_at", "type": _TIME},
            {"name": "url", "type": ["null", "string"], "default": None},
            {"name": "value", "type": ["null", "double"], "default": None},
        ],
    }
)
SCORE_SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "LeadScore",
        "namespace": "peer",
        "fields": [
            {"name": "lead_id", "type": "string"},
            {"name": "event_id", "type": "string"},
            {"name": "probability", "type": "float"},
            {"name": "event_count", "type": "int"},
            {"name": "occurred_at", "type": _TIME},
            {"name": "scored_at", "type": _TIME},
            {"name": "model_version", "type": "string"},
        ],
    }
)
