"""What ``casebook init`` makes of the topics, on real Kafka."""

from typing import Any
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from casebook.kit.log.topics import (
    INGRESS_PREFIX,
    INGRESS_SETTINGS,
    SETTINGS,
    KafkaAway,
    WrongTopic,
    ensure_topics,
)
from tests.support.kafka import create_topic, kafka_for_tests


@pytest.fixture
def topic() -> str:
    return f"casebook.events.{uuid4().hex}"


async def described(topic: str) -> tuple[int, dict[str, str]]:
    """Return how many partitions a topic has, and its settings."""
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=kafka_for_tests())
    await admin.start()
    try:
        [found] = await admin.describe_topics([topic])
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        [answer] = await admin.describe_configs([resource])
        entries = answer.to_object()["resources"][0]["config_entries"]
    finally:
        await admin.close()
    settings = {entry["config_names"]: entry["config_value"] for entry in entries}
    return len(found["partitions"]), settings


async def test_topics_are_created_once_with_their_settings(topic: str) -> None:
    publisher = f"shop-{uuid4().hex}"
    for _ in range(2):
        await ensure_topics(kafka_for_tests(), topic, [publisher])
    for name, expected in ((topic, SETTINGS), (INGRESS_PREFIX + publisher, INGRESS_SETTINGS)):
        partitions, settings = await described(name)
        assert partitions == 12
        assert expected.items() <= settings.items()
        assert settings["min.insync.replicas"] == "1"


@pytest.mark.parametrize(
    ("partitions", "change", "reason"),
    [
        (3, {}, "has 3 partitions, not 12"),
        (12, {"retention.ms": "604800000"}, "has retention.ms=604800000; it must be -1"),
        (12, {"retention.bytes": "1000"}, "has retention.bytes=1000; it must be -1"),
        (12, {"cleanup.policy": "compact"}, "has cleanup.policy=compact; it must be delete"),
    ],
)
async def test_a_topic_that_would_lose_or_reorder_history_is_refused(
    topic: str, partitions: int, change: dict[str, str], reason: str
) -> None:
    await create_topic(kafka_for_tests(), topic, partitions, settings=SETTINGS | change)
    before = await described(topic)
    with pytest.raises(WrongTopic, match=reason):
        await ensure_topics(kafka_for_tests(), topic)
    assert await described(topic) == before


async def test_what_the_brokers_refuse_is_told() -> None:
    with pytest.raises(WrongTopic, match="no/topic cannot be created: "):
        await ensure_topics(kafka_for_tests(), "no/topic")


@pytest.mark.parametrize("publisher", ["", "a b", "../events", "店", "x" * 201])
async def test_a_publisher_has_a_name_that_a_topic_can_have(topic: str, publisher: str) -> None:
    with pytest.raises(WrongTopic, match="a publisher's name"):
        await ensure_topics("127.0.0.1:1", topic, [publisher])


async def test_brokers_that_are_away_are_told(topic: str) -> None:
    with pytest.raises(KafkaAway, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
        await ensure_topics("127.0.0.1:1", topic)
