"""Client of a Confluent-compatible schema registry (Confluent, Apicurio's ccompat, Karapace).

A schema of an id never changes, so an answer is kept for ever; an unknown id is kept for a while,
so that a flood of bad records does not become a flood of requests.
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from schemas.errors import RegistryUnavailable, SchemaRejected, UnknownSchemaId

_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_NOT_FOUND_CODES = {40401, 40402, 40403}  # subject, version, schema
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A version of a subject: the registry's id, version from 1, schema as JSON text."""

    id: int
    version: int
    text: str


class ConfluentRegistry:
    """Schemas by id and by subject. Safe to use from several threads.

    url: http(s)://[user:password@]host[:port][/path]; the credentials go out as basic
    authentication and never into a message. timeout_s: seconds for one try; tries: how often a
    request is made before :class:`RegistryUnavailable`; unknown_s: seconds for which an unknown
    id is not asked again. Proxies are those of the environment.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 5.0,
        tries: int = 3,
        unknown_s: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("a schema registry URL looks like http(s)://[user:password@]host:port")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        address = host if parts.port is None else f"{host}:{parts.port}"
        self.url = urlunsplit((parts.scheme, address, parts.path.rstrip("/"), "", ""))
        self._authorization: str | None = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        self._timeout_s = timeout_s
        self._tries = max(1, tries)
        self._unknown_s = unknown_s
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._texts: dict[int, str] = {}
        self._unknown_until: dict[int, float] = {}

    def by_id(self, schema_id: int) -> str:
        """Writer's schema, JSON text, asked once.

        Raises :class:`UnknownSchemaId` (also when the schema is not Avro or refers to other
        subjects, which we do not read) and :class:`RegistryUnavailable`.
        """
        with self._lock:
            known = self._texts.get(schema_id)
            unknown = self._clock() < self._unknown_until.get(schema_id, float("-inf"))
        if known is not None:
            return known
        if unknown:
            raise self._unknown(schema_id, "is not known")
        answer = self._request("GET", f"/schemas/ids/{schema_id}", missing_ok=True)
        reason = "is not known"
        if answer is not None:
            if answer.get("schemaType", "AVRO") != "AVRO":
                reason = f"is a {answer['schemaType']} schema, not Avro,"
            elif answer.get("references"):
                reason = "refers to schemas of other subjects, which leadstream does not read,"
            else:
                text = _text(answer, self.url)
                with self._lock:
                    self._texts[schema_id] = text
                return text
        with self._lock:
            self._unknown_until[schema_id] = self._clock() + self._unknown_s
        raise self._unknown(schema_id, reason)

    def newest(self, subject: str) -> Subject | None:
        """Newest version of a subject; None when there is none yet.

        Raises :class:`RegistryUnavailable`.
        """
        path = f"/subjects/{quote(subject, safe='')}/versions/latest"
        answer = self._request("GET", path, missing_ok=True)
        if answer is None:
            return None
        return Subject(
            _number(answer, "id", self.url),
            _number(answer, "version", self.url),
            _text(answer, self.url),
        )

    def register(self, subject: str, text: str) -> int:
        """Register a schema, which does nothing if it is there; the registry's id of it.

        Raises :class:`SchemaRejected` and :class:`RegistryUnavailable`.
        """
        path = f"/subjects/{quote(subject, safe='')}/versions"
        answer = self._request("POST", path, {"schema": text})
        return _number(answer or {}, "id", self.url)

    def lookup(self, subject: str, text: str) -> int | None:
        """The registry's id of a schema if it is a version of the subject.

        Raises :class:`RegistryUnavailable`.
        """
        path = f"/subjects/{quote(subject, safe='')}"
        answer = self._request("POST", path, {"schema": text}, missing_ok=True)
        return None if answer is None else _number(answer, "id", self.url)

    def set_compatibility(self, subject: str, level: str) -> None:
        """Set a subject's compatibility level, such as BACKWARD_TRANSITIVE."""
        path = f"/config/{quote(subject, safe='')}"
        self._request("PUT", path, {"compatibility": level})

    def _unknown(self, schema_id: int, reason: str) -> UnknownSchemaId:
        return UnknownSchemaId(
            schema_id,
            f"schema id {schema_id} {reason} at {self.url}; let the producer register its schema "
            "there, or point LEADSTREAM_SCHEMA_REGISTRY_URL to the registry that it used",
        )

    def _request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        missing_ok: bool = False,
    ) -> dict[str, Any] | None:
        """JSON answer; None when the thing is missing and that is allowed."""
        data = None if body is None else json.dumps(body).encode()
        reason = ""
        for number in range(self._tries):
            if number:
                longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (number - 1))
                self._sleep(longest * random.uniform(0.5, 1.0))
            request = urllib.request.Request(self.url + path, data=data, method=method)
            request.add_header("Accept", f"{_MEDIA_TYPE}, application/json")
            if data is not None:
                request.add_header("Content-Type", _MEDIA_TYPE)
            if self._authorization is not None:
                # unredirected: a redirect to another host must not carry the password along
                request.add_unredirected_header("Authorization", self._authorization)
            try:
                with urllib.request.urlopen(request, timeout=self._timeout_s) as response:
                    return _object(response.read(), self.url)
            except urllib.error.HTTPError as error:
                with error:
                    code, reason = _error_of(error)
                if error.code == 404 and code in _NOT_FOUND_CODES and missing_ok:
                    return None
                if error.code in (409, 422) and method != "GET":
                    raise SchemaRejected(f"{self.url} refuses {method} {path}: {reason}") from None
                if error.code not in _TRY_AGAIN:
                    break
            except (OSError, HTTPException) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
        raise RegistryUnavailable(
            f"schema registry {self.url} gave no usable answer to {method} {path}: {reason}; "
            "check LEADSTREAM_SCHEMA_REGISTRY_URL, its path and its credentials"
        )


def _error_of(error: urllib.error.HTTPError) -> tuple[int, str]:
    """(registry's error code or 0, reason in words) of a refusal."""
    try:
        content = json.loads(error.read())
    except (OSError, HTTPException, ValueError):
        content = None
    if not isinstance(content, dict):
        return 0, f"HTTP {error.code} {error.reason}"
    code = content.get("error_code")
    message = content.get("message") or error.reason
    return code if isinstance(code, int) else 0, f"HTTP {error.code}: {message}"


def _object(content: bytes, url: str) -> dict[str, Any]:
    try:
        loaded = json.loads(content)
    except ValueError:
        loaded = None
    if not isinstance(loaded, dict):
        raise RegistryUnavailable(
            f"{url} did not answer with a JSON object; is it a schema registry?"
        )
    return loaded


def _text(answer: dict[str, Any], url: str) -> str:
    text = answer.get("schema")
    if not isinstance(text, str):
        raise RegistryUnavailable(f'{url} answered without "schema"; is it a schema registry?')
    return text


def _number(answer: dict[str, Any], key: str, url: str) -> int:
    number = answer.get(key)
    if not isinstance(number, int):
        raise RegistryUnavailable(f'{url} answered without "{key}"; is it a schema registry?')
    return number
