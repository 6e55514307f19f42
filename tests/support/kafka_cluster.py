"""Three Kafka brokers on loopback that lose members: three copies of all, two must have it.

Each is broker and controller in one, so that a killed leader may take the controller with it.
"""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from tests.support.kafka import START_SECONDS_MAX, KafkaServer, Node, new_nodes

MEMBERS = 3
ASK_SECONDS_MAX = 10.0


class KafkaCluster:
    """The members by their ids, and questions about the topics they lead."""

    def __init__(self, nodes: list[Node]) -> None:
        self.members = {node.id: KafkaServer(node, nodes) for node in nodes}
        self.bootstrap = ",".join(member.bootstrap for member in self.members.values())

    def start(self) -> None:
        """Start all members at once: none answers before there is a majority."""
        for member in self.members.values():
            member.start(wait=False)
        for member in self.members.values():
            member.wait_until_ready()

    def close(self) -> None:
        """End all members and remove their data."""
        for member in self.members.values():
            member.close()

    def partitions(self, topic: str) -> list[dict[str, Any]]:
        """Return what the brokers say of each partition: its ``leader``, its ``isr``."""

        async def ask() -> list[dict[str, Any]]:
            admin: Any = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
            await admin.start()
            try:
                [found] = await admin.describe_topics([topic])
                return found["partitions"]
            finally:
                await admin.close()

        with ThreadPoolExecutor(1) as pool:  # a test may have a loop of its own
            return pool.submit(asyncio.run, asyncio.wait_for(ask(), ASK_SECONDS_MAX)).result()

    def leader(self, topic: str) -> int:
        """Return the member that leads the most partitions of a topic."""
        led = [entry["leader"] for entry in self.partitions(topic)]
        return max(self.members, key=led.count)

    def wait_until_whole(self, topic: str) -> None:
        """Wait until every partition has a leader, and all its copies are up to date."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                partitions = self.partitions(topic)
            except (OSError, TimeoutError) as error:
                partitions, why = [], repr(error)
            else:
                why = str([(entry["leader"], entry["isr"]) for entry in partitions])
            if partitions and all(
                entry["leader"] > 0 and len(entry["isr"]) == len(self.members)
                for entry in partitions
            ):
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{topic} did not become whole again: {why}")
            time.sleep(0.2)


@contextmanager
def kafka_cluster() -> Iterator[KafkaCluster]:
    """Run a cluster; it is removed at the end of the block."""
    cluster = KafkaCluster(new_nodes(MEMBERS))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()
