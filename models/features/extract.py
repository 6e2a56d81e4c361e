"""From Arrow columns of timeline events to the flat arrays the kernels take.

Names and categories are resolved once per distinct value, never once per event. A number that is
NaN, infinite or beyond float32 is missing, as is an empty text: it leaves the lead's value alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from models.compiled import compiled
from models.features.catalogue import Attribute, FeatureCatalogue
from models.features.state import SKETCH_BITS

_CACHE_LIMIT = 65_536


@dataclass(frozen=True, slots=True)
class Extracted:
    """The kernels' arguments of n events with m attribute values, in event order.

    distinct: event numbers, sketch numbers and bits of values whose variety is counted.
    """

    kind: NDArray[np.int32]
    attr_event: NDArray[np.int32]
    attr_slot: NDArray[np.int32]
    attr_value: NDArray[np.float32]
    distinct: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


def sketch_bit(value: str) -> int:
    """The bit of a sketch that stands for a text: XXH64 modulo its size."""
    return xxhash.xxh64_intdigest(value.encode()) % SKETCH_BITS


def category(attribute: Attribute, value: str) -> int:
    """The category id of a text: its place in `values`, else XXH64 of `name=value` to a bucket."""
    if value in attribute.values:
        return attribute.values.index(value)
    digest = xxhash.xxh64_intdigest(f"{attribute.name}={value}".encode())
    return len(attribute.values) + digest % (attribute.buckets or 1)


class Extractor:
    """Reads one catalogue's attributes and kinds; remembers the categories of texts seen."""

    def __init__(self, catalogue: FeatureCatalogue) -> None:
        slots: dict[str, list[int]] = {"numbers": [], "texts": []}
        fields: dict[str, list[str]] = {"numbers": [], "texts": []}
        for slot, attribute in enumerate(catalogue.attributes):
            column, _, field = (attribute.source or "").partition(".")
            slots[column].append(slot)
            fields[column].append(field)
        self._attributes = catalogue.attributes
        self._number_fields = pa.array(fields["numbers"], pa.string())
        self._text_fields = pa.array(fields["texts"], pa.string())
        self._number_slots = np.array(slots["numbers"], np.int32)
        self._text_slots = np.array(slots["texts"], np.int32)
        self._kinds = pa.array(catalogue.behaviour.kinds, pa.string())
        distinct = catalogue.behaviour.distinct
        self._url = distinct.index("url") if "url" in distinct else -1
        self._distinct_fields = pa.array([f for f in distinct if f != "url"], pa.string())
        self._distinct = np.array([i for i, f in enumerate(distinct) if f != "url"], np.int32)
        self._categories: dict[tuple[int, str], int] = {}

    def extract(
        self,
        kind: pa.Array,
        numbers: pa.MapArray,
        texts: pa.MapArray,
        url: pa.Array | None = None,
    ) -> Extracted:
        """Flatten n events.

        Args:
            kind: string [n].
            numbers: map<string, double> [n].
            texts: map<string, string> [n].
            url: string [n], of which only `behaviour.distinct` makes use.
        """
        n_event, n_slot, n_items = _known_entries(numbers, self._number_fields, self._number_slots)
        t_event, t_slot, t_items = _known_entries(texts, self._text_fields, self._text_slots)
        n_value = _doubles(n_items)
        t_value = self._category_values(t_slot, t_items)
        event, slot, value = _merged(n_event, n_slot, n_value, t_event, t_slot, t_value)
        distinct = self._distinct_values(texts, url)
        return Extracted(_positions(kind, self._kinds), event, slot, value, distinct)

    def _distinct_values(
        self, texts: pa.MapArray, url: pa.Array | None
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """(event numbers ascending, sketch numbers, bits) of the texts to count, none empty."""
        event, sketch, items = _known_entries(texts, self._distinct_fields, self._distinct)
        bit = _bits(items)
        if self._url >= 0 and url is not None:
            at = np.arange(len(url), dtype=np.int32)
            event = np.concatenate((event, at))
            sketch = np.concatenate((sketch, np.full(len(url), self._url, np.int32)))
            bit = np.concatenate((bit, _bits(url)))
        kept = np.flatnonzero(bit >= 0)
        kept = kept[np.argsort(event[kept], kind="stable")]
        return event[kept], sketch[kept], bit[kept]

    def _category_values(self, slot: NDArray[np.int32], items: pa.Array) -> NDArray[np.float64]:
        """Category id of each text as float, NaN for null or empty."""
        if len(items) == 0:
            return np.empty(0)
        encoded = items.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        codes = _integers(encoded.indices).astype(np.int64)
        combined = np.where(codes < 0, -1, slot * np.int64(len(words)) + codes)
        size = len(self._attributes) * len(words)
        if size <= 4 * len(combined) + 1024:
            used = np.zeros(size, np.bool_)
            used[combined[combined >= 0]] = True
            pairs = np.flatnonzero(used)
            table = np.full(size + 1, np.nan)  # the last cell serves -1
            table[pairs] = [
                self._category(*divmod(pair, len(words)), words) for pair in pairs.tolist()
            ]
            return table[combined]
        pairs, inverse = np.unique(combined, return_inverse=True)
        values = np.array(
            [
                np.nan if pair < 0 else self._category(*divmod(pair, len(words)), words)
                for pair in pairs.tolist()
            ]
        )
        return values[inverse]

    def _category(self, slot: int, code: int, words: list[str]) -> float:
        word = words[code]
        if not word:
            return np.nan
        found = self._categories.get((slot, word))
        if found is None:
            if len(self._categories) >= _CACHE_LIMIT:
                self._categories.clear()
            found = self._categories[slot, word] = category(self._attributes[slot], word)
        return float(found)


def _bits(texts: pa.Array) -> NDArray[np.int32]:
    """Sketch bit of each text, -1 for null or empty."""
    if len(texts) == 0:
        return np.empty(0, np.int32)
    encoded = texts if isinstance(texts, pa.DictionaryArray) else texts.dictionary_encode()
    of = [sketch_bit(word) if word else -1 for word in encoded.dictionary.to_pylist()]
    return np.array([*of, -1], np.int32)[_integers(encoded.indices)]


def _integers(indices: pa.Array) -> NDArray[np.int32]:
    """Arrow integers as int32, null as -1."""
    if indices.null_count:
        indices = pc.fill_null(indices, -1)
    return np.asarray(indices.to_numpy(zero_copy_only=False), np.int32)


def _positions(values: pa.Array, known: pa.Array) -> NDArray[np.int32]:
    """Position of each value in `known`, -1 if it is not there."""
    if isinstance(values, pa.DictionaryArray):
        table = np.append(_positions(values.dictionary, known), np.int32(-1))
        return table[_integers(values.indices)]
    return _integers(pc.index_in(values, value_set=known, skip_nulls=True))


def _doubles(items: pa.Array) -> NDArray[np.float64]:
    """Arrow doubles as numpy, null as NaN."""
    if items.null_count:
        items = pc.fill_null(items, float("nan"))
    return np.asarray(items.to_numpy(zero_copy_only=False), np.float64)


def _known_entries(
    maps: pa.MapArray, fields: pa.Array, slots: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32], pa.Array]:
    """Event number, attribute number and item of the map entries whose key is a catalogue field."""
    none = np.empty(0, np.int32)
    offsets = np.asarray(maps.offsets)
    start, end = (int(offsets[0]), int(offsets[-1])) if len(maps) else (0, 0)
    keys, items = maps.keys.slice(start, end - start), maps.items.slice(start, end - start)
    if len(fields) == 0 or len(keys) == 0:
        return none, none, items.slice(0, 0)
    position = _positions(keys, fields)
    event = np.repeat(np.arange(len(maps), dtype=np.int32), np.diff(offsets))
    wanted = position >= 0
    if maps.null_count:
        wanted &= np.asarray(maps.is_valid())[event]
    if not wanted.all():
        kept = np.flatnonzero(wanted)
        event, position, items = event[kept], position[kept], items.take(pa.array(kept))
    return event, slots[position], items


@compiled
def _merged(
    n_event: NDArray[np.int32],
    n_slot: NDArray[np.int32],
    n_value: NDArray[np.float64],
    t_event: NDArray[np.int32],
    t_slot: NDArray[np.int32],
    t_value: NDArray[np.float64],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Numbers and texts as one sequence in event order, without missing values."""
    event = np.empty(len(n_event) + len(t_event), np.int32)
    slot = np.empty(len(event), np.int32)
    value = np.empty(len(event), np.float32)
    kept, n, t = 0, 0, 0
    while n < len(n_event) or t < len(t_event):
        if t >= len(t_event) or (n < len(n_event) and n_event[n] <= t_event[t]):
            event[kept], slot[kept], value[kept] = n_event[n], n_slot[n], n_value[n]
            n += 1
        else:
            event[kept], slot[kept], value[kept] = t_event[t], t_slot[t], t_value[t]
            t += 1
        if np.isfinite(value[kept]):
            kept += 1
    return event[:kept], slot[:kept], value[:kept]
