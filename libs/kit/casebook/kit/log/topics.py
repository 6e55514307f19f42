# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# aiokafka has no types; see kafka.py.
"""Creates or checks the topics (``casebook init``); services never do.

The shared topic is the history: kept for ever, never compacted, 12 partitions for ever. Each
publisher has a topic of its own, whose write permission says who it is.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from casebook.kit.log.event_log import PARTITIONS, TOPIC

INGRESS_PREFIX = "casebook.ingress."
SETTINGS = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "max.message.bytes": str(1024 * 1024),
}
INGRESS_SETTINGS = {
    "cleanup.policy": "delete",
    "retention.ms": str(7 * 24 * 60 * 60 * 1000),
    "max.message.bytes": str(1024 * 1024),
}
CHECKED = ("cleanup.policy", "retention.ms", "retention.bytes")
"""Settings of the shared topic that would lose history if they were others."""

COPIES = 3
LEADERS_SECONDS_MAX = 30.0
_ALREADY_EXISTS = 36
_PUBLISHER = re.compile(r"[A-Za-z0-9._-]{1,200}")


class WrongTopic(RuntimeError):
    """A topic cannot be created, or exists as one that would lose or reorder the history."""


class KafkaAway(RuntimeError):
    """The brokers do not answer."""


async def ensure_topics(bootstrap: str, topic: str = TOPIC, publishers: Iterable[str] = ()) -> None:
    """Create the shared topic and those of publishers where they are missing; check the first.

    There are three copies, two of which must have an event before it counts; with fewer brokers
    than that, one copy on each.

    :raises WrongTopic: when one is refused, or the shared one is not what it must be.
    :raises KafkaAway: when the brokers cannot be asked.
    """
    wanted: dict[str, Mapping[str, str]] = {topic: SETTINGS}
    for publisher in publishers:
        if not _PUBLISHER.fullmatch(publisher):
            raise WrongTopic("a publisher's name is of letters, digits, dots, dashes, underscores")
        wanted[f"{INGRESS_PREFIX}{publisher}"] = INGRESS_SETTINGS
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        copies = min(COPIES, len((await admin.describe_cluster())["brokers"]))
        in_sync = {"min.insync.replicas": str(max(1, copies - 1))}
        for name, settings in wanted.items():
            configs = {**settings, **in_sync}
            await _ensure(admin, NewTopic(name, PARTITIONS, copies, topic_configs=configs))
        await _check(admin, topic)
    except (KafkaError, OSError) as error:
        raise KafkaAway(f"Kafka at {bootstrap} does not answer: {error}") from error
    finally:
        await admin.close()


async def _ensure(admin: Any, topic: Any) -> None:
    """Create a topic, and wait until each of its partitions has a leader.

    :raises WrongTopic: when that is refused, or does not come about.
    """
    answer = await admin.create_topics([topic])
    for refusal in answer.to_object()["topic_errors"]:
        if refusal["error_code"] not in {0, _ALREADY_EXISTS}:
            why = refusal.get("error_message") or f"error {refusal['error_code']}"
            raise WrongTopic(f"{topic.name} cannot be created: {why}")
    try:
        async with asyncio.timeout(LEADERS_SECONDS_MAX):
            while not await _is_led(admin, topic.name):  # noqa: ASYNC110 - it is the brokers' work
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise WrongTopic(f"{topic.name} has partitions without a leader") from None


async def _is_led(admin: Any, name: str) -> bool:
    """Say whether the brokers know a topic, with a leader for each partition."""
    [found] = await admin.describe_topics([name])
    partitions = found["partitions"]
    return bool(partitions) and all(entry["leader"] >= 0 for entry in partitions)


async def _check(admin: Any, topic: str) -> None:
    """Check that the shared topic keeps everything, in order.

    :raises WrongTopic: when it does not.
    """
    [found] = await admin.describe_topics([topic])
    if len(found["partitions"]) != PARTITIONS:
        raise WrongTopic(f"{topic} has {len(found['partitions'])} partitions, not {PARTITIONS}")
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    for answer in await admin.describe_configs([resource]):
        for entry in answer.to_object()["resources"][0]["config_entries"]:
            name, value = entry["config_names"], entry["config_value"]
            if name in CHECKED and value != SETTINGS[name]:
                raise WrongTopic(f"{topic} has {name}={value}; it must be {SETTINGS[name]}")
