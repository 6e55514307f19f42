# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Polling Kafka past what its client cannot decode (ADR 0065).

Brokers take a header whose name is not UTF-8. The client raises at such a record, and at all of its
batch, again whenever it is asked; so one of them would end everybody's reading for good.
"""

from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from casebook.kit.logging import get_logger

STEPS_MAX = 500
STEP_SECONDS = 0.5
"""How long to wait for one record of a partition that has more."""

_LOG = get_logger("kafka")


@dataclass(frozen=True, slots=True)
class Undecodable:
    """What stands for a record that the client cannot decode: its place, and a like header."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = (("content-type", b"\xff"),)
    value: bytes | None = None


async def poll(
    consumer: Any, *places: TopicPartition, seconds: float, records_max: int | None = None
) -> dict[TopicPartition, list[Any]]:
    """Return the next messages by partition, of ``places`` or of all.

    :raises KafkaError: when Kafka answers with an error.
    """
    try:
        return await consumer.getmany(
            *places, timeout_ms=int(seconds * 1000), max_records=records_max
        )
    except UnicodeDecodeError:
        pass
    found: dict[TopicPartition, list[Any]] = {}
    for place in places or sorted(consumer.assignment()):
        messages = await _one_by_one(consumer, place, records_max or STEPS_MAX)
        if messages:
            found[place] = messages
    return found


async def _one_by_one(consumer: Any, place: TopicPartition, records_max: int) -> list[Any]:
    """Return the next messages of one partition; each that cannot be decoded has a stand-in."""
    messages: list[Any] = []
    while len(messages) < records_max:
        at: int = await consumer.position(place)
        end = consumer.highwater(place)
        if end is not None and at >= end:
            break
        try:
            found = await consumer.getmany(
                place, timeout_ms=int(STEP_SECONDS * 1000), max_records=1
            )
        except UnicodeDecodeError:
            at = await consumer.position(place)
            where = f"{place.topic}/{place.partition}/{at}"
            _LOG.warning("record.undecodable", place=where)
            messages.append(Undecodable(place.topic, place.partition, at))
            consumer.seek(place, at + 1)
            continue
        if place not in found:
            break
        messages += found[place]
    return messages
