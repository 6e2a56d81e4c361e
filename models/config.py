"""YAML files into frozen structures, with errors that name the file, the line and the field.

Every configuration file of a workspace is read here, so that a mistake reads the same everywhere:
`features.yaml:12: attributes[2].type: Invalid enum value 'numerik'. Fix: …`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

T = TypeVar("T")

_UNITS_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_PATH = re.compile(r" - at `(key in )?\$?([^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[\.\.\.\]")


class ConfigError(ValueError):
    """A configuration file cannot be used; the message says where and what to do about it."""


class Document:
    """One parsed YAML file: its plain data and the line on which each field stands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file. Fix: create it or correct the path") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path}: cannot be read: {error}. Fix: make it UTF-8 text"
            ) from error
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigError(
                f"{path}:{line}: not valid YAML: {error.problem}. Fix: check indentation, "
                "colons and quotes on this line"
            ) from error
        self._lines: dict[tuple[str | int, ...], int] = {}
        if node is not None:
            self._note_lines(node, ())
        self.data: Any = yaml.safe_load(text)

    def _note_lines(self, node: yaml.Node, where: tuple[str | int, ...]) -> None:
        self._lines.setdefault(where, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = str(key.value)
                twice = (*where, name) in self._lines
                self._lines[(*where, name)] = key.start_mark.line + 1
                if twice:
                    raise self.error((*where, name), "given twice", "keep one of them")
                self._note_lines(value, (*where, name))
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._note_lines(value, (*where, index))

    def error(self, where: tuple[str | int, ...], problem: str, fix: str) -> ConfigError:
        """A `ConfigError` for the field at `where` (keys and list indices from the top)."""
        known = where
        while known and known not in self._lines:
            known = known[:-1]
        field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)
        field = field.lstrip(".") or "the file"
        return ConfigError(
            f"{self.path}:{self._lines.get(known, 1)}: {field}: {problem}. Fix: {fix}"
        )

    def convert(self, structure: type[T]) -> T:
        """The file's content as `structure` (a msgspec Struct)."""
        if not isinstance(self.data, dict):
            raise self.error((), "is not a mapping", "start the file with `name: value` lines")
        try:
            return msgspec.convert(self.data, structure)
        except msgspec.ValidationError as error:
            text = str(error)
            match = _PATH.search(text)
            where: tuple[str | int, ...] = ()
            if match:
                text = text[: match.start()]
                where = tuple(
                    int(index) if index else name
                    for name, index in _STEP.findall(match.group(2))
                    if name or index
                )
            raise self.error(where, text, _fix_for(text)) from error


def _fix_for(problem: str) -> str:
    if "unknown field" in problem:
        return "remove the field or correct its spelling (see models/README.md for the format)"
    if "missing required field" in problem:
        return "add the field"
    if "got `bool`" in problem:
        return "YAML reads yes, no, on and off as true or false: put the word in quotes"
    if "Invalid enum value" in problem:
        return "use one of the values listed in models/README.md"
    return "give a value of the expected type (see models/README.md for the format)"


def duration_us(text: str) -> int:
    """`30s`, `5m`, `1h` or `2d` in microseconds; ValueError for anything else."""
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if not match:
        raise ValueError(f"{text!r} is not a duration such as 30s, 5m, 1h or 1d")
    return int(match.group(1)) * _UNITS_US[match.group(2)]
