"""State survives the changelog: rows, deletions, blobs, progress, and a new layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.engine.changelog import PROGRESS_KEY, RESET_KEY, Changelog, ChangeRecords, Progress
from streams.engine.errors import LayoutChanged
from streams.engine.state import State
from streams.engine.table import Table
from tests.faults.slices import slice_of

LEADS = np.dtype([("count", "i8"), ("decayed", "f8", (3,)), ("flag", "u1")])
OTHER = np.dtype([("x", "f4")])


def new(*tables: Table) -> Changelog:
    return Changelog(State(tables or (Table("leads", LEADS), Table("other", OTHER))))


def restored(log: list[ChangeRecords], *tables: Table, cut: int = 7) -> Changelog:
    """Read records back in slices of ``cut``."""
    keys = [k for records in log for k in records.keys]
    values = [v for records in log for v in records.values]
    changelog = new(*tables)
    for at in range(0, len(keys), cut):
        changelog.apply(slice_of(values[at : at + cut], keys[at : at + cut], start=at))
    changelog.finish()
    return changelog


def as_dict(table: Table) -> dict[tuple[int, int], bytes]:
    rows = table.live_rows()
    return {
        tuple(k): v.tobytes()
        for k, v in zip(table.keys[rows].tolist(), table.rows[rows], strict=True)
    }


def keys_of(numbers: list[int]) -> np.ndarray:
    return np.array([[n % 5, n] for n in numbers], np.uint64).reshape(-1, 2)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["leads", "other", "delete", "blob", "commit"]),
        st.lists(st.integers(0, 30), max_size=12),
    ),
    max_size=15,
)


@settings(deadline=None, max_examples=120)
@given(STEPS, st.integers(1, 50), st.booleans())
def test_round_trip(steps: list[tuple[str, list[int]]], cut: int, compacted: bool) -> None:
    source = new()
    log = [source.layout_records()]
    for what, numbers in steps:
        if what in ("leads", "other"):
            table = source.state.table(what)
            rows, _ = table.find_or_insert(keys_of(numbers))
            field = "count" if what == "leads" else "x"
            np.add.at(table.rows[field], rows, 1)
            table.touch(rows)
        elif what == "delete":
            source.state.table("leads").delete(keys_of(numbers))
        elif what == "blob":
            for n in numbers:
                if n % 3:
                    source.state.blobs.put(f"blob-{n % 4:011d}", bytes([n]))
                else:
                    source.state.blobs.delete(f"blob-{n % 4:011d}")
        else:
            log.append(source.take_changes())
    log.append(source.take_changes())
    if compacted:
        log = [compact(log)]
    copy = restored(log, cut=cut)
    for name in ("leads", "other"):
        assert as_dict(copy.state.table(name)) == as_dict(source.state.table(name))
    assert {n: copy.state.blobs.get(n) for n in copy.state.blobs} == {
        n: source.state.blobs.get(n) for n in source.state.blobs
    }
    assert copy.take_changes().keys == []
    assert copy.layout_records().keys == []


def compact(log: list[ChangeRecords]) -> ChangeRecords:
    """What a broker's cleaner leaves: the newest record of each key."""
    newest: dict[bytes, tuple[int, bytes | None]] = {}
    pairs = [p for r in log for p in zip(r.keys, r.values, strict=True)]
    for at, (key, value) in enumerate(pairs):
        newest[key] = (at, value)
    out = ChangeRecords()
    for key, (_, value) in sorted(newest.items(), key=lambda item: item[1][0]):
        out.add(key, value)
    return out


def written(
    dtype: np.dtype, count: int, *, name: str = "leads", meaning: str = ""
) -> list[ChangeRecords]:
    source = new(Table(name, dtype, meaning=meaning))
    table = source.state.table(name)
    rows, _ = table.find_or_insert(keys_of(list(range(count))))
    for field in dtype.names or ():
        table.rows[field][rows] = np.arange(count).reshape(-1, *[1] * (table.rows[field].ndim - 1))
    return [source.layout_records(), source.take_changes()]


def test_a_new_field_starts_at_its_default() -> None:
    wider = np.dtype([("flag", "u1"), ("new", "f8"), ("count", "i8"), ("decayed", "f8", (3,))])
    default = np.zeros((), wider)
    default["new"] = 7.5
    copy = restored(written(LEADS, 4), Table("leads", wider, default=default))
    table = copy.state.table("leads")
    rows = table.find(keys_of([3]))
    assert table.rows["count"][rows].tolist() == [3]
    assert table.rows["decayed"][rows].tolist() == [[3.0, 3.0, 3.0]]
    assert table.rows["new"][rows].tolist() == [7.5]
    assert len(copy.layout_records().keys) == 1


