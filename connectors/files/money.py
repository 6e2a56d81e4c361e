"""Amounts of money to whole minor units (cents), exactly: no float takes part.

The fast way holds a decimal text as an integer of millionths in 64 bits; what does not fit there
goes the slow way through :mod:`decimal`. Both give the same result.
"""

from __future__ import annotations

from decimal import (
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DecimalException,
    Inexact,
    InvalidOperation,
)
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.files.columns import true, valid
from connectors.files.model import Rounding

_ODD_CURRENCIES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_EXPONENTS = {code: n for n, codes in _ODD_CURRENCIES.items() for code in codes.split()}
"""Decimals of the currencies of ISO 4217 that have not two."""

_SCALE = 6
_FAST = r"^[+-]?\d{1,11}(\.\d{0,6})?$"
_FAST_LIMIT = 9.0e18
_LIMIT = 1 << 63
_CONTEXT = Context(prec=80, traps=[InvalidOperation, Inexact])
_ROUNDINGS = {"half_even": ROUND_HALF_EVEN, "half_up": ROUND_HALF_UP}


def exponents(currencies: Any) -> NDArray[np.int64]:
    """Decimals of the minor unit of each currency code [n]; two where it is unknown or null."""
    coded = currencies.dictionary_encode()
    known = [_EXPONENTS.get(code, 2) for code in coded.dictionary.to_pylist()]
    table: NDArray[np.int64] = np.array([*known, 2], dtype=np.int64)
    at: NDArray[np.int32] = pc.fill_null(coded.indices, len(known)).to_numpy(zero_copy_only=False)
    return table[at]


def minor_units(
    texts: Any, factors: Any | None, decimals: NDArray[np.int64], rounding: Rounding
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """(minor units [n], not a number or too large [n], more decimals than the currency [n]).

    texts: plain decimals [n], null is no amount; factors: plain decimals [n] to multiply by;
    decimals: of the currency [n]. Only `rounding` = reject reports too many decimals.
    """
    n = len(texts)
    mantissas, fast = _millionths(texts)
    units = np.ones(n, dtype=np.int64)
    divisors = 10 ** (_SCALE - decimals)
    if factors is not None:
        units, whole = _whole(factors)
        fast &= whole & (np.abs(mantissas.astype(float) * units.astype(float)) < _FAST_LIMIT)
    products = np.where(fast, mantissas, 0) * units
    minor, inexact = _divide(products, divisors, rounding)
    wrong = np.zeros(n, dtype=np.bool_)
    there = valid(texts) if factors is None else valid(texts) & valid(factors)
    for i in np.flatnonzero(there & ~fast):
        factor = "1" if factors is None else factors[int(i)].as_py()
        value = _slowly(texts[int(i)].as_py(), factor, int(decimals[i]), rounding)
        wrong[i], inexact[i] = value is None, value == "inexact"
        minor[i] = value if isinstance(value, int) else 0
    if factors is not None:
        wrong |= valid(texts) & ~valid(factors)
    return minor, wrong, inexact


def _millionths(texts: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    good = pc.match_substring_regex(texts, _FAST)
    decimals = pc.cast(pc.if_else(good, texts, None), pa.decimal128(18, _SCALE))
    decimals = pa.concat_arrays([pc.fill_null(decimals, Decimal(0))])
    words = np.frombuffer(decimals.buffers()[1], dtype="<i8").reshape(-1, 2)
    start = decimals.offset
    return words[start : start + len(texts), 0].copy(), true(good)


def _whole(factors: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    good = pc.match_substring_regex(factors, r"^-?\d{1,17}$")
    values = pc.fill_null(pc.cast(pc.if_else(good, factors, None), pa.int64()), 0)
    return values.to_numpy(zero_copy_only=False), true(good)


def _divide(
    products: NDArray[np.int64], divisors: NDArray[np.int64], rounding: Rounding
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(products / divisors rounded by magnitude, what `reject` refuses to round)."""
    magnitude = np.abs(products)
    quotient, rest = np.divmod(magnitude, divisors)
    if rounding == "reject":
        return np.sign(products) * quotient, rest != 0
    twice = 2 * rest
    odd = quotient % 2 == 1
    up = (twice > divisors) | ((twice == divisors) & ((rounding == "half_up") | odd))
    return np.sign(products) * (quotient + up), np.zeros(len(products), dtype=np.bool_)


def _slowly(text: str, factor: str, decimals: int, rounding: Rounding) -> int | str | None:
    """Minor units of any decimal; "inexact", or None where it is no number or too large."""
    try:
        exact = _CONTEXT.multiply(_decimal(text), _decimal(factor)).scaleb(decimals, _CONTEXT)
        # A number such as 1e999999 would fill the memory when it is made an integer.
        if exact and exact.adjusted() > 20:
            return None
        way = _ROUNDINGS.get(rounding, ROUND_HALF_EVEN)
        minor = int(exact.to_integral_value(way, _CONTEXT))
    except DecimalException:
        return None
    if rounding == "reject" and minor != exact:
        return "inexact"
    return minor if -_LIMIT <= minor < _LIMIT else None


def _decimal(text: str) -> Decimal:
    """Decimal of a plain text; Decimal itself would take 1_000 and NaN too."""
    value = Decimal(text) if "_" not in text else Decimal("nan")
    if not value.is_finite():
        raise InvalidOperation
    return value
