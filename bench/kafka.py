"""The Kafka that benches run on: one broker, and a topic of its own for each measurement."""

import asyncio
import secrets
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from casebook.kit.log.event_log import PARTITIONS
from tests.support.kafka import create_topic, kafka_for_tests


@dataclass(frozen=True, slots=True)
class Topic:
    """An empty topic with as many partitions as the shared log."""

    bootstrap: str
    name: str

    async def count(self) -> int:
        """Return how many records it holds."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            places = [TopicPartition(self.name, number) for number in range(PARTITIONS)]
            return sum((await consumer.end_offsets(places)).values())
        finally:
            await consumer.stop()


async def broker() -> str:
    """Return the address of the broker, which is started at the first call of this process."""
    return await asyncio.to_thread(kafka_for_tests)


async def new_topic() -> Topic:
    """Create a topic."""
    topic = Topic(await broker(), f"bench.{secrets.token_hex(8)}")
    await create_topic(topic.bootstrap, topic.name, PARTITIONS)
    return topic
