"""A mapping that takes columns from a second file: found by key, or null, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.files.errors import MappingError, SourceFileError
from connectors.files.mapping import parse_mapping
from connectors.files.pipeline import source_batches

DEALS = """
workspace: acme
source: files/deals
format: {delimiter: ";"}
time: {column: created}
join:
  - {file: accounts.csv, key: account, match: name, columns: [sector, size], format: {nulls: [-]}}
identifiers: {crm_id: deal}
events:
  - kind: created
    numbers: {size: size}
    texts: {sector: sector}
  - kind: talked
    when: {column: sector, equals: retail}
"""


def write(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rows(mapping: str, file: Path, batch_rows: int = 4096) -> list[dict[str, Any]]:
    found = source_batches(parse_mapping(mapping), [file], batch_rows)
    return [row for _, batch in found for row in batch.to_pylist()]


@pytest.fixture
def deals(tmp_path: Path) -> Path:
    write(tmp_path, "accounts.csv", "name,sector,size", "Acme,retail,12", "Brick,-,7")
    return write(
        tmp_path, "deals.csv", "deal;account;created",
        "1;Acme;2024-01-01", "2;Brick;2024-01-02", "3;Other;2024-01-03", "4;;2024-01-04",
    )  # fmt: skip


def test_columns_are_found_by_key_and_null_without_one(deals: Path) -> None:
    told = [
        (row["identifiers"], row["kind"], dict(row["numbers"]), dict(row["texts"]))
        for row in rows(DEALS, deals)
    ]
    assert [(dict(i)["crm_id"], *rest) for i, *rest in told] == [
        ("1", "created", {"size": 12.0}, {"sector": "retail"}),
        ("1", "talked", {}, {}),
        ("2", "created", {"size": 7.0}, {}),
        ("3", "created", {}, {}),
        ("4", "created", {}, {}),
    ]


def test_a_key_may_be_a_number_here_and_a_text_there(tmp_path: Path) -> None:
    write(tmp_path, "accounts.csv", "name,sector,size", "17,retail,12")
    table = pa.table({"deal": [1], "account": [17.0], "created": ["2024-01-01"]})
    pq.write_table(table, tmp_path / "deals.parquet")
    first, *_ = rows(DEALS, tmp_path / "deals.parquet")
    assert dict(first["texts"]) == {"sector": "retail"}


def test_another_joined_file_gives_other_events(deals: Path) -> None:
    before = [row["event_id"] for row in rows(DEALS, deals)]
    assert before == [row["event_id"] for row in rows(DEALS, deals, 1)]
    write(deals.parent, "accounts.csv", "name,sector,size", "Acme,retail,13", "Brick,-,7")
    assert not set(before) & {row["event_id"] for row in rows(DEALS, deals)}


def test_a_key_that_stands_there_twice_is_refused(deals: Path) -> None:
    write(deals.parent, "accounts.csv", "name,sector,size", "Acme,retail,1", "Acme,steel,2")
    with pytest.raises(SourceFileError, match=r"name 'Acme' stands there twice.*Fix: "):
        rows(DEALS, deals)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("name,sector,siz", "no column 'size' that join names; did you mean 'siz'"),
        (None, "no such"),
    ],
)
def test_a_joined_file_that_lacks_something_is_refused(
    deals: Path, header: str | None, expected: str
) -> None:
    accounts = deals.parent / "accounts.csv"
    accounts.unlink()
    if header:
        write(deals.parent, "accounts.csv", header, "Acme,retail,1")
    with pytest.raises(SourceFileError, match=expected):
        rows(DEALS, deals)


def test_a_column_comes_from_one_join_only() -> None:
    other = "  - {file: b.csv, key: deal, columns: [size]}\n"
    twice = DEALS.replace("identifiers:", f"{other}identifiers:")
    with pytest.raises(MappingError, match=r"join\[1\]\.columns: .*size.* another join"):
        parse_mapping(twice)
