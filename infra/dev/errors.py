"""What can go wrong with the local parts, each error with what a person can do about it."""

from __future__ import annotations


class DevError(RuntimeError):
    """A local part could not be prepared, started or stopped.

    `advice` says what to do next, in one or two sentences.
    """

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(f"{message}\n{advice}")
        self.message = message
        self.advice = advice


class JavaMissing(DevError):
    """No Java of version 17 or newer was found."""


class JarsUnavailable(DevError):
    """Kafka's jars could not be downloaded, or are not the ones we pinned."""


class PortTaken(DevError):
    """Another process listens on the broker's port."""


class BrokerFailed(DevError):
    """The broker ended, or did not answer, or did not stop in time."""
