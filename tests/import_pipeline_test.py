"""Files + mapping to events: order, formats, row numbers, rejected rows, delays, indicators."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pyruhvro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.files import pipeline as pipeline_module
from connectors.files.errors import Rejected, SourceFileError
from connectors.files.mapping import load_mapping, parse_mapping, with_outcome_delay
from connectors.files.model import FileMapping
from connectors.files.pipeline import source_batches
from connectors.files.shipped import shipped_excerpt
from schemas.registry import schema_json

DATA = Path(__file__).parent / "data"
DEALS = parse_mapping("""
workspace: acme
source: files/my_crm
format: {nulls: ["", "n/a"]}
time: {column: Created, zone: Europe/Berlin}
identifiers: {email: Mail, crm_id: {template: "deal-{Deal}"}}
account: Company
events:
  - kind: deal_created
    opportunity_id: Deal
    stage: {column: Stage, values: {Demo: demo}}
    amount: Amount
    currency: {column: Currency, default: EUR}
    numbers: {employees: Employees}
    texts: [Stage]
  - kind: call
    when: {column: Calls, greater: 0}
    offset: 1h
    numbers: [Calls]
outcome:
  column: Result
  won: [Won]
  lost: [Lost]
  open: [Pending]
  time: {column: Closed, zone: Europe/Berlin}
  opportunity_id: Deal
