"""Reads and checks a mapping; every complaint names the place in the YAML."""

from __future__ import annotations

import codecs
import difflib
import hashlib
import re
from collections.abc import Callable, Hashable
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pyarrow.compute as pc
import yaml

from connectors.files import model
from connectors.files.durations import parse_duration, parse_rows
from connectors.files.errors import MappingError
from connectors.files.ids import EVENT_BITS
from connectors.files.model import FileMapping, TimeSpec
from connectors.files.shipped import shipped_mapping, shipped_names
from connectors.files.times import check_format, parse_instant
from connectors.files.uses import conditions_of, template_fields, texts_of

MAX_EVENTS = 1 << EVENT_BITS
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def load_mapping(name_or_path: str | Path) -> FileMapping:
    """Mapping of a YAML file, or the shipped one of that name. Raises MappingError."""
    path = Path(name_or_path)
    if not path.is_file():
        shipped = shipped_mapping(str(name_or_path))
        if shipped is None:
            raise MappingError(
                f"there is no mapping file {str(name_or_path)!r}, nor a shipped mapping of that"
                f" name; shipped: {', '.join(shipped_names())}"
            )
        path = shipped
    try:
        return parse_mapping(path.read_text(encoding="utf-8"))
    except (MappingError, UnicodeDecodeError) as error:
        raise MappingError(f"{path.name}: {error}") from error


def parse_mapping(text: str) -> FileMapping:
    """Checked mapping of YAML text. Raises MappingError.

    Every scalar is read as text (`won: [yes]` means the text "yes", as in the file) and becomes a
    number or a flag only where the key asks for one.
    """
    try:
        tree = yaml.load(text, Loader=_Texts)
    except yaml.YAMLError as error:
        raise MappingError(f"not valid YAML: {error}") from error
    try:
        mapping = msgspec.convert(tree, FileMapping, strict=False)
    except msgspec.ValidationError as error:
        raise MappingError(_friendly(str(error))) from error
    _Checks(mapping).run()
    return mapping


def mapping_digest(mapping: FileMapping) -> str:
    """SHA-256 of what the mapping says, hexadecimal: neither comments nor layout change it."""
    said = msgspec.structs.replace(mapping, description="")
    return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()


def with_outcome_delay(mapping: FileMapping, delay: str) -> FileMapping:
    """The mapping with the outcome `delay` after its row (`"500 rows"`, `"3d"`).

    Raises MappingError where it has no outcome or cannot be delayed so.
    """
    if mapping.outcome is None:
        raise MappingError("outcome: the mapping has none, so it cannot be delayed")
    outcome = msgspec.structs.replace(mapping.outcome, delay=delay, time=None)
    changed = msgspec.structs.replace(mapping, outcome=outcome)
    _Checks(changed).run()
    return changed


