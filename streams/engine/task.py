"""One task: a role's work on one partition number, from fencing to the last commit.

A task has a thread of its own. It opens (fence the former owner, restore the state, seek to
progress), then takes slices, decodes, processes and hands the result to a second thread that
commits it while the next batch is processed. Whatever goes wrong in between, memory that was not
committed is dropped and restored: Kafka holds the only truth.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog

from streams.engine.background import Background
from streams.engine.batches import Part, Suspect, parts_of, read_slices, suspect_of
from streams.engine.changelog import Progress
from streams.engine.columns import Outputs
from streams.engine.dead_letter import FloodGuard
from streams.engine.errors import (
    ConfigurationError,
    DeadLetterFlood,
    PositionLost,
    RetryableError,
    StateError,
    TaskFenced,
    TransactionAborted,
)
from streams.engine.intake import Intake
from streams.engine.opening import OpenTask, TaskWiring, open_task
from streams.engine.poison import PoisonHunt, ProcessingFailed
from streams.engine.processor import ByTheClock, Context
from streams.engine.producer import MessageTooLarge
from streams.engine.records import RecordSlice
from streams.engine.surroundings import Surroundings
from streams.engine.transaction import Transaction, prepare, prepare_punctuation

log = structlog.get_logger(__name__)

_CLOSE_S = 5.0
_JOIN_S = 4.0
_SMALL_ROWS = 1_024
_PUNCTUATE_EVERY_S = 0.5
T = TypeVar("T")


class _Closing(Exception):
    """The task was told to close while it waited."""


@dataclass(slots=True)
class TaskStatus:
    """What the watchdog and ``/readyz`` look at.

    Attributes:
        steps: Counts every commit and every slice of the changelog that was read.
        behind: Records in the log that were not fetched yet, as far as known.
    """

    ready: bool = False
    waiting: bool = False  # for a broadcast under the barrier policy, or for a registry
    steps: int = 0
    behind: int = 0


class Task:
    """Runs one partition of one role.

    Args:
        wiring: Everything that is the same for all tasks of the worker.
        partition: Partition number, the same for all inputs.
        surroundings: Makes the worker's side of this task: fetching, ownership, failure.
        flood: Counts the worker's dead letters.
    """

    def __init__(
        self,
        wiring: TaskWiring,
        partition: int,
        surroundings: Callable[[Task], Surroundings],
        flood: FloodGuard,
    ) -> None:
        self.partition = partition
        self.status = TaskStatus()
        self._wiring = wiring
        self._around = around = surroundings(self)
        self._flood = flood
        self._closing = threading.Event()
        self._close_by = float("inf")
        self._lost = threading.Event()
        self._intake = Intake(around.flow_changed, around.rewind)
        self._name = name = f"{wiring.processor.role}-{partition}"
        self._log = log.bind(task=name)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._hunt = PoisonHunt(wiring, partition, flood)
        self._open: OpenTask | None = None
        self._running: Future[None] | None = None
        self._punctuated = 0.0

    # -- called from the worker's loop

    def start(self) -> None:
        """Open in the background and begin to work."""
        self._committer = Background(f"{self._name}-commit")
        self._thread.start()

    def offer(self, part: RecordSlice) -> None:
        """Accept a slice from the consumer. Never blocks."""
        self._intake.offer(part)

    def wants(self, topic: str) -> bool:
        """Whether the topic (physical name) shall be fetched now."""
        return self._intake.wants(topic)

    def fetch_again(self, topic: str) -> None:
        """Fetch the topic (physical name) again from where accepted records end."""
        self._intake.fetch_again(topic)

    def position_lost(self) -> None:
        """The source has no record at the position: open anew, which says why or mends it."""
        self._lost.set()

    def close(self) -> None:
        """Finish the running commit within 5 s and stop. Blocks; call it off the loop."""
        self._close_by = time.monotonic() + _CLOSE_S
        self._closing.set()
        self._intake.close()
        self._wiring.models_changed()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S + _JOIN_S)
            if self._thread.is_alive():  # it is fenced by the next owner, whenever it wakes
                self._log.warning("task_still_closing")

    @property
    def lag(self) -> int:
        """Records not yet processed: accepted ones, and those that were not fetched yet."""
        return self.waiting_rows + self.status.behind

    @property
    def waiting_rows(self) -> int:
        """Records accepted and not yet processed."""
        return self._intake.waiting_rows

    @property
    def positions(self) -> dict[str, int]:
        """Offset, per topic (physical name), up to which records were accepted."""
        return self._intake.positions

    # -- the task's thread

    def _run(self) -> None:
        try:
            self._around.prepare()
            while not self._closing.is_set():
                self._run_once()
        except _Closing:
            pass
        except (StateError, DeadLetterFlood, ConfigurationError) as error:
            self._log.error("task_refuses", reason=str(error))
            self._around.failed(error)
        except BaseException as error:
            self._log.exception("task_crashed")
            self._around.failed(error)
        finally:
            self._drop()
            self._committer.stop()

    def _run_once(self) -> None:
        """Open and work until something goes wrong that opening anew may mend."""
        settings = self._wiring.settings
        try:
            self._open = open_task(self._wiring, self.partition, self._closing.is_set, self._step)
            self._work(self._open, self._begin(self._open))
            return
        except ProcessingFailed as failure:
            self._hunt.remember(failure)
            self._drop()
            return
        except TaskFenced as error:
            self._log.warning("task_fenced", reason=str(error))
            self._drop()
            self._await_ownership()
            return
        except (TransactionAborted, RetryableError) as error:
            if self._closing.is_set():
                return
            self._log.warning("task_restarts", reason=str(error), kind=type(error).__name__)
            self._wiring.metrics.aborts.labels(self._wiring.processor.role).inc()
            self._drop()
        self._closing.wait(settings.restart_backoff_s)

    def _await_ownership(self) -> None:
        """Fence whoever fenced us only if the group gives the partition to us still.

        A worker that was frozen while its partitions moved would fence their new owner.
        """
        self._closing.wait(self._wiring.settings.restart_backoff_s)
        while not self._closing.is_set() and not self._around.owns():
            self._closing.wait(self._wiring.settings.restart_backoff_s)

    def _begin(self, opened: OpenTask) -> Progress:
        progress = self._hunt.count(opened, self._give_up)
        self._lost.clear()
        offsets = {self._wiring.physical(t): o for t, o in progress.offsets.items()}
        self._intake.expect(offsets)
        for topic, offset in offsets.items():
            self._around.rewind(topic, offset)
            self._around.flow_changed(topic)
            self._around.acknowledge(topic, offset)  # its last owner's word may be lost
        self.status.ready = True
        self._step()
        self._log.info("task_open", progress=progress.offsets, seconds=opened.seconds)
        return progress

    def _work(self, opened: OpenTask, progress: Progress) -> None:
        metrics, role = self._wiring.metrics, self._wiring.processor.role
        while not self._closing.is_set():
            if self._lost.is_set():
                raise PositionLost(f"the source has no records at {progress.offsets}")
            self._punctuate(opened, progress)
            slices = self._intake.take(self._hunt.rows_limit(progress), 0.2)
            if not slices:
                if self._running is not None and self._running.done():
                    self._settle()
                continue
            whole = suspect_of(self._wiring, slices)
            behind = progress.offsets[whole.topic]
            started = time.perf_counter()
            read = partial(read_slices, self._wiring, slices)
            rows = sum(map(len, slices))
            batch = self._patiently(whole, behind, partial(self._in_turn, rows, read))
            metrics.stage(role, "decode", time.perf_counter() - started)
            cut = partial(parts_of, self._wiring, batch, self._context(), progress)
            for part in self._patiently(whole, behind, cut):
                behind = progress.offsets[part.topic]
                self._wait_until_ready(part, opened, behind)
                progress = progress.advanced(part.topic, part.end)
                work = partial(self._process, opened, part, progress)
                turn = partial(self._in_turn, part.rows, work)
                transaction = self._patiently(part.suspect(), behind, turn)
                self._settle()
                self._running = self._committer.submit(
                    self._commit, opened, transaction, part, behind
                )
                if progress.attempts:
                    self._settle()  # one at a time while a poisonous record is looked for
        self._settle()

    def _punctuate(self, opened: OpenTask, progress: Progress) -> None:
        """Now and then let the processor do what the clock makes due."""
        now, processor = time.monotonic(), self._wiring.processor
        if now < self._punctuated + _PUNCTUATE_EVERY_S:
            return
        self._punctuated = now
        live = self._wiring.settings.policy == "live"
        # while a poisonous record is hunted or state is rebuilt, nothing else may happen
        busy = progress.attempts or progress.suppress
        if not live or busy or not isinstance(processor, ByTheClock):
            return
        outputs = processor.punctuate(opened.state, self._context())
        if outputs is None:
            return
        transaction = prepare_punctuation(self._wiring, opened, self.partition, outputs, progress)
        self._settle()
        self._running = self._committer.submit(self._write, opened, transaction)

    def _in_turn(self, rows: int, work: Callable[[], T]) -> T:
        """Do ``work``, small batches of the worker's tasks one after the other.

        Arrow and the kernels let go of the interpreter at each call. For large batches that lets
        tasks run side by side; over small ones they would only hand the interpreter around.
        """
        if rows > _SMALL_ROWS:
            return work()
        with self._wiring.turn:
            return work()

    def _process(self, opened: OpenTask, part: Part, progress: Progress) -> Transaction:
        metrics, role = self._wiring.metrics, self._wiring.processor.role
        started = time.perf_counter()
        outputs = Outputs()
        if len(part.batch):
            outputs = self._wiring.processor.process(part.batch, opened.state, self._context())
        processed = time.perf_counter()
        transaction = prepare(self._wiring, opened, part, outputs, progress)
        metrics.stage(role, "process", processed - started)
        metrics.stage(role, "encode", time.perf_counter() - processed)
        return transaction

    def _commit(self, opened: OpenTask, transaction: Transaction, part: Part, behind: int) -> None:
        self._flood.add(len(transaction.dead_letters))
        try:
            self._write(opened, transaction)
        except MessageTooLarge as error:
            opened.producer.abort()
            self._log.error("output_too_large", reason=str(error), offset=part.offset)
            raise ProcessingFailed(part.suspect(), behind) from error
        self._hunt.succeeded(part)
        self._around.acknowledge(self._wiring.physical(part.topic), part.end)

    def _write(self, opened: OpenTask, transaction: Transaction) -> None:
        started = time.perf_counter()
        transaction.write(opened.producer)
        opened.producer.commit(self._give_up)
        self._wiring.metrics.committed(
            self._wiring.processor.role, transaction, time.perf_counter() - started
        )
        self._step()

    def _settle(self) -> None:
        """Wait for the running commit; raises what it raised."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def _wait_until_ready(self, part: Part, opened: OpenTask, behind: int) -> None:
        if not len(part.batch):
            return
        ask = partial(self._wiring.processor.ready, part.batch, opened.state)
        while not self._patiently(part.suspect(), behind, lambda: ask(self._context())):
            self.status.waiting = True
            self._settle()  # what is waited for may depend on our last commit
            self._wiring.wait_for_models(0.2)
            if self._closing.is_set():
                raise _Closing
        self.status.waiting = False

    def _patiently(self, suspect: Suspect, behind: int, work: Callable[[], T]) -> T:
        """Do ``work``, again and again while it says that it may succeed later.

        Raises:
            ProcessingFailed: it raised anything else; even a Rust panic is no reason to die.
        """
        while True:
            try:
                done = work()
                self.status.waiting = False
                return done
            except RetryableError as error:
                self._log.warning("waiting", reason=str(error), topic=suspect.topic)
            except (StateError, ConfigurationError, KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                self._log.exception("processing_failed", records=str(suspect))
                raise ProcessingFailed(suspect, behind) from error
            self.status.waiting = True
            self._settle()
            if self._closing.wait(self._wiring.settings.restart_backoff_s):
                raise _Closing

    def _context(self) -> Context:
        return Context(
            self.partition,
            self._wiring.partitions,
            self._wiring.models,
            self._wiring.settings.policy,
            time.time_ns() // 1000,
        )

    def _give_up(self) -> bool:
        return time.monotonic() > self._close_by

    def _step(self) -> None:
        self.status.steps += 1

    def _drop(self) -> None:
        """Forget everything that was not committed."""
        self.status.ready = False
        self._intake.expect({})
        for topic in self._wiring.processor.inputs:
            self._around.flow_changed(self._wiring.physical(topic))
        running, self._running = self._running, None
        if running is not None:
            running.exception(timeout=None)
        opened, self._open = self._open, None
        if opened is not None:
            opened.producer.close()
