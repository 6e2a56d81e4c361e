"""The one typed list of all topics: what flows, under which key, how long it is kept, who uses it.

AsyncAPI (``schemas/asyncapi.yaml``) and the table (``schemas/TOPICS.md``) are generated from it by
``leadstream topics docs --write``; ``leadstream topics create`` makes it true on a broker.
Changelogs and dead letters are derived: :func:`changelog_topic`, :func:`dlq_topic`.

>>> topic("lead.timeline").key
'workspace/lead_id'
>>> dlq_topic("crm.events").name
'crm.events.dlq'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

Codec = Literal["columns", "rows", "raw"]
"""columns: Avro <-> Arrow a batch at a time; rows: fastavro, low volume; raw: bytes as they are."""

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic.

    name: without the prefix. key: fields of the message key, joined by '/'. schema: stem of the
    .avsc file of the values, "" for raw bytes of the engine. partitions: default count.
    retention_ms: milliseconds that records are kept, None for ever. compacted: only the newest
    record of a key is kept. writers, readers: roles and components. broadcast: each process reads
    the whole topic. max_message_bytes: largest record batch, None for the broker's default.
    settings: further broker settings.
    """

    name: str
    key: str
    schema: str
    partitions: int
    retention_ms: int | None
    compacted: bool
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    doc: str
    codec: Codec = "columns"
    broadcast: bool = False
    max_message_bytes: int | None = None
    settings: tuple[tuple[str, str], ...] = ()


# Quick compaction, so that a reader from the start reads little more than one record a key.
_CHANGELOG_SETTINGS = (
    ("segment.bytes", str(64 * MIB)),
    ("segment.ms", str(10 * 60_000)),
    ("min.cleanable.dirty.ratio", "0.1"),
    ("max.compaction.lag.ms", str(HOUR_MS)),
)
_COMPACTED_SETTINGS = (
    ("segment.ms", str(HOUR_MS)),
    ("min.cleanable.dirty.ratio", "0.1"),
    ("max.compaction.lag.ms", str(DAY_MS)),
)

_ALL = (
    Topic(
        "crm.events", "workspace", "source_event", 4, 30 * DAY_MS, False,
        ("connectors",), ("identity",),
        "Source events of CRM systems and imports, as they came. Same partition count as "
        "web.events, so that one identity task owns a workspace.",
    ),
    Topic(
        "web.events", "workspace", "source_event", 4, 30 * DAY_MS, False,
        ("connectors",), ("identity",),
        "Source events of sites and apps, as they came. Same partition count as crm.events.",
    ),
    Topic(
        "market.indicators", "workspace/series", "market_indicator", 1, 730 * DAY_MS, False,
        ("connectors",), ("scoring", "forecasting"),
        "Observations of market series as of their publication.",
        broadcast=True,
    ),
    Topic(
        "lead.timeline", "workspace/lead_id", "timeline_event", 4, 730 * DAY_MS, False,
        ("identity",), ("scoring", "forecasting", "sinks"),
        "Everything that happened to a lead, in order: clean, deduplicated, resolved to the "
        "person; and the ticks that close epochs of event time.",
    ),
    Topic(
        "opportunities", "workspace/opportunity_id", "opportunity", 4, None, True,
        ("identity",), ("forecasting", "sinks"),
        "Newest state of each deal.",
        settings=_COMPACTED_SETTINGS,
    ),
    Topic(
        "lead.labels", "workspace/target", "label", 4, 730 * DAY_MS, False,
        ("scoring", "governance"), ("learning", "governance"),
        "Outcomes of past feature rows, retractions, the ends of epochs, and people's commands. "
        "Keyed so that one learning task owns a target.",
    ),
    Topic(
        "leads.scored", "workspace/lead_id/target", "scored_lead", 4, 30 * DAY_MS, False,
        ("scoring",), ("sinks", "subscribers"),
        "Every score with its reasons, one for each event and target.",
    ),
    Topic(
        "leads.latest", "workspace/lead_id/target", "scored_lead", 4, None, True,
        ("scoring",), ("sinks", "subscribers"),
        "Newest score of each lead and target.",
        settings=_COMPACTED_SETTINGS,
    ),
    Topic(
        "models.current", "workspace/target/slot", "model_weights", 1, None, True,
        ("learning",), ("scoring", "governance"),
        "Newest weights, calibration and champion of each slot.",
        codec="rows", broadcast=True, max_message_bytes=8 * MIB, settings=_COMPACTED_SETTINGS,
    ),
    Topic(
        "models.history", "workspace/target/slot", "model_weights", 1, 90 * DAY_MS, False,
        ("learning",), ("replay", "governance"),
        "Every version of the weights, so that published scores can be recomputed; kept for "
        "replay.retention.",
        codec="rows", max_message_bytes=8 * MIB,
    ),
    Topic(
        "models.lifecycle", "workspace/target/slot", "model_lifecycle", 1, None, False,
        ("learning",), ("governance", "subscribers"),
        "Governance events: trained, gated, promoted, rolled back, refused; alarms. Kept for ever.",
        codec="rows",
    ),
    Topic(
        "models.metrics", "workspace/target", "model_metrics", 1, 30 * DAY_MS, False,
        ("learning",), ("governance", "subscribers"),
        "Live prequential quality of each target's scores.",
        codec="rows",
    ),
)  # fmt: skip

