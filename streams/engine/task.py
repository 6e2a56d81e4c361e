"""One task: a role's work on one partition number, from fencing to the last commit.

A task has a thread of its own. It opens (fence the former owner, restore the state, seek to
progress), then takes slices, decodes, processes and hands the result to a second thread that
commits it while the next batch is processed. Whatever goes wrong in between, memory that was not
committed is dropped and restored: Kafka holds the only truth.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import structlog

from streams.engine.batches import Part, parts_of, read_slices
from streams.engine.changelog import Progress
from streams.engine.dead_letter import DeadLetter, FloodGuard
from streams.engine.errors import (
    DeadLetterFlood,
    RetryableError,
    StateError,
    TaskFenced,
    TransactionAborted,
)
from streams.engine.intake import Intake
from streams.engine.opening import OpenTask, TaskWiring, open_task
from streams.engine.processor import Context
from streams.engine.producer import MessageTooLarge
from streams.engine.records import RecordSlice
from streams.engine.transaction import Transaction, prepare

log = structlog.get_logger(__name__)

_CLOSE_S = 5.0
_ISOLATE_AFTER = 3


class Surroundings(Protocol):
    """What a task needs from its worker."""

    def pause(self, topic: str, partition: int) -> None: ...
    def resume(self, topic: str, partition: int) -> None: ...
    def start_at(self, topic: str, partition: int, offset: int) -> None: ...
    def acknowledge(self, topic: str, partition: int, offset: int) -> None: ...
    def still_owned(self, partition: int) -> bool: ...
    def failed(self, error: BaseException) -> None: ...


class ProcessingFailed(Exception):
    """A processor raised, or its output cannot be written; carries the part that it was."""

    def __init__(self, part: Part) -> None:
        super().__init__(f"{part.topic} offsets {part.offset} to {part.end}")
        self.part = part


@dataclass(slots=True)
class TaskStatus:
    """What the watchdog and ``/readyz`` look at."""

    ready: bool = False
    waiting: bool = False  # for a broadcast, under the barrier policy
    last_progress: float = 0.0


class Task:
    """Runs one partition of one role.

    Args:
        wiring: Everything that is the same for all tasks of the worker.
        partition: Partition number, the same for all inputs.
        surroundings: The worker's side: fetching, acknowledging, ownership.
    """

    def __init__(
        self, wiring: TaskWiring, partition: int, surroundings: Surroundings, flood: FloodGuard
    ) -> None:
        self.partition = partition
        self.status = TaskStatus()
        self._wiring = wiring
        self._around = surroundings
        self._flood = flood
        self._closing = threading.Event()
        self._close_by = float("inf")
        self._intake = Intake(
            lambda tp: surroundings.pause(tp.topic, tp.partition),
            lambda tp: surroundings.resume(tp.topic, tp.partition),
        )
        name = f"{wiring.processor.role}-{partition}"
        self._log = log.bind(task=name)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._committer = ThreadPoolExecutor(1, f"{name}-commit")
        self._open: OpenTask | None = None
        self._running: Future[None] | None = None

    # -- called from the worker's loop

    def start(self) -> None:
        """Open in the background and begin to work."""
        self.status.last_progress = time.monotonic()
        self._thread.start()

    def offer(self, part: RecordSlice) -> None:
        """Accept a slice from the consumer. Never blocks."""
        self._intake.offer(part)

    def close(self) -> None:
        """Finish the running commit within 5 s and stop. Blocks; call it off the loop."""
        self._close_by = time.monotonic() + _CLOSE_S
        self._closing.set()
        self._intake.close()
        self._wiring.models_changed()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S + 5.0)
        self._committer.shutdown(wait=False)

    @property
    def lag(self) -> int:
        """Records accepted and not yet processed."""
        return self._intake.waiting_rows

    @property
    def alive(self) -> bool:
        """Whether the task's thread runs."""
        return self._thread.is_alive()

    # -- the task's thread

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._open = open_task(self._wiring, self.partition)
                self._begin(self._open)
                self._work(self._open)
            except ProcessingFailed as failure:
                self._count_failure(failure)
            except (TransactionAborted, RetryableError) as error:
                self._log.warning("task_restarts", reason=str(error), kind=type(error).__name__)
                self._wiring.metrics.aborts.labels(self._wiring.processor.role).inc()
            except TaskFenced as error:
                self._log.warning("task_fenced", reason=str(error))
                self._drop()
                self._closing.wait(self._wiring.settings.restart_backoff_s)
                if self._closing.is_set() or not self._around.still_owned(self.partition):
                    break
                continue
            except (StateError, DeadLetterFlood) as error:
                self._log.error("task_refuses", reason=str(error))
                self._around.failed(error)
                break
            except BaseException as error:  # noqa: BLE001  a thread must not die in silence
                self._log.exception("task_crashed")
                self._around.failed(error)
                break
            self._drop()
            if not self._closing.is_set():
                self._closing.wait(self._wiring.settings.restart_backoff_s)
        self._drop()
        self.status.ready = False

    def _begin(self, opened: OpenTask) -> None:
        self._intake.expect(
            {self._wiring.physical(t): o for t, o in opened.progress.offsets.items()}
        )
        for topic, offset in opened.progress.offsets.items():
            self._around.start_at(self._wiring.physical(topic), self.partition, offset)
        self.status.ready = True
        self.status.last_progress = time.monotonic()
        self._log.info("task_open", progress=opened.progress.offsets, seconds=opened.seconds)

    def _work(self, opened: OpenTask) -> None:
        progress = opened.progress
        while not self._closing.is_set():
            slices = self._intake.take(self._rows_limit(progress), 0.2)
            if not slices:
                if self._running is not None and self._running.done():
                    self._settle()
                continue
            batch = read_slices(self._wiring, slices)
            for part in parts_of(self._wiring, batch, self._context(), progress):
                if not self._wait_until_ready(part, opened):
                    return
                progress = progress.advanced(part.topic, part.end)
                transaction = self._process(opened, part, progress)
                self._settle()
                self._running = self._committer.submit(self._commit, opened, transaction, part)
                if progress.attempts:
                    self._settle()  # one at a time while a poisonous record is looked for
        self._settle()

    def _process(self, opened: OpenTask, part: Part, progress: Progress) -> Transaction:
        metrics, role = self._wiring.metrics, self._wiring.processor.role
        started = time.perf_counter()
        try:
            outputs = self._wiring.processor.process(part.batch, opened.state, self._context())
            processed = time.perf_counter()
            transaction = prepare(self._wiring, opened, part, outputs, progress)
        except RetryableError:
            raise
        except Exception as error:
            self._log.exception("processing_failed", topic=part.topic, offset=part.offset)
            raise ProcessingFailed(part) from error
        metrics.stage(role, "process", processed - started)
        metrics.stage(role, "encode", time.perf_counter() - processed)
        return transaction

    def _commit(self, opened: OpenTask, transaction: Transaction, part: Part) -> None:
        started = time.perf_counter()
        self._flood.add(len(transaction.dead_letters))
        try:
            transaction.write(opened.producer)
        except MessageTooLarge as error:
            opened.producer.abort()
            self._log.error("output_too_large", reason=str(error), offset=part.offset)
            raise ProcessingFailed(part) from error
        opened.producer.commit(lambda: time.monotonic() > self._close_by)
        self._wiring.metrics.committed(
            self._wiring.processor.role, transaction, time.perf_counter() - started
        )
        self.status.last_progress = time.monotonic()
        self._around.acknowledge(self._wiring.physical(part.topic), self.partition, part.end)

    def _settle(self) -> None:
        """Wait for the running commit; raises what it raised."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def _wait_until_ready(self, part: Part, opened: OpenTask) -> bool:
        while not self._wiring.processor.ready(part.batch, opened.state, self._context()):
            self.status.waiting = True
            self._settle()  # what is waited for may depend on our last commit
            self._wiring.wait_for_models(0.2)
            if self._closing.is_set():
                return False
        if self.status.waiting:
            self.status.waiting = False
            self.status.last_progress = time.monotonic()
        return True

    def _context(self) -> Context:
        return Context(
            self.partition,
            self._wiring.partitions,
            self._wiring.models,
            self._wiring.settings.policy,
            time.time_ns() // 1000,
        )

    # -- failures

    def _rows_limit(self, progress: Progress) -> int:
        """The whole batch, or ever smaller pieces while a poisonous record is looked for."""
        limit = self._wiring.settings.batch_rows
        if progress.attempts < _ISOLATE_AFTER:
            return limit
        return max(1, limit >> (4 * (progress.attempts - _ISOLATE_AFTER + 1)))

    def _count_failure(self, failure: ProcessingFailed) -> None:
        """Drop memory, restore, and write down that these records made processing fail."""
        self._drop()
        part, settings = failure.part, self._wiring.settings
        opened = self._open = open_task(self._wiring, self.partition)
        progress = opened.progress.failed(part.topic, part.end)
        letters: list[DeadLetter] = []
        if progress.attempts >= _ISOLATE_AFTER:
            if settings.on_poison == "halt":
                raise StateError(
                    f"processing failed {progress.attempts} times at {failure} "
                    "(on_poison: halt); mend the code or set on_poison to isolate"
                )
            if part.rows == len(part.batch) == 1:
                letters = [part.letter(failure.__cause__, self._wiring, progress.attempts)]
                self._log.error("poison_record", topic=part.topic, offset=part.offset, alarm=True)
                progress = progress.advanced(part.topic, part.end)
        transaction = Transaction.bookkeeping(self._wiring, self.partition, progress, letters)
        self._flood.add(len(letters))
        transaction.write(opened.producer)
        opened.producer.commit(self._closing.is_set)

    def _drop(self) -> None:
        """Forget everything that was not committed."""
        running, self._running = self._running, None
        if running is not None:
            running.exception(timeout=None)
        opened, self._open = self._open, None
        if opened is not None:
            opened.producer.close()
        self._intake.expect({})


