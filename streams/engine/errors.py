"""The exception tree of the engine.

::

    LeadstreamError
    |-- ConfigurationError        wrong settings or files; says what to change
    |-- RetryableError            try the same thing again later
    |   |-- BrokerUnavailable     the broker did not answer in time
    |   `-- PositionLost          the source has no record where the task wants to read on
    |-- InvalidRecord             one record can never be processed: to the dead letters
    |-- DeadLetterFlood           more dead letters a minute than allowed: an outage
    `-- TaskError
        |-- TaskFenced            another worker owns the task now: close, write nothing
        |-- TransactionAborted    drop memory, restore, go on
        `-- StateError            the state cannot be trusted: refuse to start
            |-- SourceExpired     progress lies before the start of the source log
            |-- SourceRecreated   progress lies beyond the end of the source log
            |-- ChangelogLost     the group has offsets but the changelog has no progress
            `-- LayoutChanged     the stored rows cannot be read with today's layout
"""

from __future__ import annotations


class LeadstreamError(Exception):
    """Base of every error that leadstream raises on purpose."""


class ConfigurationError(LeadstreamError):
    """A setting or a file is wrong; the message says what to change."""


class RetryableError(LeadstreamError):
    """The same call may succeed later; nothing is wrong with the data."""


class BrokerUnavailable(RetryableError):
    """The broker did not answer within its timeout."""


class PositionLost(RetryableError):
    """The source has no record where the task wants to read on; opening anew says why."""


class InvalidRecord(LeadstreamError):
    """One record that can never be processed; it goes to the dead letters."""


class DeadLetterFlood(LeadstreamError):
    """More dead letters a minute than allowed; this is an outage, not data."""


class TaskError(LeadstreamError):
    """Something ended one task; see the subclasses."""


class TaskFenced(TaskError):
    """Another worker opened this task; close it and write nothing."""


class TransactionAborted(TaskError):
    """The transaction was aborted; memory must be dropped and restored."""


class StateError(TaskError):
    """The stored state cannot be trusted; the message says what to do."""


class SourceExpired(StateError):
    """Progress lies before the first offset that the source still has."""


class SourceRecreated(StateError):
    """Progress lies beyond the end of the source log."""


class ChangelogLost(StateError):
    """The consumer group has offsets but the changelog has no progress."""


class LayoutChanged(StateError):
    """Stored rows have a layout that today's code cannot take over."""
