"""A mapping can be made to carry every column of its files, whatever their type."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.files.mapping import parse_mapping
from connectors.files.pipeline import source_batches
from connectors.files.whole import with_every_column

MAPPING = """
workspace: acme
source: files/crm
time: {column: at}
join: [{file: more.csv, key: who, match: id, columns: [plan]}]
identifiers: {crm_id: who}
events:
  - {kind: visit, texts: {plan: plan}, numbers: [size]}
outcome: {column: stage, won: [Won], lost: [Lost], delay: 1d}
"""
ROWS = [
    {"who": "a", "at": "2024-01-01T00:00:00Z", "size": 1, "stage": "Won", "note": "x"},
    {"who": "b", "at": "2024-01-02T00:00:00Z", "size": 2, "stage": "Lost", "note": ""},
]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_events_carry_the_columns_that_the_mapping_leaves_out(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"rows.{kind}"
    if kind == "csv":
        lines = [",".join(map(str, row.values())) for row in ROWS]
        file.write_text("\n".join([",".join(ROWS[0]), *lines]))
    elif kind == "jsonl":
        nested = [{**row, "deep": {"x": 1}, "list": [1]} for row in ROWS]
        file.write_text("\n".join(["no json", *map(json.dumps, nested)]))
    else:
        pq.write_table(pa.table({**pa.Table.from_pylist(ROWS).to_pydict(), "l": [[1], [2]]}), file)
    (tmp_path / "more.csv").write_text("id,plan,owner\na,pro,ann\nb,free,bob\n")
    whole = with_every_column(parse_mapping(MAPPING), [file], "file:")
    events = [row for _, batch in source_batches(whole, [file]) for row in batch.to_pylist()]
    told = {e["identifiers"][0][1]: dict(e["texts"]) for e in events if e["kind"] == "visit"}
    assert told["a"] == {
        "plan": "pro", "file:who": "a", "file:at": ROWS[0]["at"], "file:note": "x",
        "file:owner": "ann",
    }  # fmt: skip
    assert "file:note" not in told["b"] or told["b"]["file:note"] == ""
    closing = [e for e in events if e["kind"] in ("won", "lost")]
    assert len(closing) == 2 and all(not e["texts"] for e in closing)
