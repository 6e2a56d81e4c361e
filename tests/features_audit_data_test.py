"""The audit on public data: named by LEADSTREAM_DATA, left out without it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from connectors.files.mapping import load_mapping
from connectors.files.model import FileMapping
from connectors.files.pipeline import source_batches
from connectors.files.whole import with_every_column
from models.features.catalogue import Attribute, FeatureCatalogue, Transform
from models.features.rollups import ROLLUPS
from models.workspaces import WorkspaceConfig, load_workspaces
from streams.evaluation.audit import FILE_COLUMN, FeatureAudit, audit_features

DATA = Path(os.environ.get("LEADSTREAM_DATA") or "missing")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="LEADSTREAM_DATA names no folder")

BENCH = Path("infra/dev/bench_workspaces")


def maven(*planted: str) -> FeatureAudit:
    config, mapping = load_workspaces(BENCH)["maven"], load_mapping("crm_sales_maven")
    event, catalogue = mapping.events[0], config.catalogue
    texts = {p: p for p in planted if p == "close_date"}
    numbers = {p: p for p in planted if p == "close_value"}
    more = [Attribute(t, "categorical", f"texts.{t}", buckets=64) for t in texts]
    more += [Attribute(n, "numeric", f"numbers.{n}", transform=Transform()) for n in numbers]
    event = msgspec.structs.replace(
        event, texts={**dict(event.texts), **texts}, numbers={**dict(event.numbers), **numbers}
    )
    mapping = msgspec.structs.replace(mapping, events=(event, *mapping.events[1:]))
    attributes = (*catalogue.attributes, *more)
    config = replace(config, catalogue=FeatureCatalogue(1, attributes, catalogue.behaviour))
    return audit(config, mapping, DATA / "crm_sales_maven" / "sales_pipeline.csv")


def audit(config: WorkspaceConfig, mapping: FileMapping, *files: Path) -> FeatureAudit:
    whole = with_every_column(mapping, files, FILE_COLUMN)
    return audit_features(config, "conversion", source_batches(whole, files))


def test_maven_is_silent_and_says_what_to_keep_out() -> None:
    found = maven()
    assert found.findings == []
    assert {finding.column for finding in found.kept_out} == {"close_date", "close_value"}


def test_what_mavens_accounts_did_before_is_no_leak() -> None:
    config, mapping = load_workspaces(BENCH)["maven"], load_mapping("crm_sales_maven")
    more = [Attribute(n, "numeric", f"numbers.{n}", transform=Transform("log1p")) for n in ROLLUPS]
    attributes = (*config.catalogue.attributes, *more)
    catalogue = FeatureCatalogue(1, attributes, config.catalogue.behaviour)
    config = replace(config, catalogue=catalogue)
    found = audit(config, mapping, DATA / "crm_sales_maven" / "sales_pipeline.csv")
    assert found.findings == []
    known = ~np.isnan(found.run.rows.features()[:, catalogue.column_names.index("account.events")])
    assert known.mean() > 0.7


def test_maven_names_what_is_planted_and_nothing_else() -> None:
    found = maven("close_value", "close_date")
    assert {(f.column, f.severity) for f in found.findings} == {
        ("close_value", "leak"),
        ("close_date", "leak"),
    }


def test_of_bank_contacts_only_the_duration_of_the_call_is_named() -> None:
    config = load_workspaces("infra/dev/workspaces")["bank"]
    mapping = load_mapping("bank_marketing")
    more = Attribute("duration", "numeric", "numbers.duration", transform=Transform("log1p"))
    attributes = (*config.catalogue.attributes, more)
    catalogue = FeatureCatalogue(1, attributes, config.catalogue.behaviour)
    event = mapping.events[0]
    numbers = {**dict(event.numbers), "duration": "duration"}
    mapping = msgspec.structs.replace(
        mapping, events=(msgspec.structs.replace(event, numbers=numbers),)
    )
    files = sorted((DATA / "bank_marketing").glob("*.csv.gz"))
    found = audit(replace(config, catalogue=catalogue), mapping, *files)
    assert {(f.column, f.severity) for f in found.findings} == {("duration", "leak")}


def test_olist_is_silent_and_names_what_came_with_the_deal() -> None:
    config, mapping = load_workspaces(BENCH)["olist"], load_mapping("olist")
    found = audit(config, mapping, DATA / "olist_marketing_funnel" / "mql.csv")
    assert found.findings == []
    assert {"business_segment", "lead_type", "seller_id", "won_date"} <= {
        finding.column for finding in found.kept_out
    }