class _Texts(yaml.BaseLoader):
    """YAML with every scalar as text and no key twice."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, object]:
        """Dictionary of a node. Raises MappingError at a key that stands there twice."""
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise MappingError(f"line {line}: the key {key!r} stands there twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _friendly(message: str) -> str:
    text, _, where = message.partition(" - at `")
    place = where.rstrip("`").removeprefix("$").removeprefix(".") or "mapping"
    if unknown := re.search(r"unknown field `([^`]+)`", text):
        keys = {
            field.encode_name
            for part in vars(model).values()
            if isinstance(part, type) and issubclass(part, msgspec.Struct)
            for field in msgspec.structs.fields(part)
        }
        close = difflib.get_close_matches(unknown[1], sorted(keys), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"{place}: there is no key {unknown[1]!r}{hint}"
    if missing := re.search(r"missing required field `([^`]+)`", text):
        return f"{place}: the key {missing[1]!r} is missing"
    return f"{place}: {text[0].lower()}{text[1:]}"


def _check_regex(pattern: str) -> None:
    pc.match_substring_regex("", pattern)


class _Checks:
    """What the types cannot say. The first complaint raises MappingError."""

    def __init__(self, mapping: FileMapping) -> None:
        self.mapping = mapping

    def run(self) -> None:
        m = self.mapping
        self._need(bool(_NAME.fullmatch(m.workspace)), "workspace", "use letters, digits, . _ -")
        self._need(bool(m.source), "source", "give the connector instance a name, files/my_crm")
        self._need(bool(m.events or m.indicators), "events", "give at least one event")
        count = len(m.events) + (m.outcome is not None) + len(m.indicators)
        self._need(count <= MAX_EVENTS, "events", f"a row gives at most {MAX_EVENTS} events")
        self._format()
        self._joins()
        if m.time is not None:
            self._time("time", m.time)
        self._need(
            m.order != "file" or m.time is not None, "order", "`file` needs `time` on top"
        )  # fmt: skip
        self._times_of_parts()
        for i, event in enumerate(m.events):
            identifiers = m.identifiers if event.identifiers is None else event.identifiers
            self._need(bool(identifiers), f"events[{i}].identifiers", "name at least one")
        self._need(
            m.outcome is None or bool(m.identifiers),
            "identifiers", "the outcome needs them at the top level of the mapping",
        )  # fmt: skip
        for place, spec in texts_of(m):
            given = [v for v in (spec.column, spec.template, spec.constant) if v is not None]
            self._need(len(given) == 1, place, "give one of column, template or constant")
            if spec.template is not None:
                self._call(f"{place}.template", template_fields, spec.template)
        for place, condition in conditions_of(m):
            if condition.matches is not None:
                self._call(f"{place}.matches", _check_regex, condition.matches)

    def _format(self) -> None:
        f = self.mapping.format
        self._need(len(f.delimiter) == 1, "format.delimiter", "give one character, such as ;")
        self._need(len(f.quote) <= 1, "format.quote", "give one character, or none")
        self._need(f.thousands != f.decimal, "format.thousands", "differs from format.decimal")
        self._call("format.encoding", codecs.lookup, f.encoding)

    def _joins(self) -> None:
        taken: set[str] = set()
        for i, join in enumerate(self.mapping.join):
            place = f"join[{i}]"
            self._need(bool(join.columns), f"{place}.columns", "name at least one")
            same = (join.format.decimal, join.format.thousands)
            self._need(
                same == (self.mapping.format.decimal, self.mapping.format.thousands),
                f"{place}.format",
                "writes numbers as `format` on top does: decimal and thousands are equal",
            )
            twice = sorted(taken & set(join.columns))
            self._need(not twice, f"{place}.columns", f"{twice} come from another join already")
            taken |= set(join.columns)

    def _times_of_parts(self) -> None:
        m = self.mapping
        for i, event in enumerate(m.events):
            self._own_time(f"events[{i}]", event.time, event.offset, "offset")
        if m.outcome is not None:
            rows = parse_rows(m.outcome.delay)
            synthetic = m.time is not None and m.time.start is not None
            self._need(
                rows is None or synthetic,
                "outcome.delay",
                "a delay in rows needs a time by the order of rows (time.start and time.step)",
            )
            delay = "0s" if rows is not None else m.outcome.delay
            self._own_time("outcome", m.outcome.time, delay, "delay")
        for i, indicator in enumerate(m.indicators):
            place = f"indicators[{i}]"
            self._own_time(place, indicator.published, indicator.publish_delay, "publish_delay")
            self._need(
                not indicator.on_change or isinstance(indicator.series, str),
                f"{place}.on_change",
                "needs a constant series",
            )
            if indicator.observed is not None:
                self._time(f"{place}.observed", indicator.observed)

    def _own_time(self, place: str, time: TimeSpec | None, shift: str, key: str) -> None:
        self._call(f"{place}.{key}", parse_duration, shift)
        if time is not None:
            self._time(f"{place}.time", time)
        else:
            there = self.mapping.time is not None
            self._need(there, place, "has no time: give one, or `time` on top")

    def _time(self, place: str, time: TimeSpec) -> None:
        by_rows = time.start is not None or time.step is not None
        self._need(by_rows != (time.column is not None), place, "give column, or start and step")
        if by_rows:
            self._need(place == "time", place, "a time by the order of rows belongs on top")
            self._need(None not in (time.start, time.step), place, "give both start and step")
            self._call(f"{place}.start", parse_instant, time.start or "")
            self._call(f"{place}.step", parse_duration, time.step or "")
            self._need(parse_duration(time.step or "") >= 0, f"{place}.step", "is not negative")
            self._need(self.mapping.order != "any", "order", "is `file` with a time by rows")
        self._call(f"{place}.zone", ZoneInfo, time.zone)
        self._call(f"{place}.format", check_format, time.format)

    def _need(self, holds: bool, place: str, hint: str) -> None:
        if not holds:
            raise MappingError(f"{place}: {hint}")

    def _call(self, place: str, function: Callable[[str], object], text: str) -> None:
        try:
            function(text)
        except (ValueError, LookupError, OSError) as error:
            raise MappingError(f"{place}: {error}") from error
