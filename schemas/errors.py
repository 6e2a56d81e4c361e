"""What can go wrong with schemas.

* :class:`SchemaError`

  * :class:`InvalidHeader` - the value does not start with the wire format's five bytes (invalid)
  * :class:`UnknownSchemaId` - nobody knows the id (invalid: the record is a dead letter)
  * :class:`UnknownSchema` - no schema of that name in this folder (a mistake in the program)
  * :class:`RegistryUnavailable` - no usable answer of the registry (retryable: pause, ask again)
  * :class:`SchemaRejected` - the registry refuses to register a schema (a person must act)
"""

from __future__ import annotations


class SchemaError(Exception):
    """Base of all errors of this package."""


class InvalidHeader(SchemaError, ValueError):
    """A value is shorter than five bytes or does not start with byte 0."""


class UnknownSchemaId(SchemaError, LookupError):
    """Neither the schemas folder nor the registry knows the id, or it is not an Avro schema."""

    def __init__(self, schema_id: int, message: str) -> None:
        super().__init__(message)
        self.schema_id = schema_id


class UnknownSchema(SchemaError, LookupError):
    """The schemas folder has no schema of that name."""


class RegistryUnavailable(SchemaError):
    """The registry cannot be reached, answers with an error, or refuses the credentials."""


class SchemaRejected(SchemaError):
    """The registry refuses a schema: incompatible with an older version, or not valid there."""
