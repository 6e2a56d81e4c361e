"""A features.yaml becomes a frozen catalogue; a mistake is told with its place and a fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.config import ConfigError
from models.features.catalogue import FeatureCatalogue, load_catalogue

GOOD = """\
version: 3
attributes:
  - {name: age, type: numeric, words: age, unit: years, transform: {center: 40, scale: 10}}
  - {name: job, type: categorical, from: texts.position, values: [nurse, clerk], buckets: 8}
  - {name: city, type: categorical}
behaviour:
  kinds: [visit, demo_request]
  half_lives_days: [1, 7]
  session_gap_minutes: 20
  words: {demo_request: demo requests}
"""

HASH_OF_GOOD = "342453894a5377f92f4f28b2f3b3300cab05791fa27d60a221abd89dcc7ea2ef"


def load(folder: Path, text: str) -> FeatureCatalogue:
    path = folder / "features.yaml"
    path.write_text(text)
    return load_catalogue(path)


def test_columns_stand_in_the_documented_order(tmp_path: Path) -> None:
    catalogue = load(tmp_path, GOOD)
    assert catalogue.column_names == (
        "age", "job", "city",
        "visit.count", "visit.decayed_1d", "visit.decayed_7d", "visit.recency_days",
        "demo_request.count", "demo_request.decayed_1d", "demo_request.decayed_7d",
        "demo_request.recency_days",
        "event_count", "days_since_first", "gap_days", "sessions",
    )  # fmt: skip
    assert catalogue.columns[0].words == "age"
    assert catalogue.columns[0].unit == "years"
    assert catalogue.columns[7].words == "demo requests"
    assert catalogue.attributes[0].source == "numbers.age"
    assert catalogue.attributes[1].source == "texts.position"
    assert catalogue.attributes[1].categories == 10
    assert catalogue.attributes[2].categories == 16


def test_the_hash_follows_what_shapes_numbers_and_nothing_else(tmp_path: Path) -> None:
    first = load(tmp_path, GOOD)
    assert load(
        tmp_path, "# a comment\n" + GOOD.replace("words: age", "words: years of age")
    ).hash == (first.hash)
    reach = GOOD.replace("words: age", "actionable: increase, words: age")
    assert load(tmp_path, reach + "  actionable: {visit: invite}\n").hash == first.hash
    assert load(tmp_path, GOOD.replace("center: 40", "center: 41")).hash != first.hash
    assert load(tmp_path, GOOD.replace("kinds: [visit, ", "kinds: [visits, ")).hash != first.hash
    assert load(tmp_path, GOOD.replace("buckets: 8", "buckets: 9")).hash != first.hash
    constrained = GOOD.replace("type: numeric, ", "type: numeric, monotone: increasing, ")
    assert load(tmp_path, constrained).attributes[0].monotone == "increasing"
    assert load(tmp_path, constrained).hash == first.hash
    assert first.catalogue_version == f"3-{first.hash[:12]}"


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("type: numeric", "type: numerik", 3, "attributes[0].type"),
        ("unit: years", "units: years", 3, "attributes[0]"),
        ("scale: 10", "scale: 0", 3, "attributes[0].transform.scale"),
        ("name: city", "name: job", 5, "attributes[2].name"),
        ("name: city", "name: event_count", 5, "attributes[2].name"),
        ("from: texts.position", "from: numbers.position", 4, "attributes[1].from"),
        ("values: [nurse, clerk]", "values: [nurse, no]", 4, "attributes[1].values[1]"),
        ("values: [nurse, clerk]", "values: [nurse, nurse]", 4, "attributes[1].values[1]"),
        ("words: age,", "words: age, buckets: 4,", 3, "attributes[0].buckets"),
        ("from: texts.position,", "monotone: increasing,", 4, "attributes[1].monotone"),
        ("words: age,", "monotone: upwards,", 3, "attributes[0].monotone"),
        ("kinds: [visit, ", "kinds: [demo_request, ", 7, "behaviour.kinds[1]"),
        ("session_gap_minutes: 20", "session_gap_minutes: -1", 9, "behaviour.session_gap_minutes"),
        ("words: {demo_request", "words: {demo", 10, "behaviour.words.demo"),
        ("words: age,", "words: age, actionable: up,", 3, "attributes[0].actionable"),
        ("buckets: 8}", "buckets: 8, actionable: increase}", 4, "attributes[1].actionable"),
        ("words: {demo_request", "actionable: {demo", 10, "behaviour.actionable.demo"),
        ("version: 3", "version: 3\nversion: 4", 2, "version"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_a_fix(
    tmp_path: Path, old: str, new: str, line: int, field: str
) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, GOOD.replace(old, new, 1))
    message = str(raised.value)
    assert f"features.yaml:{line}: {field}: " in message
    assert "Fix: " in message


@pytest.mark.parametrize("text", ["", "- a list", "version: [", "version: 1\n bad: indent"])
def test_a_file_that_is_no_mapping_is_told_too(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"features\.yaml:\d+: .*Fix: "):
        load(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_catalogue(tmp_path / "features.yaml")


MORE = (
    GOOD.replace("city, type: categorical}", "city, type: categorical, rate: {}}")
    + """\
  distinct: [url, count]
  sequence: true
indicators:
  - {name: euribor, series: ecb/euribor3m, words: three-month Euribor, unit: "%"}
"""
)


def test_what_is_declared_besides_comes_last(tmp_path: Path) -> None:
    first, more = load(tmp_path, GOOD), load(tmp_path, MORE)
    assert more.column_names == (
        *first.column_names, "distinct.url", "distinct.count",
        "sequence.last", "sequence.before", "sequence.same", "city.rate", "euribor",
    )  # fmt: skip
    assert all(column.words for column in more.columns)
    assert more.columns[-1].unit == "%"


def test_a_catalogue_of_before_keeps_its_hash_and_each_addition_changes_it(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).hash == HASH_OF_GOOD
    hashes = {load(tmp_path, GOOD).hash, load(tmp_path, MORE).hash}
    for less in (
        MORE.replace("[url, count]", "[url]"),
        MORE.replace("sequence: true", "sequence: false"),
        MORE.replace("rate: {}", "rate: {half_life_days: 30}"),
        MORE.replace("ecb/euribor3m", "ecb/euribor6m"),
        GOOD.replace("{center: 40, scale: 10}", "{kind: robust, center: 40, scale: 10}"),
    ):
        hashes.add(load(tmp_path, less).hash)
    assert len(hashes) == 7


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ("[url, count]", "[url, url]", ["distinct[1]", "twice"]),
        ("type: numeric,", "type: numeric, rate: {},", ["rate", "categorical"]),
        ("name: euribor", "name: sessions", ["indicators[0].name", "another column"]),
        ("kinds: [visit, ", "kinds: [distinct, ", ["two columns", "distinct.count"]),
        ("rate: {}", "rate: {prior_labels: 0}", ["rate.prior_labels"]),
    ],
)
def test_mistakes_in_them_are_told(tmp_path: Path, good: str, bad: str, words: list[str]) -> None:
    text = MORE.replace(good, bad, 1)
    assert text != MORE
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    for word in [*words, "Fix: "]:
        assert word in str(caught.value)
