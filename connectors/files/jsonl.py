"""Lines of JSON to columns of text; numbers keep the digits they are written with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_READ_BYTES = 1 << 20


def read_json_lines(
    stream: Any,
    encoding: str,
    columns: Sequence[str],
    reject: Callable[[int, str], None],
) -> Iterator[tuple[list[Any], NDArray[np.int64], int]]:
    """(string array [n] of each column, line numbers [n], last line read) of each block.

    A column is a key of the object, or a path such as `contact.email`; a key that a line lacks is
    null there. Broken lines go to `reject(line, problem)`; empty lines are passed over.
    """
    decoder = msgspec.json.Decoder(float_hook=str)
    paths = [(name, name.split(".")) for name in columns]
    last = 0
    for lines in _blocks_of_lines(stream, encoding):
        cells: list[list[str | None]] = [[] for _ in columns]
        numbers: list[int] = []
        for number, line in enumerate(lines, last + 1):
            if not line.strip():
                continue
            try:
                record = decoder.decode(line)
                if not isinstance(record, dict):
                    raise ValueError(f"a {type(record).__name__} stands where an object should")
                values = [_text(_find(record, name, path)) for name, path in paths]
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                reject(number, f"is not a JSON object: {error}")
                continue
            numbers.append(number)
            for cell, value in zip(cells, values, strict=True):
                cell.append(value)
        last += len(lines)
        arrays = [pa.array(cell, pa.string()) for cell in cells]
        yield arrays, np.array(numbers, dtype=np.int64), last


def _find(record: dict[str, Any], name: str, path: list[str]) -> Any:
    if name in record or len(path) == 1:
        return record.get(name)
    value: Any = record
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        if value is not None:
            value.encode("utf-8")
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return msgspec.json.encode(value).decode()


def plain_keys(stream: Any, encoding: str) -> list[str]:
    """Keys of the first lines, by their first occurrence, without those of lists and objects."""
    kept: dict[str, bool] = {}
    for line in next(_blocks_of_lines(stream, encoding), []):
        try:
            record = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            continue  # an import tells of broken lines
        for key, value in record.items():
            kept[key] = kept.get(key, True) and not isinstance(value, list | dict)
    return [key for key, plain in kept.items() if plain and "." not in key]


def _blocks_of_lines(stream: Any, encoding: str) -> Iterator[list[bytes]]:
    rest = b""
    utf8 = encoding.lower().replace("_", "-") in ("utf-8", "utf8")
    while block := stream.read(_READ_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        yield lines if utf8 else [line.decode(encoding).encode() for line in lines]
    if rest:
        yield [rest] if utf8 else [rest.decode(encoding).encode()]
