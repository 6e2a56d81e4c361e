"""What can go wrong in an import, as a tree; every message says what a person can do about it.

* ImportFailed
    * MappingError: the mapping says something that it cannot say
    * SourceFileError: a file cannot be read, or lacks a column that the mapping names
    * DeliveryError: the broker did not take a record
"""

from __future__ import annotations

from dataclasses import dataclass


class ImportFailed(Exception):
    """Base of everything that ends an import."""


class MappingError(ImportFailed):
    """The mapping is wrong; the message names the place in it."""


class SourceFileError(ImportFailed):
    """A file cannot be imported as a whole (single rows are rejected instead)."""


class DeliveryError(ImportFailed):
    """Records were not acknowledged; what was acknowledged before is in the checkpoint."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One row that was not imported.

    file: path as given; row: number of the data row in that file, the first is 1;
    problems: place in the mapping, column, value and what to do, one text each.
    """

    file: str
    row: int
    problems: tuple[str, ...]
