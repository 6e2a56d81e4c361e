"""The audit on public data: named by LEADSTREAM_DATA, left out without it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from connectors.files.mapping import load_mapping, parse_mapping
from connectors.files.model import FileMapping
from connectors.files.pipeline import source_batches
from connectors.files.whole import with_every_column
from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue, Transform
from models.targets import Target
from models.workspaces import Workspace, WorkspaceConfig, load_workspaces
from streams.evaluation.audit import FILE_COLUMN, FeatureAudit, audit_features

DATA = Path(os.environ.get("LEADSTREAM_DATA") or "missing")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="LEADSTREAM_DATA names no folder")

MAVEN = """
workspace: maven
source: files/crm_sales_maven
time: {column: engage_date}
rows: {column: engage_date, not_null: true}
identifiers: {crm_id: opportunity_id}
events:
  - kind: engaged
    numbers: NUMBERS
    texts: TEXTS
outcome:
  column: deal_stage
  won: [Won]
  lost: [Lost]
  open: [Engaging, Prospecting]
  time: {column: close_date}
"""


def maven(*planted: str, horizon_days: float = 450) -> FeatureAudit:
    texts = ["sales_agent", "product", "account"] + [p for p in planted if p == "close_date"]
    numbers = [p for p in planted if p == "close_value"]
    attributes = [Attribute(t, "categorical", f"texts.{t}", buckets=64) for t in texts]
    attributes += [Attribute(n, "numeric", f"numbers.{n}", transform=Transform()) for n in numbers]
    config = WorkspaceConfig(
        Workspace("maven", epoch="1d"),
        FeatureCatalogue(1, tuple(attributes), Behaviour(("engaged",))),
        (Target("conversion", ("won",), horizon_days, ("lost",)),),
    )
    mapping = MAVEN.replace("NUMBERS", str(numbers)).replace("TEXTS", str(texts))
    return audit(config, parse_mapping(mapping), DATA / "crm_sales_maven" / "sales_pipeline.csv")


def audit(config: WorkspaceConfig, mapping: FileMapping, *files: Path) -> FeatureAudit:
    whole = with_every_column(mapping, files, FILE_COLUMN)
    return audit_features(config, "conversion", source_batches(whole, files))


def test_maven_is_silent_and_says_what_to_keep_out() -> None:
    found = maven()
    assert found.findings == []
    assert {finding.column for finding in found.kept_out} == {"close_date", "close_value"}


@pytest.mark.parametrize("planted", ["close_value", "close_date"])
def test_maven_names_what_is_planted(planted: str) -> None:
    found = maven(planted)
    assert {(f.column, f.severity) for f in found.findings} == {(planted, "leak")}


@pytest.mark.parametrize("planted", [False, True])
def test_bank_contacts_are_silent_but_for_the_duration_of_the_call(planted: bool) -> None:
    config, mapping = (
        load_workspaces("infra/dev/workspaces")["bank"],
        load_mapping("bank_marketing"),
    )
    if planted:
        more = Attribute("duration", "numeric", "numbers.duration", transform=Transform("log1p"))
        catalogue = config.catalogue
        attributes = (*catalogue.attributes, more)
        config = replace(config, catalogue=FeatureCatalogue(1, attributes, catalogue.behaviour))
        event = mapping.events[0]
        numbers = {**dict(event.numbers), "duration": "duration"}
        event = msgspec.structs.replace(event, numbers=numbers)
        mapping = msgspec.structs.replace(mapping, events=(event,))
    files = sorted((DATA / "bank_marketing").glob("*.csv.gz"))
    found = audit(config, mapping, *files)
    assert {f.column for f in found.findings} == ({"duration"} if planted else set())


def test_shop_sessions_are_silent() -> None:
    files = sorted((DATA / "online_shoppers").glob("*.csv*"))
    config = load_workspaces("infra/dev/workspaces")["shop"]
    found = audit(config, load_mapping("online_shoppers"), *files)
    assert found.findings == []
