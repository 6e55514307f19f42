"""A topic full of work orders: ten events each, from opening to resolution, as a relay sends them.

The orders of a thousand requests are under way at a time, so that a reader meets each of them
again and again.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from bench.kafka import Topic, new_topic
from casebook.events.kafka import Message, partition, record_to_kafka
from casebook.kit.ids import new_id

EVENTS_A_REQUEST = 10
UNDER_WAY = 1_000
BATCH_BYTES = 900_000
STEPS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("opened", {}),
    ("assigned-to-team", {"team": "service-desk", "initial": True}),
    ("assigned-to-agent", {"agent": "wang.wei"}),
    ("accepted", {"agent": "wang.wei"}),
    ("started", {}),
    ("waiting-started", {"reason": "customer"}),
    ("waiting-ended", {}),
    ("waiting-started", {"reason": "supplier"}),
    ("waiting-ended", {}),
    ("resolved", {"code": "fixed"}),
)


async def filled_topic(requests: int) -> Topic:
    """Create a topic with the work orders of so many requests."""
    topic = await new_topic()
    producer: Any = AIOKafkaProducer(bootstrap_servers=topic.bootstrap, max_batch_size=BATCH_BYTES)
    await producer.start()
    try:
        for first in range(0, requests, UNDER_WAY):
            await _send(producer, topic, min(UNDER_WAY, requests - first))
    finally:
        await producer.stop()
    return topic


async def _send(producer: Any, topic: Topic, requests: int) -> None:
    """Send the work orders of some requests, all first events first."""
    parts: defaultdict[int, list[Message]] = defaultdict(list)
    for message in _messages([str(new_id()) for _ in range(requests)]):
        parts[partition(message[0].decode())].append(message)
    for number, messages in parts.items():
        batch = producer.create_batch()
        for key, headers, value in messages:
            if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                await _send_batch(producer, topic, batch, number)
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None, headers=headers)
        await _send_batch(producer, topic, batch, number)


async def _send_batch(producer: Any, topic: Topic, batch: Any, number: int) -> None:
    """Send a batch, and wait until the broker has it."""
    batch.close()
    await (await producer.send_batch(batch, topic.name, partition=number))


def _messages(keys: list[str]) -> Iterator[Message]:
    """Return the events of some requests as Kafka holds them."""
    for version, (kind, data) in enumerate(STEPS, 1):
        moment = f"2026-03-02T08:{version:02}:00.000000Z"
        for key in keys:
            record = {
                "actor": "service:dispatch",
                "audience": "customer",
                "correlationid": key,
                "data": data,
                "id": str(new_id()),
                "origin": "live",
                "partitionkey": key,
                "recordedtime": moment,
                "source": "/casebook/dispatch",
                "specversion": "1.0",
                "streamversion": version,
                "subject": f"work-order/{key}",
                "time": moment,
                "type": f"casebook.work-order.{kind}.v1",
            }
            yield record_to_kafka(orjson.dumps(record).decode(), bytes(32))
