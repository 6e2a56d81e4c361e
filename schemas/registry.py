"""Where a schema id or a schema name becomes a schema. Start reading here.

Values on our topics have the Confluent wire format: byte 0, four bytes of schema id (big-endian),
Avro binary. Ids resolve from this folder first and by a Confluent-compatible registry second.

>>> parse_header(header(schema_id("source_event")) + b"...") == schema_id("source_event")
True
"""

from __future__ import annotations

import json
import struct
from functools import cache
from typing import Any

from schemas.confluent import ConfluentRegistry, Subject
from schemas.errors import (
    InvalidHeader,
    RegistryUnavailable,
    SchemaError,
    SchemaRejected,
    UnknownSchema,
    UnknownSchemaId,
)
from schemas.local import FIRST_ID, LocalRegistry, SchemaVersion

__all__ = [
    "FIRST_ID",
    "HEADER_BYTES",
    "ConfluentRegistry",
    "InvalidHeader",
    "LocalRegistry",
    "Registry",
    "RegistryUnavailable",
    "SchemaError",
    "SchemaRejected",
    "SchemaVersion",
    "Subject",
    "UnknownSchema",
    "UnknownSchemaId",
    "header",
    "load_schema",
    "local_registry",
    "parse_header",
    "schema_id",
    "schema_json",
    "schema_names",
    "subject",
]

HEADER_BYTES = 5
_HEADER = struct.Struct(">BI")


class Registry:
    """Writers' schemas by id: local ids first, then the registry server if there is one."""

    def __init__(
        self, local: LocalRegistry | None = None, remote: ConfluentRegistry | None = None
    ) -> None:
        self.local = local if local is not None else local_registry()
        self.remote = remote

    @classmethod
    def open(cls, url: str | None) -> Registry:
        """Registry over this folder and, when `url` is given, the server there.

        Asks nothing yet. Raises ValueError when `url` is not an http or https address.
        """
        return cls(remote=ConfluentRegistry(url) if url else None)

    def by_id(self, schema_id: int) -> str:
        """Writer's schema of the id, JSON text.

        Raises :class:`UnknownSchemaId` (invalid, a dead letter) or :class:`RegistryUnavailable`
        (retryable, pause the partition).
        """
        if schema_id in self.local.versions:
            return self.local.by_id(schema_id)
        if self.remote is not None:
            return self.remote.by_id(schema_id)
        raise UnknownSchemaId(
            schema_id,
            f"schema id {schema_id} is not one of leadstream's own and no schema registry is "
            "configured; set LEADSTREAM_SCHEMA_REGISTRY_URL to the registry that the producer used",
        )

    def register(self, name: str, topic: str) -> int | None:
        """Register our newest schema `name` for the values of `topic`; the registry's id of it.

        None without a server. Raises :class:`SchemaRejected` or :class:`RegistryUnavailable`.
        """
        if self.remote is None:
            return None
        self.remote.set_compatibility(subject(topic), "BACKWARD_TRANSITIVE")
        return self.remote.register(subject(topic), self.local.newest(name).text)

    def writing_id(self, name: str, topic: str) -> int:
        """Id that values of `topic` carry when we write them: the server's if there is one.

        So that whoever reads with the registry alone can. A schema that is not there yet is
        registered as by :meth:`register`, and raises what that raises.
        """
        newest = self.local.newest(name)
        known = None
        if self.remote is not None:
            known = self.remote.lookup(subject(topic), newest.text) or self.register(name, topic)
        return newest.id if known is None else known


@cache
def local_registry() -> LocalRegistry:
    """The registry of this folder."""
    return LocalRegistry()


def schema_names() -> list[str]:
    """Names of all our schemas, sorted; each is the stem of an .avsc file."""
    return local_registry().names()


def load_schema(name: str) -> dict[str, Any]:
    """Newest version of schema `name` with its docs. Raises :class:`UnknownSchema`."""
    return local_registry().current(name)


@cache
def schema_json(name: str) -> str:
    """Newest version of schema `name` as compact JSON text without docs, for codecs.

    Logical types, defaults and aliases stay, unlike in Avro's parsing canonical form, because
    codecs need them. Raises :class:`UnknownSchema`.
    """
    schema = without_docs(local_registry().newest(name).load())
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)


def schema_id(name: str) -> int:
    """Own id of the newest version of schema `name`. Raises :class:`UnknownSchema`."""
    return local_registry().newest(name).id


def without_docs(schema: Any) -> Any:
    """The same schema without any "doc": what decides about bytes, and nothing else.

    Defaults are data and stay as they are, whatever keys they hold.
    """
    if isinstance(schema, list):
        return [without_docs(each) for each in schema]
    if isinstance(schema, dict):
        return {
            key: value if key == "default" else without_docs(value)
            for key, value in schema.items()
            if key != "doc"
        }
    return schema


def subject(topic: str) -> str:
    """Subject of a topic's values at the registry."""
    return f"{topic}-value"


def header(schema_id: int) -> bytes:
    """The five bytes before the Avro binary."""
    return _HEADER.pack(0, schema_id)


def parse_header(value: bytes) -> int:
    """Schema id of a value in wire format. Raises :class:`InvalidHeader`."""
    if len(value) < HEADER_BYTES:
        raise InvalidHeader(
            f"value of {len(value)} bytes is too short for the wire format (byte 0, four bytes of "
            "schema id, Avro); send Avro by a serializer for Confluent-compatible registries"
        )
    magic, found = _HEADER.unpack_from(value)
    if magic != 0:
        raise InvalidHeader(
            f"value starts with byte {magic} instead of 0, so it is not in the wire format; "
            "send Avro by a serializer for Confluent-compatible registries"
        )
    return int(found)
