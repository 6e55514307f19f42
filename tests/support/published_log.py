"""The shared log as another system reads it from Kafka: keys, headers and values of all records.

Of the embedded mode, whose log is a table, these are what the relay would send. A topic can be
written too: as a copy that a hand has changed.
"""

import asyncio
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.record.util import calc_crc32c

from casebook.events.kafka import PARTITIONS, Message, record_to_kafka
from casebook.kit.settings import Settings

SECONDS_MAX = 30.0
_NAME = b"a name that is changed"
_CHECKSUM_AT, _CHECKED_AT = 17, 21
"""In a batch of records (version 2): the checksum, and what it is of."""

Partitions = dict[int, list[Message]]


def read_log(settings: Settings) -> list[Message]:
    """Return every record that is in the log now, a partition after the other."""
    bootstrap, topic = settings.kafka_bootstrap, settings.kafka_topic
    reading = _all(bootstrap, topic) if bootstrap else _table(settings)
    with ThreadPoolExecutor(1) as pool:  # a test may have a loop of its own
        return pool.submit(asyncio.run, asyncio.wait_for(reading, SECONDS_MAX)).result()


async def _all(bootstrap: str, topic: str) -> list[Message]:
    """Return the records of all partitions."""
    found = await read_topic(bootstrap, topic)
    return [message for number in sorted(found) for message in found[number]]


async def read_topic(bootstrap: str, topic: str) -> Partitions:
    """Read a topic to its end; return the records of every partition."""
    records, _ = await read_records(bootstrap, topic)
    found: Partitions = {number: [] for number in range(PARTITIONS)}
    for record in records:
        found[record.partition].append((record.key, list(record.headers), record.value))
    return found


async def read_records(bootstrap: str, topic: str) -> tuple[list[Any], dict[int, int]]:
    """Return a topic's records as the client has them, and where each partition ends.

    Those of a partition stand in their order.
    """
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, group_id=None
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        found: list[Any] = []
        while [place for place in places if await consumer.position(place) < ends[place]]:
            batch = await consumer.getmany(*places, timeout_ms=200)
            found += [record for records in batch.values() for record in records]
    finally:
        await consumer.stop()
    return found, {place.partition: end for place, end in ends.items()}


async def write_topic(bootstrap: str, topic: str, partitions: Partitions) -> None:
    """Append records to the partitions of a topic, in order."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for number, messages in partitions.items():
            for key, headers, value in messages:
                await producer.send(topic, value, key, number, headers=headers)
        await producer.flush()


async def _table(settings: Settings) -> list[Message]:
    """Read the table of the embedded mode."""
    connection = await asyncpg.connect(settings.database_url)
    try:
        rows = await connection.fetch(
            'SELECT record, hash FROM log.records ORDER BY partition, "offset"'
        )
    finally:
        await connection.close()
    return [record_to_kafka(row["record"], row["hash"]) for row in rows]


async def send_undecodable(bootstrap: str, topic: str, partition: int) -> list[int]:
    """Send a batch whose second record of three has a header that is not UTF-8; return the offsets.

    No client of ours sends that, so the name is changed in the finished batch, and its checksum.
    """
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        batch: Any = producer.create_batch()
        for headers in ([], [(_NAME.decode(), b"")], []):
            batch.append(timestamp=None, key=b"k", value=b"{}", headers=headers)
        content = bytearray(batch._build())
        at = content.index(_NAME)
        content[at : at + len(_NAME)] = b"\xff" * len(_NAME)
        struct.pack_into(">I", content, _CHECKSUM_AT, calc_crc32c(bytes(content[_CHECKED_AT:])))
        batch._buffer = bytes(content)
        first = (await (await producer.send_batch(batch, topic, partition=partition))).offset
    return [first, first + 1, first + 2]
