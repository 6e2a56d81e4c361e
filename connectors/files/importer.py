"""Drives an import: sends the records of a pipeline to a sink, paced, resumable, stoppable."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from connectors.files.checkpoint import CheckpointFile
from connectors.files.errors import SourceFileError
from connectors.files.pacing import FullSpeed, Pacer
from connectors.files.pipeline import Pipeline, ReadStats
from connectors.files.timeline import Window

CHECKPOINT_S = 1.0
"""Seconds between two checkpoints; each waits until the sink has acknowledged everything."""

_LONGEST_WAIT_S = 0.1

Status = Literal["done", "stopped", "limit", "already_done"]


class Sink(Protocol):
    """Where records go."""

    def destination(self) -> str:
        """What this place is, so that progress is never mistaken for that of another place."""

    def send(self, topic: str, records: Any) -> None:
        """Takes a RecordBatch for a topic; may return before it is acknowledged."""

    def flush(self) -> None:
        """Returns when everything sent is acknowledged. Raises DeliveryError otherwise."""


@dataclass(slots=True)
class Progress:
    """How far an import is.

    sent: records sent by this run; resumed: records that an earlier run had sent; acknowledged:
    records of the whole import that are safe; event_time_us: of the newest record sent.
    """

    sent: int = 0
    resumed: int = 0
    acknowledged: int = 0
    event_time_us: int | None = None
    elapsed_s: float = 0.0
    read: ReadStats = field(default_factory=ReadStats)


@dataclass(frozen=True, slots=True)
class ImportResult:
    """How an import ended, and its last progress."""

    status: Status
    progress: Progress
    checkpoint: Path

    @property
    def events_per_s(self) -> float:
        """Records sent by this run a second."""
        return self.progress.sent / self.progress.elapsed_s if self.progress.elapsed_s else 0.0


class Importer:
    """One import. `run` once.

    folder: of the checkpoints; limit: most records this run sends; stop: set it from a signal
    handler, and the run ends with everything sent acknowledged and noted. on_progress is called
    after each part that was sent and at least every 0.1 s while waiting.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        files: Sequence[Path],
        sink: Sink,
        folder: Path,
        pacer: Pacer | None = None,
        limit: int | None = None,
        stop: threading.Event | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.progress = Progress(read=pipeline.stats)
        self._pipeline = pipeline
        self._files = [str(file) for file in files]
        self._sink = sink
        self._pacer = pacer or FullSpeed()
        self._limit = limit
        self._stop = stop or threading.Event()
        self._on_progress = on_progress
        self._clock = clock
        self._checkpoint = CheckpointFile.of(
            folder,
            pipeline.mapping.source,
            pipeline.digest,
            pipeline.file_digests,
            sink.destination(),
        )
        self._began = self._saved = 0.0
        self._position = 0

    def run(self, fresh: bool = False) -> ImportResult:
        """Sends what is not acknowledged yet; with `fresh` everything.

        Raises SourceFileError and DeliveryError; the checkpoint then says what is safe.
        """
        if fresh:
            self._checkpoint.forget()
        known = self._checkpoint.load()
        self.progress.resumed = self.progress.acknowledged = known.records
        if known.done:
            return self._result("already_done")
        self._began = self._saved = self._clock()
        status: Status = "done"
        try:
            for window in self._pipeline.windows():
                ended = self._send(window)
                if ended is not None:
                    status = ended
                    break
        except SourceFileError:
            self._save(done=False)
            raise
        self._save(done=status == "done")
        self._report()
        return self._result(status)

    def _send(self, window: Window) -> Status | None:
        """Sends a window; a status when the run ends within it."""
        first, self._position = self._position, self._position + window.count
        at = max(0, self.progress.resumed - first)
        while at < window.count:
            if self._stop.is_set():
                return "stopped"
            left = window.count - at
            if self._limit is not None:
                left = min(left, self._limit - self.progress.sent)
                if left <= 0:
                    return "limit"
            count, wait_s = self._pacer.due(window.times[at : at + left], self._clock())
            if count:
                for topic, records in window.part(at, at + count):
                    self._sink.send(topic, records)
                at += count
                self.progress.sent += count
                self.progress.event_time_us = int(window.times[at - 1])
            else:
                self._stop.wait(min(wait_s, _LONGEST_WAIT_S))
            if self._clock() - self._saved >= CHECKPOINT_S:
                self._save(done=False)
            self._report()
        return "stopped" if self._stop.is_set() else None

    def _save(self, done: bool) -> None:
        """Waits for the acknowledgements of all that was sent, then notes it."""
        self._sink.flush()
        records = self.progress.resumed + self.progress.sent
        self.progress.acknowledged = records
        self._checkpoint.save(records, done, self._pipeline.mapping.source, self._files)
        self._saved = self._clock()

    def _report(self) -> None:
        self.progress.elapsed_s = self._clock() - self._began
        if self._on_progress is not None:
            self._on_progress(self.progress)

    def _result(self, status: Status) -> ImportResult:
        return ImportResult(status, self.progress, self._checkpoint.path)
