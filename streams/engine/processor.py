"""The contract of the engine with the work: plain classes, no Kafka, no clock, no randomness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from streams.engine.columns import InputBatch, Outputs
from streams.engine.state import State

Policy = Literal["barrier", "live"]


@dataclass(frozen=True, slots=True)
class Context:
    """What a processor may know of its surroundings.

    Attributes:
        partition: Number of the partition that the state belongs to.
        partitions: Partition count of every topic.
        models: Snapshot of the broadcast topics; what it is depends on the role.
        policy: ``barrier`` or ``live``, see the learning clock.
        now_us: Wall clock in µs since 1970, only ever for fields such as ``scored_at``.
    """

    partition: int
    partitions: Mapping[str, int]
    models: Any
    policy: Policy
    now_us: int


class Processor(Protocol):
    """One role's work on batches of columns.

    A processor holds configuration only; what it remembers is in the ``State`` it is handed, one
    a partition, so one processor object serves all tasks of a worker from several threads.
    """

    role: str
    inputs: tuple[str, ...]

    def new_state(self) -> State:
        """Return empty state with all tables declared."""
        ...

    def cuts(self, batch: InputBatch, context: Context) -> list[int]:
        """Row numbers behind which the batch must be committed before it goes on; often none."""
        ...

    def ready(self, batch: InputBatch, state: State, context: Context) -> bool:
        """Whether the batch may be processed now; the engine asks again after a broadcast."""
        ...

    def process(self, batch: InputBatch, state: State, context: Context) -> Outputs:
        """Process one batch and change the state.

        Raises:
            RetryableError: nothing was changed, try again later.
            Exception: a bug or a poisonous row; the engine restores and isolates it.
        """
        ...


@runtime_checkable
class ByTheClock(Protocol):
    """A processor that has something to do when time passes, though no record comes.

    Only under the policy ``live``: what it does depends on the wall clock, so it happens at other
    places in another run.
    """

    def punctuate(self, state: State, context: Context) -> Outputs | None:
        """Do what ``context.now_us`` makes due; asked twice a second. ``None``: nothing was."""
        ...


class Unconditional:
    """Base for processors that never wait and need no cuts."""

    def cuts(self, batch: InputBatch, context: Context) -> list[int]:
        """No cuts."""
        return []

    def ready(self, batch: InputBatch, state: State, context: Context) -> bool:
        """Always."""
        return True