def test_rows_of_two_layouts_in_one_slice_keep_their_order() -> None:
    older, newer = np.dtype([("a", "i8")]), np.dtype([("a", "i8"), ("b", "i8")])
    log = written(newer, 3) + written(older, 2) + written(newer, 1)
    copy = restored(log, Table("leads", newer), cut=1000)
    table = copy.state.table("leads")
    rows = table.find(keys_of([0, 1, 2]))
    assert table.rows["a"][rows].tolist() == [0, 1, 2]
    assert table.rows["b"][rows].tolist() == [0, 0, 2]


@pytest.mark.parametrize(
    "today",
    [
        np.dtype([("count", "i8"), ("flag", "u1")]),  # a field is gone
        np.dtype([("count", "i4"), ("decayed", "f8", (3,)), ("flag", "u1")]),  # another type
        np.dtype([("count", "i8"), ("decayed", "f8", (4,)), ("flag", "u1")]),  # another shape
    ],
)
def test_other_changes_are_refused(today: np.dtype) -> None:
    with pytest.raises(LayoutChanged, match="leadstream rebuild"):
        restored(written(LEADS, 2), Table("leads", today))


def test_rows_of_another_meaning_are_refused() -> None:
    log = written(LEADS, 2, meaning="catalogue 1")
    same = restored(log, Table("leads", LEADS, meaning="catalogue 1"))
    assert len(same.state.table("leads")) == 2
    with pytest.raises(LayoutChanged, match=r"another configuration.*leadstream rebuild"):
        restored(log, Table("leads", LEADS, meaning="catalogue 2"))


def test_rows_without_a_layout_are_refused() -> None:
    with pytest.raises(LayoutChanged, match="leadstream rebuild"):
        restored(written(LEADS, 2)[1:], Table("leads", LEADS))


def test_rows_of_another_length_are_refused() -> None:
    layout, rows = written(LEADS, 2)
    first, second = rows.values
    rows = ChangeRecords(rows.keys, [first, second[:-1]])  # type: ignore[index]
    with pytest.raises(LayoutChanged, match="not as long"):
        restored([layout, rows], Table("leads", LEADS))


def test_tables_of_other_code_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    copy = restored(written(LEADS, 2, name="former"))
    assert "changelog_unknown_table" in capsys.readouterr().out
    assert [len(t) for t in copy.state.tables.values()] == [0, 0]
    with pytest.raises(LayoutChanged, match=r"new_state\(\)"):
        copy.state.add_table(Table("former", LEADS))
        copy.take_changes()


def test_a_table_that_is_added_while_it_runs_is_written() -> None:
    source = new()
    source.layout_records()
    table = source.state.add_table(Table("late", OTHER))
    table.find_or_insert(keys_of([1]))
    copy = restored([source.take_changes()], Table("late", OTHER))
    assert len(copy.state.table("late")) == 1


@pytest.mark.parametrize("cut", [1, 2, 5, 1000])
def test_a_reset_makes_everything_before_it_void(cut: int) -> None:
    reset = ChangeRecords()
    reset.add(RESET_KEY, b"rebuilt")
    reset.add(PROGRESS_KEY, Progress({"in": 3}).to_bytes())
    former = np.dtype([("count", "i2")])
    log = [*written(former, 6), reset, *written(LEADS, 2)]
    copy = restored(log, Table("leads", LEADS), cut=cut)
    table = copy.state.table("leads")
    assert len(table) == 2
    assert table.rows["count"][table.find(keys_of([0, 1]))].tolist() == [0, 1]
    assert copy.progress == Progress({"in": 3})
    assert copy.take_changes().keys == []


def test_padded_rows_are_refused_at_once() -> None:
    padded = np.dtype({"names": ["a"], "formats": ["i4"], "offsets": [0], "itemsize": 8})
    with pytest.raises(TypeError, match="packed"):
        new(Table("leads", padded))


def test_progress_round_trip_and_unknown_fields() -> None:
    progress = Progress({"in": 5}, {"in": "id"}, 2, {"in": 9}, {"in": 100})
    records = ChangeRecords()
    records.add(PROGRESS_KEY, progress.to_bytes())
    assert restored([records]).progress == progress
    assert Progress.from_bytes(b'{"offsets": {"in": 1}, "later": 3}') == Progress({"in": 1})


def test_attempts_end_where_the_suspect_records_end() -> None:
    progress = Progress({"in": 0}).failed("in", 10).failed("in", 4)
    assert (progress.attempts, progress.suspect) == (2, {"in": 10})
    assert progress.advanced("in", 9).attempts == 2
    assert progress.advanced("in", 10).attempts == 0
    assert progress.failed("in", 4).failed("in", 4).isolated("in", 5, 3).attempts == 3
    assert progress.isolated("in", 10, 3).attempts == 0


def test_suppression_ends_with_its_offset() -> None:
    progress = Progress({"a": 0, "b": 0}, suppress={"a": 5, "b": 3})
    assert progress.advanced("a", 4).suppress == {"a": 5, "b": 3}
    assert progress.advanced("a", 5).suppress == {"b": 3}