""")
HEAD = "Deal,Mail,Company,Created,Stage,Amount,Currency,Employees,Calls,Closed,Result"


def rows_of(
    mapping: FileMapping | str,
    files: Sequence[Path],
    batch_rows: int = 4096,
    rejected: list[Rejected] | None = None,
) -> list[dict[str, Any]]:
    """Every record as a dictionary, with its topic."""
    report = rejected.append if rejected is not None else None
    out = []
    for topic, batch in source_batches(mapping, files, batch_rows, report):
        name = "market_indicator" if topic == "market.indicators" else "source_event"
        assert batch.schema == pyruhvro.avro_to_arrow_schema(schema_json(name))
        out += [{"topic": topic, **row} for row in batch.to_pylist()]
    return out


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_crm_export(tmp_path: Path) -> None:
    file = write(
        tmp_path / "deals.csv", HEAD,
        "D1,a@x.com,Acme,2025-02-03 09:15,Demo,100.10,,250,0,2025-03-01 10:00,Won",
        "D2,b@x.com,Brick,2025-02-01 11:40,Offer,7,JPY,n/a,2,,Pending",
    )  # fmt: skip
    rejected: list[Rejected] = []
    events = rows_of(DEALS, [file], rejected=rejected)
    assert not rejected
    assert [(e["kind"], e["opportunity_id"]) for e in events] == [
        ("deal_created", "D2"), ("call", None), ("deal_created", "D1"), ("won", "D1"),
    ]  # fmt: skip
    second, call, first, won = events
    assert first["occurred_at"] == datetime(2025, 2, 3, 8, 15)
    assert first["received_at"] == first["occurred_at"]
    assert dict(first["identifiers"]) == {"email": "a@x.com", "crm_id": "deal-D1"}
    assert (first["amount_minor"], first["currency"], first["stage"]) == (10010, "EUR", "demo")
    assert (second["amount_minor"], second["currency"], second["stage"]) == (7, "JPY", "Offer")
    assert dict(first["numbers"]) == {"employees": 250.0} and second["numbers"] == []
    assert call["occurred_at"] - second["occurred_at"] == timedelta(hours=1)
    assert won["account"] == "Acme" and won["source_type"] == "file"
    assert len({e["event_id"] for e in events}) == 4


def without_ids(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in e.items() if k != "event_id"} for e in events]


def test_all_formats_give_equal_events(tmp_path: Path) -> None:
    table = pcsv.read_csv(shipped_excerpt("online_shoppers"))
    rows = table.to_pylist()
    files = [tmp_path / f"s.{end}" for end in ("csv", "csv.gz", "jsonl", "jsonl.gz", "parquet")]
    pcsv.write_csv(table, files[0])
    files[1].write_bytes(gzip.compress(files[0].read_bytes()))
    files[2].write_text("".join(json.dumps(row) + "\n" for row in rows))
    files[3].write_bytes(gzip.compress(files[2].read_bytes()))
    pq.write_table(table, files[4], row_group_size=700)
    expected = without_ids(rows_of("online_shoppers", [shipped_excerpt("online_shoppers")]))
    assert len(expected) > 9_000
    for file in files:
        assert without_ids(rows_of("online_shoppers", [file])) == expected


def test_typed_parquet_amounts_equal_those_of_csv(tmp_path: Path) -> None:
    excerpt = shipped_excerpt("online_retail")
    table = pcsv.read_csv(excerpt)
    pq.write_table(table, tmp_path / "r.parquet")
    expected = without_ids(rows_of("online_retail", [excerpt]))
    assert without_ids(rows_of("online_retail", [tmp_path / "r.parquet"])) == expected
    with gzip.open(excerpt, "rt", newline="") as file:
        lines = [r for r in csv.DictReader(file) if r["CustomerID"] and float(r["UnitPrice"]) > 0]
    cents = [round(int(r["Quantity"]) * round(float(r["UnitPrice"]) * 100)) for r in lines]
    assert [e["amount_minor"] for e in expected] == cents
    kinds = {e["kind"]: e["amount_minor"] for e in expected}
    assert kinds["cancellation"] < 0 < kinds["won"]


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch_rows=st.integers(1, 5_000), slice_rows=st.integers(1, 5_000))
def test_records_do_not_depend_on_where_batches_are_cut(
    batch_rows: int, slice_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    excerpt = [DATA / "import_bank_200.csv"]
    expected = rows_of("bank_marketing", excerpt)
    monkeypatch.setattr(pipeline_module, "SLICE_ROWS", slice_rows)
    assert rows_of("bank_marketing", excerpt, batch_rows) == expected


def test_delay_in_rows_puts_the_outcome_before_that_row() -> None:
    mapping = with_outcome_delay(load_mapping("bank_marketing"), "5 rows")
    events = rows_of(mapping, [DATA / "import_bank_200.csv"])
    order = [(dict(e["identifiers"])["crm_id"], e["kind"]) for e in events]
    assert order[:7] == [*((f"contact-{i}", "contact") for i in range(1, 6)),
                         ("contact-1", "lost"), ("contact-6", "contact")]  # fmt: skip
    assert len(order) == 400
    assert all("duration" not in dict(e["numbers"]) for e in events)


def test_rows_are_counted_over_all_files(tmp_path: Path) -> None:
    lines = (DATA / "import_bank_200.csv").read_text().splitlines(keepends=True)
    parts = [tmp_path / "a.csv", tmp_path / "b.csv"]
    parts[0].write_text("".join(lines[:81]))
    parts[1].write_text("".join([lines[0], *lines[81:]]))
    whole = without_ids(rows_of("bank_marketing", [DATA / "import_bank_200.csv"]))
    assert without_ids(rows_of("bank_marketing", parts)) == whole


def test_unsorted_files_are_merged_by_time(tmp_path: Path) -> None:
    mails = [
        ("a", "2025-01-03"), ("b", "2025-01-01"), ("c", "2025-01-04"), ("d", "2025-01-02"),
    ]  # fmt: skip
    files = []
    for i in (0, 2):
        rows = [f"D,{m}@x.com,,{t},,,,,,," for m, t in mails[i : i + 2]]
        files.append(write(tmp_path / f"{i}.csv", HEAD, *rows))
    who = [dict(e["identifiers"])["email"][0] for e in rows_of(DEALS, files)]
    assert who == ["b", "d", "a", "c"]


def test_rejected_rows_say_what_to_do_and_keep_the_others(tmp_path: Path) -> None:
    good = "D1,a@x.com,,2025-01-01,Demo,1,EUR,5,1,,"
    file = tmp_path / "bad.csv"
    bad = [
        "D2,a@x.com,,2025-01-01,Demo,1,EUR,many,1,,",
        "D3,a@x.com,,soon,Demo,twelve,EUR,nan,1,,",
        "D4,a@x.com,,2025-01-01,Demo,1.234,EUR,5,1,,",
        "D5,a@x.com",
        "D6,a@x.com,,2025-01-01,Demo,1,EUR,5,1,,Maybe",
        "D7,a@x.com,,2025-01-01,Demo,1,euros,5,1,,",
        "D8,a@x.com,,2025-01-01,Demo,1,EUR,5,inf,,",
        "D9,a@x.com,,2025-01-01,Demo,1,EUR,5,1,,Won",
    ]
    lines = [HEAD, good, *bad, good]
    file.write_bytes("\n".join(lines).encode() + b"\n\xff\xfe,b@x.com,,2025-01-01,,,,,,,\n" + b"\n")
    rejected: list[Rejected] = []
    events = rows_of(DEALS, [file], rejected=rejected)
    assert [dict(e["identifiers"])["crm_id"] for e in events] == ["deal-D1"] * 4
    problems = {r.row: " | ".join(r.problems) for r in rejected}
    assert sorted(problems) == [*range(2, 10), 11]
    for row, said in {
        2: "events[0].numbers.employees: column 'Employees' holds 'many', which is not a finite",
        4: "which has more decimals than its currency; set `rounding`",
        5: "row: has 2 fields where 11 are expected",
        6: "column 'Result' holds 'Maybe', which is neither in won ['Won'] nor in lost ['Lost']",
        7: "events[0].currency: column 'currency' holds 'EUROS', an amount needs a currency",
        8: "events[1].numbers.Calls: column 'Calls' holds 'inf'",
        9: "outcome.time: column 'Closed' holds nothing, which is not a time",
        11: "row: is not UTF-8; give format.encoding",
    }.items():
        assert said in problems[row]
    for place in ("time: ", "events[0].amount: ", "events[0].numbers.employees: "):
        assert place in problems[3]
    assert {r.file for r in rejected} == {str(file)}


def test_rejected_lines_of_json(tmp_path: Path) -> None:
    lines = ['{"u": {"mail": "a@x.com"}, "t": 1735689600, "v": 19.90}', "{", "", "[1]",
             '{"u": {"mail": "b"}, "t": 1735689601, "v": NaN}', '{"t": 1735689602, "v": 1}',
             '{"u": {"mail": "c"}, "t": 1735689603, "v": "5.55", "later": true}']  # fmt: skip
    file = write(tmp_path / "e.jsonl", *lines)
    mapping = parse_mapping("""
