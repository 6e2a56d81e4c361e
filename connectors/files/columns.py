"""The columns of some rows of a file as texts, numbers and templates, each computed once.

Texts are trimmed; what the mapping calls null is null. A number without a fraction has no `.0` as
a text, whether the file holds it as 17850 or as 17850.0, so that identifiers agree between formats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.files.model import FileFormat, NumberSpec, TextSpec
from connectors.files.uses import FILE, ROW, template_fields, template_pieces

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


class Columns:
    """Columns of `n` rows.

    arrays: name -> Arrow array [n]; rows: row numbers over all files of the import [n];
    file: the name of the file, for templates.
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        rows: NDArray[np.int64],
        file_format: FileFormat,
        file: str,
    ) -> None:
        self.rows = rows
        self.n = len(rows)
        self.file = file
        self.format = file_format
        self._arrays = dict(arrays)
        self._texts: dict[str, Any] = {}
        self._whole: Columns = self
        self._chosen: Any = None

    def take(self, chosen: NDArray[np.bool_]) -> Columns:
        """The columns of the chosen rows; what the whole has computed is not computed again."""
        if chosen.all():
            return self
        some = Columns({}, self.rows[chosen], self.format, self.file)
        some._whole, some._chosen = self, pa.array(chosen)
        return some

    def array(self, column: str) -> Any:
        """Arrow array [n] of a column as the file holds it."""
        if column not in self._arrays:
            if self._whole is self:
                raise KeyError(column)
            self._arrays[column] = self._whole.array(column).filter(self._chosen)
        return self._arrays[column]

    def text(self, column: str, nulls: Sequence[str] = ()) -> Any:
        """Arrow string array [n] of a column; `nulls` are null in addition to the format's."""
        if column not in self._texts:
            if self._whole is not self:
                text = self._whole.text(column).filter(self._chosen)
            else:
                text = _without(_as_text(self.array(column)), tuple(self.format.nulls))
            self._texts[column] = text
        return _without(self._texts[column], tuple(nulls))

    def render(self, spec: TextSpec) -> Any:
        """Arrow string array [n] of a column, template or constant of the mapping."""
        if spec.constant is not None:
            return pa.repeat(spec.constant, self.n)
        if spec.column is not None:
            text = self.text(spec.column, spec.nulls)
        else:
            text = self._fill_in(spec.template or "", spec.nulls)
        if spec.values:
            text = _mapped(text, spec.values)
        if spec.default is not None and text.null_count:
            text = pc.fill_null(text, spec.default)
        return text

    def _fill_in(self, template: str, nulls: Sequence[str]) -> Any:
        pieces = template_pieces(template)
        parts: list[Any] = [pieces[0]]
        for field, piece in zip(template_fields(template), pieces[1:], strict=True):
            if field == ROW:
                parts.append(pc.cast(pa.array(self.rows), pa.string()))
            elif field == FILE:
                parts.append(pa.repeat(self.file, self.n))
            else:
                parts.append(self.text(field, nulls))
            parts.append(piece)
        return pc.binary_join_element_wise(*parts, "")

    def number(self, spec: NumberSpec) -> tuple[NDArray[np.float64], NDArray[np.bool_], Any]:
        """(values [n], present [n], texts [n]); a present value that is not finite is wrong."""
        array = self.array(spec.column)
        if _is_number(array.type) and not spec.values and not spec.nulls:
            values = pc.cast(array, pa.float64(), safe=False)
            texts = array
        else:
            texts = self.text(spec.column, spec.nulls)
            values = self._parsed(texts, spec)
        present = valid(texts)
        numbers = pc.fill_null(values, np.nan).to_numpy(zero_copy_only=False)
        if spec.default is not None and not present.all():
            numbers = np.where(present, numbers, spec.default)
            present = np.ones(self.n, dtype=np.bool_)
        return numbers, present, texts

    def _parsed(self, texts: Any, spec: NumberSpec) -> Any:
        if not spec.values:
            return parse_floats(plain_decimals(texts, self.format))
        known = pa.array(list(spec.values), pa.string())
        at = pc.index_in(texts, value_set=known)
        mapped = pa.array(list(spec.values.values()), pa.float64()).take(at)
        rest = pc.if_else(pc.is_valid(at), None, texts)
        return pc.coalesce(mapped, parse_floats(plain_decimals(rest, self.format)))


def valid(array: Any) -> NDArray[np.bool_]:
    """Mask [n] of the values of an Arrow array that are not null."""
    if not array.null_count:
        return np.ones(len(array), dtype=np.bool_)
    mask: NDArray[np.bool_] = pc.is_valid(array).to_numpy(zero_copy_only=False)
    return mask


def true(mask: Any) -> NDArray[np.bool_]:
    """Arrow boolean array [n] as a mask; null counts as false."""
    out: NDArray[np.bool_] = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
    return out


def plain_decimals(texts: Any, file_format: FileFormat) -> Any:
    """Texts of numbers with the file's thousands and decimal marks as plain decimals."""
    if file_format.thousands:
        texts = pc.replace_substring(texts, file_format.thousands, "")
    if file_format.decimal != ".":
        # A point is no part of a number here: it makes the text unparsable, not 100 times larger.
        texts = pc.replace_substring(texts, ".", "?")
        texts = pc.replace_substring(texts, file_format.decimal, ".")
    return texts


def parse_floats(texts: Any) -> Any:
    """Arrow float64 array [n]; what is not written as a decimal number is null."""
    try:
        return pc.cast(texts, pa.float64())
    except pa.ArrowInvalid:
        good = pc.match_substring_regex(texts, _NUMBER)
        return pc.cast(pc.if_else(good, texts, None), pa.float64())


def _is_number(kind: Any) -> bool:
    t = pa.types
    return bool(
        t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind) or t.is_boolean(kind)
    )


def _as_text(array: Any) -> Any:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _as_text(array.dictionary_decode())
    if not pa.types.is_string(kind):
        array = pc.cast(array, pa.string())
    if pa.types.is_floating(kind):
        # Arrow writes 17850.0 as 17850 and never as 1.785e4 below 1e15; only -0 needs help.
        return pc.if_else(pc.equal(array, "-0"), "0", array)
    return pc.utf8_trim_whitespace(array)


@lru_cache(maxsize=256)
def _value_set(values: tuple[str, ...]) -> Any:
    return pa.array(values, pa.string())


def _without(text: Any, nulls: tuple[str, ...]) -> Any:
    if not nulls:
        return text
    hits = pc.is_in(text, value_set=_value_set(nulls))
    return pc.if_else(hits, None, text) if pc.any(hits).as_py() else text


def _mapped(text: Any, values: dict[str, str]) -> Any:
    at = pc.index_in(text, value_set=_value_set(tuple(values)))
    mapped = _value_set(tuple(values.values())).take(at)
    return pc.coalesce(mapped, text)
