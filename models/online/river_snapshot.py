"""River estimators as bytes and back, without pickle.

The object graph is written as msgpack lists by the same protocol that copying uses
(`__reduce_ex__`), but reading it can only make river's own classes and a few plain containers:
a snapshot cannot name any other code. A random generator that was given no seed, as each of river's
Gaussians has one for drawing samples, is left out: its 2.5 kB would differ from process to process.
"""

from __future__ import annotations

import builtins
import collections
import copyreg
import functools
import importlib
import random
from types import BuiltinFunctionType, FunctionType
from typing import Any

import msgspec
import numpy as np

_UNSEEDED = object()
_PLAIN = (type(None), bool, float, str, bytes)
_OUTSIDE: dict[str, Any] = {
    "copyreg:__newobj__": copyreg.__newobj__,  # type: ignore[attr-defined]
    "builtins:getattr": builtins.getattr,
    "collections:defaultdict": collections.defaultdict,
    "collections:OrderedDict": collections.OrderedDict,
    "collections:Counter": collections.Counter,
    "collections:deque": collections.deque,
    "functools:partial": functools.partial,
    "random:Random": random.Random,
    **{f"builtins:{t.__name__}": t for t in (float, int, str, bool, dict, list, set, tuple)},
}


def dump_estimator(model: object) -> bytes:
    """The estimator's whole state.

    Raises:
        ValueError: it holds something that is neither river's nor a plain container.
    """
    try:
        return msgspec.msgpack.encode(_Writer().write(model))
    except RecursionError as error:
        raise ValueError(f"{type(model).__name__} is linked too deeply to snapshot") from error


def load_estimator(data: bytes) -> Any:
    """The reverse of `dump_estimator`.

    Raises:
        ValueError: not such bytes, or they name code that is not river's.
    """
    try:
        return _Reader().read(msgspec.msgpack.decode(data))
    except (msgspec.DecodeError, IndexError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a snapshot of a river estimator: {error!r}") from error


class _Writer:
    def __init__(self) -> None:
        self._ids: dict[int, int] = {}
        self._alive: list[object] = []  # keeps ids unique while we write

    def write(self, item: Any) -> Any:
        if isinstance(item, np.generic):
            item = item.item()
        if type(item) in _PLAIN:
            return item
        if type(item) is int:
            return item if -(2**63) <= item < 2**63 else ["int", str(item)]
        if isinstance(item, type | FunctionType) or (
            isinstance(item, BuiltinFunctionType) and isinstance(item.__self__, type(builtins))
        ):
            return ["name", _name(item)]
        if item is _UNSEEDED:
            return ["unseeded", 0]
        if id(item) in self._ids:
            return ["same", self._ids[id(item)]]
        number = self._ids[id(item)] = len(self._ids)
        self._alive.append(item)
        if type(item) in (list, tuple):
            return [type(item).__name__, number, [self.write(part) for part in item]]
        if type(item) in (set, frozenset):
            ordered = sorted(item, key=repr)  # str hashes differ per process
            return [type(item).__name__, number, [self.write(part) for part in ordered]]
        if type(item) is dict:
            return ["dict", number, [[self.write(k), self.write(v)] for k, v in item.items()]]
        reduced = item.__reduce_ex__(4)
        if isinstance(reduced, str):
            raise ValueError(f"cannot snapshot {item!r}")
        make, args, state, parts, pairs = (*reduced, None, None, None)[:5]
        if isinstance(state, dict) and state.get("seed", 0) is None:
            state = {k: _UNSEEDED if type(v) is random.Random else v for k, v in state.items()}
        return [
            "object",
            number,
            _name(make),
            [self.write(arg) for arg in args],
            self.write(state),
            [self.write(part) for part in parts or ()],
            [[self.write(k), self.write(v)] for k, v in pairs or ()],
        ]


class _Reader:
    def __init__(self) -> None:
        self._made: dict[int, Any] = {}

    def read(self, node: Any) -> Any:
        if not isinstance(node, list):
            return node
        tag, first = node[0], node[1]
        if tag == "int":
            return int(first)
        if tag == "name":
            return _resolve(first)
        if tag == "unseeded":
            return random.Random(0)
        if tag == "same":
            return self._made[first]
        if tag in ("tuple", "frozenset", "set"):
            parts = [self.read(part) for part in node[2]]
            made: Any = {"tuple": tuple, "frozenset": frozenset, "set": set}[tag](parts)
            self._made[first] = made
            return made
        if tag == "list":
            made = self._made[first] = []
            made.extend(self.read(part) for part in node[2])
            return made
        if tag == "dict":
            made = self._made[first] = {}
            for key, value in node[2]:
                made[self.read(key)] = self.read(value)
            return made
        return self._read_object(first, *node[2:])

    def _read_object(
        self, number: int, name: str, args: Any, state: Any, parts: Any, pairs: Any
    ) -> Any:
        make, arguments = _resolve(name), [self.read(arg) for arg in args]
        if make is builtins.getattr and (
            not type(arguments[0]).__module__.startswith("river.") or arguments[1].startswith("__")
        ):
            raise ValueError("the snapshot reaches for an attribute that is not river's")
        made = self._made[number] = make(*arguments)
        for part in parts:
            made.append(self.read(part))
        for key, value in pairs:
            made[self.read(key)] = self.read(value)
        content = self.read(state)
        if content is None:
            return made
        if hasattr(made, "__setstate__"):
            made.__setstate__(content)
            return made
        plain, slots = content if isinstance(content, tuple) else (content, None)
        for name_, value in {**(plain or {}), **(slots or {})}.items():
            object.__setattr__(made, name_, value)
        return made


def _name(item: Any) -> str:
    """`module:qualname` of a class or function that a snapshot may name."""
    for name, outside in _OUTSIDE.items():
        if item is outside:
            return name
    name = f"{item.__module__}:{item.__qualname__}"
    try:
        resolved = _resolve(name)
    except (AttributeError, ImportError) as error:
        raise ValueError(f"cannot snapshot {item!r}: it has no importable name") from error
    if resolved is not item:
        raise ValueError(f"cannot snapshot {item!r}: it is not what its name says")
    return name


def _resolve(name: str) -> Any:
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    module, _, qualname = name.partition(":")
    if not module.startswith("river."):
        raise ValueError(f"a snapshot may not name {name}")
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    if found.__module__ != module or found.__qualname__ != qualname:
        raise ValueError(f"a snapshot may not name {name}")
    return found