workspace: w
source: s
topic: web.events
time: {column: t, format: epoch_s}
identifiers: {email: u.mail}
events: [{kind: paid, amount: v, currency: EUR, texts: [never, later]}]
""")
    rejected: list[Rejected] = []
    events = rows_of(mapping, [file], rejected=rejected)
    assert [(e["amount_minor"], dict(e["texts"])) for e in events] == [
        (1990, {}), (555, {"later": "true"}),
    ]  # fmt: skip
    assert [r.row for r in rejected] == [2, 4, 5, 6]
    assert "no identifier ('u.mail' are empty)" in rejected[3].problems[0]


def test_texts_that_no_broker_takes_reject_their_row_only(tmp_path: Path) -> None:
    lines = [f"D{i},a@x.com,{'y' * size},2025-01-01,,,,,,," for i, size in enumerate([5, 600_000])]
    rejected: list[Rejected] = []
    events = rows_of(DEALS, [write(tmp_path / "long.csv", HEAD, *lines)], rejected=rejected)
    assert len(events) == 1
    assert "longer than 512 KiB" in rejected[0].problems[0]


def test_promised_order_is_checked(tmp_path: Path) -> None:
    mapping = parse_mapping("""
workspace: w
source: s
time: {column: t}
order: file
identifiers: {id: i}
events: [{kind: a}]
""")
    times = ["2025-01-01", "2025-01-03", "2025-01-02", "2025-01-03"]
    rows = [f"{i},{t}" for i, t in enumerate(times)]
    rejected: list[Rejected] = []
    events = rows_of(mapping, [write(tmp_path / "t.csv", "i,t", *rows)], 1, rejected)
    assert [dict(e["identifiers"])["id"] for e in events] == ["0", "1", "3"]
    assert rejected[0].row == 3 and "set `order: any`" in rejected[0].problems[0]


def test_indicators_are_published_when_they_change(tmp_path: Path) -> None:
    mapping = parse_mapping("""
workspace: w
source: s
time: {start: 2020-01-01, step: 1d}
identifiers: {id: i}
events: [{kind: a}]
indicators:
  - {series: rate, value: r, unit: percent, on_change: true, publish_delay: 12h}
""")
    values = ["1.5", "1.5", "", "2", "2", "x", "2", "1.5"]
    file = write(tmp_path / "i.csv", "i,r", *(f"{i},{v}" for i, v in enumerate(values)))
    rejected: list[Rejected] = []
    records = rows_of(mapping, [file], 3, rejected)
    series = [r for r in records if r["topic"] == "market.indicators"]
    assert [(r["value"], r["observed_at"].day) for r in series] == [(1.5, 1), (2.0, 4), (1.5, 8)]
    assert all(r["published_at"] - r["observed_at"] == timedelta(hours=12) for r in series)
    assert [r.row for r in rejected] == [6]
    assert len(records) == 7 + 3


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.csv", HEAD.replace("Mail", "E-Mail") + "\n", "no column 'Mail' that identifiers.email"),
        ("x.csv", HEAD.replace(",", ";") + "\n", "format.delimiter"),
        ("x.csv", "", "Empty CSV file"),
        ("x.csv", HEAD + ",Mail\n", "has two columns 'Mail'"),
        ("x.xls", HEAD, "give format.type"),
        ("x.csv.gz", "no gzip", "cannot be read"),
        ("x.parquet", "no parquet", "cannot be read"),
    ],
)
def test_files_that_cannot_be_imported(tmp_path: Path, name: str, text: str, said: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(SourceFileError) as caught:
        rows_of(DEALS, [file])
    assert said in str(caught.value) and str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file", "events", "won"),
    [
        ("bank_marketing", "bank_marketing/bank-additional-first-half.csv.gz", 41_188, 963),
        ("online_shoppers", "online_shoppers/online_shoppers_intention.csv", 46_145, 1_908),
        ("online_retail", "online_retail/online_retail_to_2011-07.parquet", 204_376, None),
    ],
)
def test_whole_data_sets(name: str, file: str, events: int, won: int | None) -> None:
    if not os.environ.get("LEADSTREAM_DATA"):
        pytest.skip("LEADSTREAM_DATA does not name the folder of the whole data sets")
    rejected: list[Rejected] = []
    count, kinds, last = 0, 0, datetime.min.replace(tzinfo=UTC)
    path = Path(os.environ["LEADSTREAM_DATA"]) / file
    for _, batch in source_batches(name, [path], on_rejected=rejected.append):
        count += batch.num_rows
        kinds += batch["kind"].to_pylist().count("won")
        times = batch["occurred_at"].cast(pa.timestamp("us", "UTC"))
        assert times[0].as_py() >= last
        last = times[-1].as_py()
    assert not rejected
    assert count == events
    assert won is None or kinds == won
