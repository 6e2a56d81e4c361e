"""What the demo streams in, and the thread that sends it at a steady rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from connectors.files.kafka_sink import KafkaSink
from connectors.files.mapping import load_mapping
from connectors.files.pipeline import source_batches
from connectors.files.shipped import shipped_excerpt
from streams.engine.errors import ConfigurationError

SOURCES = {"bank_marketing": "bank contacts as CRM events", "online_shoppers": "shop web sessions"}
"""Shipped mappings that the demo streams, with what they are."""

_TURN_S = 0.05


@dataclass(slots=True)
class Feed:
    """Source events of one workspace, in the order of event time."""

    workspace: str
    what: str
    topic: str
    batches: list[pa.RecordBatch]
    total: int


def prepare(mapping: str, data: Path | None, limit: int | None = None) -> Feed:
    """Read one source.

    Args:
        mapping: Name of a shipped mapping.
        data: Folder with the whole data set in a folder named like the mapping; None, or a folder
            without it: the shipped excerpt.
        limit: Most events.

    Raises:
        ConfigurationError: there is neither.
    """
    loaded = load_mapping(mapping)
    file = _whole(mapping, data) or shipped_excerpt(mapping)
    if file is None:
        raise ConfigurationError(f"the excerpt of {mapping} is missing; get a complete clone")
    feed = Feed(loaded.workspace, SOURCES[mapping], loaded.topic, [], 0)
    for topic, batch in source_batches(loaded, [file]):
        if topic != loaded.topic:
            continue
        left = batch.num_rows if limit is None else limit - feed.total
        feed.batches.append(batch.slice(0, left))
        feed.total += feed.batches[-1].num_rows
        if limit is not None and feed.total >= limit:
            break
    return feed


def _whole(mapping: str, data: Path | None) -> Path | None:
    if data is None:
        return None
    found = sorted(p for p in (data / mapping).glob("*.csv*") if p.suffix in (".csv", ".gz"))
    return found[0] if found else None


class Sender:
    """Sends all feeds at the same time; each gets its share of the rate, so they end together.

    :meth:`start` sends the first event of each; the others follow from :meth:`go_on` on.

    Args:
        feeds: What to send.
        sink: Where to.
        events_per_s: Rate of all feeds together.
        sending: Called with (workspace, event ids) before they are sent.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        sink: KafkaSink,
        events_per_s: float,
        sending: Callable[[str, list[str]], None],
    ) -> None:
        self.sent = {feed.workspace: 0 for feed in feeds}
        self.error: BaseException | None = None
        self.began: float | None = None
        """When :meth:`go_on` was called, on ``time.monotonic``."""
        self._feeds, self._sink, self._sending = feeds, sink, sending
        self._rate = events_per_s
        self._going = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        """Send the first event of each feed."""
        self._thread.start()

    def go_on(self) -> None:
        """Send the others at the given rate."""
        self.began = time.monotonic()
        self._going.set()

    def stop(self) -> None:
        """Send no more; what was sent is acknowledged when this returns."""
        self._stop.set()
        self._going.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def running(self) -> bool:
        """Whether there is more to send."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._send()
            self._sink.flush()
        except BaseException as error:
            self.error = error

    def _send(self) -> None:
        total = sum(feed.total for feed in self._feeds)
        left = [
            (feed, _Cursor(feed.batches), self._rate * feed.total / total) for feed in self._feeds
        ]
        for feed, cursor, _ in left:
            self._give(feed, cursor, 1)
        self._sink.flush()
        self._going.wait()
        while left and not self._stop.wait(_TURN_S):
            passed = time.monotonic() - (self.began or 0.0)
            for feed, cursor, rate in left:
                due = min(feed.total, 1 + int(passed * rate))
                self._give(feed, cursor, due - self.sent[feed.workspace])
            left = [entry for entry in left if self.sent[entry[0].workspace] < entry[0].total]

    def _give(self, feed: Feed, cursor: _Cursor, count: int) -> None:
        for part in cursor.take(count):
            self._sending(feed.workspace, part.column("event_id").to_pylist())
            self._sink.send(feed.topic, part)
            self.sent[feed.workspace] += part.num_rows


class _Cursor:
    """A place in a sequence of batches."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        self._batches = batches
        self._batch = self._row = 0

    def take(self, count: int) -> Iterator[pa.RecordBatch]:
        """The next ``count`` rows, in as many parts as they lie in batches."""
        while count > 0 and self._batch < len(self._batches):
            batch = self._batches[self._batch]
            part = batch.slice(self._row, count)
            count -= part.num_rows
            self._row += part.num_rows
            if self._row == batch.num_rows:
                self._batch, self._row = self._batch + 1, 0
            if part.num_rows:
                yield part