TOPICS: Mapping[str, Topic] = MappingProxyType({each.name: each for each in _ALL})
"""All topics with a schema, by name without prefix, in the order of the flow."""

ROLE_INPUTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "identity": ("crm.events", "web.events"),
        "scoring": ("lead.timeline",),
        "learning": ("lead.labels",),
    }
)
"""Roles that keep state, with the co-partitioned topics that their tasks read."""


def topic(name: str) -> Topic:
    """Topic of TOPICS, changelog or dead letters by name. Raises LookupError with all names."""
    found = all_topics().get(name)
    if found is None:
        raise LookupError(f"no topic {name!r}; there are: {', '.join(all_topics())}")
    return found


def changelog_topic(role: str, partitions: int | None = None) -> Topic:
    """Changelog of a role's state: as many partitions as the role's inputs, compacted."""
    inputs = ROLE_INPUTS.get(role, ())
    default = max((TOPICS[name].partitions for name in inputs), default=1)
    return Topic(
        f"{role}-changelog", "state key", "", partitions or default, None, True,
        (f"{role} (engine)",), (f"{role} (engine)",),
        f"State and progress of the role {role}, written in the transactions of its outputs and "
        "read when a task opens. Raw bytes of the engine, not for subscribers.",
        codec="raw", max_message_bytes=8 * MIB, settings=_CHANGELOG_SETTINGS,
    )  # fmt: skip


def dlq_topic(of: Topic | str) -> Topic:
    """Dead letters of a topic: original key and value, the cause in headers (DeadLetter)."""
    source = TOPICS[of] if isinstance(of, str) else of
    return Topic(
        f"{source.name}.dlq", source.key, source.schema, 1, 365 * DAY_MS, False,
        source.readers, ("people on call",),
        f"Records of {source.name} that were refused: key and value untouched, the cause in "
        "headers (see DeadLetter).",
        codec="raw",
        # room for the headers above the largest original
        max_message_bytes=(source.max_message_bytes or MIB) + MIB,
    )  # fmt: skip


def all_topics(partitions: int | None = None) -> dict[str, Topic]:
    """TOPICS, then dead letters of what tasks read, then changelogs; by name without prefix.

    partitions: count for all topics that are cut into partitions by default (those with one
    partition keep it), so co-partitioned topics stay so.
    """
    inputs = tuple(name for names in ROLE_INPUTS.values() for name in names)
    found = [*TOPICS.values()]
    found += [dlq_topic(name) for name in (*inputs, "market.indicators")]
    found += [changelog_topic(role) for role in ROLE_INPUTS]
    if partitions is not None:
        found = [
            replace(each, partitions=partitions) if each.partitions > 1 else each for each in found
        ]
    return {each.name: each for each in found}


def topic_name(name: str, prefix: str = "") -> str:
    """Name on the broker: the prefix put before the name."""
    return prefix + name


def config(topic: Topic, replication_factor: int = 1) -> dict[str, str]:
    """Broker settings of a topic.

    Timestamps are those of the append, since an import of old events would otherwise expire at
    once, and since latency is measured from the append. From three replicas up an append must
    reach two of them.
    """
    settings = {
        "cleanup.policy": "compact" if topic.compacted else "delete",
        "message.timestamp.type": "LogAppendTime",
    }
    if not topic.compacted:
        kept_ms = topic.retention_ms
        settings["retention.ms"] = "-1" if kept_ms is None else str(kept_ms)
        if kept_ms is None:
            settings["retention.bytes"] = "-1"
    if topic.max_message_bytes is not None:
        settings["max.message.bytes"] = str(topic.max_message_bytes)
    if replication_factor >= 3:
        settings["min.insync.replicas"] = "2"
    settings.update(topic.settings)
    return settings
