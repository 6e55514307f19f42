# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Polling Kafka past what its client cannot decode (ADR 0065).

Brokers take a header whose name is not UTF-8. The client raises at such a record, and at all of its
batch, again whenever it is asked; so one of them would end everybody's reading for good. What it
had taken from other partitions in the same call it has forgotten, though it counts as read.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError

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
    before = await _positions(consumer, places or consumer.assignment(), seconds)
    try:
        return await consumer.getmany(
            *places, timeout_ms=int(seconds * 1000), max_records=records_max
        )
    except UnicodeDecodeError:
        asked = places or sorted(consumer.assignment())
    await _go_back(consumer, asked, before)
    found: dict[TopicPartition, list[Any]] = {}
    for place in asked:
        messages = await _one_by_one(consumer, place, records_max or STEPS_MAX)
        if messages:
            found[place] = messages
    return found


async def _positions(
    consumer: Any, places: Collection[TopicPartition], seconds: float
) -> dict[TopicPartition, int]:
    """Return where partitions are read from next, as far as that is known in time."""
    known: dict[TopicPartition, int] = {}
    with suppress(TimeoutError, IllegalStateError):  # being given to others at the moment
        async with asyncio.timeout(seconds):
            for place in places:
                known[place] = await consumer.position(place)
    return known


async def _go_back(
    consumer: Any, places: Collection[TopicPartition], before: Mapping[TopicPartition, int]
) -> None:
    """Read partitions from where they were before, else from what the group has committed."""
    for place in places:
        with suppress(IllegalStateError):
            at = before.get(place)
            if at is None:
                at = await consumer.committed(place) or 0
            consumer.seek(place, at)


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
