"""The job's input: seeded lead events with late ones and duplicates, keyed by lead.

100,000 leads, popularity ~ 1/rank^0.9; event time covers 30 days; 5 % of the events are late by
about an hour, the others by about two seconds. 2 % of the messages repeat an earlier one after 0 to
11 further events of its lead, so a memory of 16 ids catches each.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from confluent_kafka import Producer
from numpy.typing import NDArray

from streams.bench.peer_job.schemas import DAY_US, EVENT_SCHEMA, EVENT_TYPES, PARTITIONS, SCHEMA_ID
from streams.bench.topics import create
from streams.engine.codec import Codec

LEADS = 100_000
DUPLICATE_SHARE = 0.02
_FIRST_US = 1_735_689_600_000_000  # 2025-01-01
_CHUNK = 50_000
_PAGES = ("/", "/pricing", "/docs", "/blog/42", "/trial", "/contact")


def events(messages: int, seed: int = 7) -> tuple[pa.RecordBatch, int]:
    """Make the messages in the order in which they are sent.

    Returns:
        Columns of ``LeadEvent`` and how many event ids are distinct.
    """
    rng = np.random.default_rng(seed)
    repeats = int(messages * DUPLICATE_SHARE)
    n = messages - repeats
    weight = 1.0 / np.arange(1, LEADS + 1) ** 0.9
    lead = rng.choice(LEADS, n, p=weight / weight.sum())
    delay = np.where(rng.random(n) < 0.05, rng.exponential(3600e6, n), rng.exponential(2e6, n))
    at = _FIRST_US + (np.arange(n) / n * 30 * DAY_US - delay).astype(np.int64)
    kind = rng.integers(0, len(EVENT_TYPES), n)
    value = np.where(rng.random(n) < 0.3, np.round(rng.exponential(50.0, n), 2), np.nan)
    ids = [h[:8] + "-" + h[8:16] + "-" + h[16:] for h in _hex(rng.bytes(16 * n))]
    order = _with_repeats(lead, repeats, rng)
    take = pa.array(order)
    columns = {
        "event_id": pa.array(ids).take(take),
        "lead_id": pa.array([f"lead-{i:06d}" for i in range(LEADS)]).take(pa.array(lead[order])),
        "event_type": pa.array(EVENT_TYPES).take(pa.array(kind[order])),
        "occurred_at": pa.array(at[order]).cast(pa.timestamp("us")),
        "url": pa.array(_PAGES).take(pa.array(rng.integers(0, len(_PAGES), n)[order])),
        "value": pa.array(value[order], mask=np.isnan(value[order])),
    }
    return pa.RecordBatch.from_pydict(columns), n


def _with_repeats(
    lead: NDArray[np.int64], repeats: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Event numbers in sending order, repeats put in."""
    n = len(lead)
    by_lead = np.argsort(lead, kind="stable")
    place = np.empty(n, np.int64)
    place[by_lead] = np.arange(n)
    ends = np.searchsorted(lead[by_lead], lead, side="right") - 1
    repeated = rng.choice(n, repeats, replace=False)
    behind = np.minimum(place[repeated] + rng.integers(0, 12, repeats), ends[repeated])
    position = np.concatenate([np.arange(n, dtype=float), by_lead[behind] + 0.5])
    numbers = np.concatenate([np.arange(n), repeated])
    ordered: NDArray[np.int64] = numbers[np.argsort(position, kind="stable")]
    return ordered


def _hex(data: bytes) -> list[str]:
    text = data.hex()
    return [text[i : i + 32] for i in range(0, len(text), 32)]


def generate(bootstrap: str, topic: str, messages: int, seed: int = 7) -> int:
    """Create the topic and send the messages; returns how many event ids are distinct."""
    create(bootstrap, {topic: PARTITIONS})
    batch, distinct = events(messages, seed)
    codec = Codec(EVENT_SCHEMA, SCHEMA_ID)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 50,
            "batch.size": 1 << 20,
            "queue.buffering.max.messages": 4 * _CHUNK,
        }
    )
    for start in range(0, batch.num_rows, _CHUNK):
        part = batch.slice(start, _CHUNK)
        keys = part.column("lead_id").to_pylist()
        values = codec.encode(part)
        while len(producer) > 2 * _CHUNK:
            producer.poll(0.05)
        records = [{"key": k, "value": v} for k, v in zip(keys, values, strict=True)]
        taken = producer.produce_batch(topic, records)
        if taken != len(records):
            raise RuntimeError(f"the client took {taken} of {len(records)} messages")
    left = producer.flush(60)
    if left:
        raise RuntimeError(f"{left} messages were not delivered within a minute")
    return distinct
