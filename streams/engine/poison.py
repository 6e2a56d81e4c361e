"""Records that make processing fail: counted in the changelog, hunted down, set aside.

A failure is written down with the progress (it may be the worker that dies, so memory is no place
for the count). After three of them the records are taken in ever smaller pieces until one stands
alone; that one goes to the dead letters with an alarm, the others are processed as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from streams.engine.batches import Part, Suspect
from streams.engine.changelog import Progress
from streams.engine.dead_letter import DeadLetter, FloodGuard
from streams.engine.errors import StateError
from streams.engine.producer import MessageTooLarge
from streams.engine.transaction import Transaction

if TYPE_CHECKING:
    from streams.engine.opening import OpenTask, TaskWiring

log = structlog.get_logger(__name__)

ISOLATE_AFTER = 3
IN_A_ROW = 10


class ProcessingFailed(Exception):
    """A processor raised, or its output cannot be written.

    Attributes:
        suspect: Records of which one is to blame.
        behind: The progress on their topic when they were taken.
    """

    def __init__(self, suspect: Suspect, behind: int) -> None:
        super().__init__(str(suspect))
        self.suspect, self.behind = suspect, behind


class PoisonHunt:
    """Remembers the last failure of a task until it is written down.

    Args:
        wiring: What the tasks share.
        partition: The task's partition.
        flood: Counts the worker's dead letters.
    """

    def __init__(self, wiring: TaskWiring, partition: int, flood: FloodGuard) -> None:
        self._wiring, self._partition, self._flood = wiring, partition, flood
        self._failure: ProcessingFailed | None = None
        self._in_a_row = 0

    def rows_limit(self, progress: Progress) -> int:
        """The whole batch, or ever smaller pieces while a poisonous record is looked for."""
        limit = self._wiring.settings.batch_rows
        if progress.attempts < ISOLATE_AFTER:
            return limit
        return max(1, limit >> (4 * (progress.attempts - ISOLATE_AFTER + 1)))

    def remember(self, failure: ProcessingFailed) -> None:
        """Keep a failure until the task is open again."""
        self._failure = failure

    def succeeded(self, part: Part) -> None:
        """A part was committed."""
        if len(part.batch):
            self._in_a_row = 0

    def count(self, opened: OpenTask, give_up: Callable[[], bool]) -> Progress:
        """Write the last failure down, and set a record aside that is to blame for sure.

        Returns:
            The progress to go on from.

        Raises:
            ProcessingFailed: the dead letter is too large for its topic; count again.
            StateError: a record is poisonous and shall not be set aside, or all of them are.
        """
        failure, progress = self._failure, opened.progress
        if failure is None:
            return progress
        suspect = failure.suspect
        here = progress.offsets[suspect.topic]
        if here > failure.behind:  # others came further in the meantime
            self._failure = None
            return progress
        progress = progress.failed(suspect.topic, suspect.end)
        letters: list[DeadLetter] = []
        if progress.attempts >= ISOLATE_AFTER:
            if self._wiring.settings.on_poison == "halt":
                raise StateError(
                    f"processing {suspect} failed {progress.attempts} times (on_poison: halt): "
                    f"{failure.__cause__!r}; mend the code or set on_poison to isolate"
                )
            letter = suspect.letter(failure.__cause__, self._wiring, progress.attempts)
            if letter is not None and here == failure.behind:
                self._in_a_row += 1
                if self._in_a_row > IN_A_ROW:
                    raise StateError(
                        f"{IN_A_ROW} records in a row failed, the last at {suspect}: "
                        f"{failure.__cause__!r}; this is no matter of single records"
                    )
                letters = [letter]
                progress = progress.isolated(suspect.topic, suspect.end, ISOLATE_AFTER)
                log.error("poison_record", records=str(suspect), alarm=True)
        self._flood.add(len(letters))
        transaction = Transaction.bookkeeping(self._wiring, self._partition, progress, letters)
        try:
            transaction.write(opened.producer)
            opened.producer.commit(give_up)
        except MessageTooLarge as error:  # the letter itself; the next try omits its value
            opened.producer.abort()
            raise ProcessingFailed(suspect, failure.behind) from error
        for each in letters:
            self._wiring.metrics.dead_letters.labels(
                self._wiring.processor.role, each.error_class
            ).inc()
        self._failure = None
        return progress
