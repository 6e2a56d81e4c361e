"""The broker of a benchmark: one of its own that ends with it, or a given one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BenchBroker:
    """Where to connect; ``pid`` is ``None`` for a broker that is not ours to measure."""

    bootstrap: str
    pid: int | None


@contextmanager
def broker(bootstrap: str | None) -> Iterator[BenchBroker]:
    """The broker to use: ``bootstrap`` if given, else a new one in a temporary folder."""
    if bootstrap:
        yield BenchBroker(bootstrap, None)
        return
    from infra.dev.kafka import DevKafka

    with (
        tempfile.TemporaryDirectory(prefix="leadstream-bench-") as folder,
        DevKafka(Path(folder), die_with_parent=True) as own,
    ):
        yield BenchBroker(own.bootstrap, own.pid)
