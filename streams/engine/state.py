"""The state of one task: named tables of fixed-width rows, and a few small named blobs.

Both live in memory and follow every commit into the changelog; see ``changelog.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streams.engine.table import Table


class Blobs:
    """Small values by name: watermarks, model snapshots. Rewritten whole when they change."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._changed: set[str] = set()

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._values))

    def get(self, name: str) -> bytes | None:
        """Return the value of ``name`` or ``None``."""
        return self._values.get(name)

    def put(self, name: str, value: bytes) -> None:
        """Set ``name``; equal values do not count as a change."""
        if self._values.get(name) != value:
            self._values[name] = value
            self._changed.add(name)

    def delete(self, name: str) -> None:
        """Remove ``name`` if it is there."""
        if self._values.pop(name, None) is not None:
            self._changed.add(name)

    def take_changes(self) -> dict[str, bytes | None]:
        """Return what changed since the last call; ``None`` for removed names."""
        changes = {name: self._values.get(name) for name in sorted(self._changed)}
        self._changed = set()
        return changes

    def clear(self) -> None:
        """Forget all names; that does not count as a change."""
        self._values, self._changed = {}, set()

    def load(self, name: str, value: bytes | None) -> None:
        """Apply one record of the changelog."""
        if value is None:
            self._values.pop(name, None)
        else:
            self._values[name] = value


class State:
    """Everything that a processor may remember between batches of one partition."""

    def __init__(self, tables: Iterable[Table] = ()) -> None:
        self.blobs = Blobs()
        self.tables: dict[str, Table] = {}
        for table in tables:
            self.add_table(table)

    def add_table(self, table: Table) -> Table:
        """Add a table; names are unique."""
        if table.name in self.tables:
            raise ValueError(f"there is a table {table.name!r} already")
        self.tables[table.name] = table
        return table

    def table(self, name: str) -> Table:
        """Return a table by name."""
        return self.tables[name]
