"""The topic list: complete, consistent with the schemas, and right for the broker."""

from __future__ import annotations

import pytest

from schemas.registry import load_schema, schema_names
from streams.topics import (
    ROLE_INPUTS,
    TOPICS,
    all_topics,
    changelog_topic,
    config,
    dlq_topic,
    topic,
    topic_name,
)


def test_values_have_schemas_and_keys_have_fields() -> None:
    for each in TOPICS.values():
        fields = {field["name"] for field in load_schema(each.schema)["fields"]}
        assert each.schema in schema_names()
        assert set(each.key.split("/")) <= fields, each.name
        assert each.key.split("/")[0] == "workspace"
        assert each.writers and each.readers and each.doc


def test_every_schema_is_used() -> None:
    used = {each.schema for each in TOPICS.values()} | {"dead_letter"}
    assert used == set(schema_names())


def test_only_low_volume_topics_may_carry_bytes() -> None:
    for each in TOPICS.values():
        if each.codec == "columns":
            types = [field["type"] for field in load_schema(each.schema)["fields"]]
            assert "bytes" not in str(types), each.name


def test_inputs_of_a_role_have_equal_partitions_and_so_has_its_changelog() -> None:
    for count in (None, 1, 7):
        topics = all_topics(count)
        for role, inputs in ROLE_INPUTS.items():
            partitions = {topics[name].partitions for name in inputs}
            assert partitions == {topics[f"{role}-changelog"].partitions}


def test_broadcast_topics_keep_one_partition() -> None:
    for each in all_topics(12).values():
        if each.broadcast or each.name.startswith("models."):
            assert each.partitions == 1
    assert all_topics(12)["lead.timeline"].partitions == 12


def test_what_a_task_reads_has_dead_letters() -> None:
    for inputs in ROLE_INPUTS.values():
        for name in inputs:
            letters = topic(f"{name}.dlq")
            assert (letters.key, letters.schema) == (TOPICS[name].key, TOPICS[name].schema)


def test_dead_letters_have_room_for_the_largest_original_and_its_headers() -> None:
    assert int(config(dlq_topic("crm.events"))["max.message.bytes"]) > 1_048_588
    original = int(config(TOPICS["models.current"])["max.message.bytes"])
    assert int(config(dlq_topic("models.current"))["max.message.bytes"]) > original


def test_changelog_is_compacted_quickly() -> None:
    settings = config(changelog_topic("scoring"))
    expected = {
        "cleanup.policy": "compact",
        "segment.bytes": "67108864",
        "segment.ms": "600000",
        "min.cleanable.dirty.ratio": "0.1",
        "max.compaction.lag.ms": "3600000",
    }
    assert settings.items() >= expected.items()
    assert "retention.ms" not in settings


def test_changelog_of_any_role_can_be_derived() -> None:
    assert changelog_topic("peer", partitions=3).partitions == 3
    assert changelog_topic("peer").name == "peer-changelog"


@pytest.mark.parametrize(
    ("name", "policy", "retention_ms"),
    [
        ("crm.events", "delete", "2592000000"),
        ("opportunities", "compact", None),
        ("leads.latest", "compact", None),
        ("models.current", "compact", None),
        ("models.lifecycle", "delete", "-1"),
    ],
)
def test_kept_as_designed(name: str, policy: str, retention_ms: str | None) -> None:
    settings = config(TOPICS[name])
    assert settings["cleanup.policy"] == policy
    assert settings.get("retention.ms") == retention_ms


def test_old_events_do_not_expire_when_they_are_imported() -> None:
    assert {config(each)["message.timestamp.type"] for each in all_topics().values()} == {
        "LogAppendTime"
    }


def test_appends_reach_two_replicas_where_there_are_three() -> None:
    assert "min.insync.replicas" not in config(TOPICS["crm.events"], 1)
    assert config(TOPICS["crm.events"], 3)["min.insync.replicas"] == "2"


def test_prefix_and_unknown_names() -> None:
    assert topic_name("crm.events", "t1.") == "t1.crm.events"
    with pytest.raises(LookupError, match=r"lead\.timeline"):
        topic("lead.time")
