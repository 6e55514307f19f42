"""Consumer groups as the broker sees them, and a member of one that can be killed.

``python -m tests.support.consumer_groups BOOTSTRAP TOPIC GROUP`` is that member: it says when it
has its share, and keeps it, silent, until it is killed or whoever started it has gone.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

SESSION_SECONDS = 6.0
"""The shortest that a broker allows: so long it waits for a member that has died."""


async def members(bootstrap: str, group: str) -> list[set[int]]:
    """Return the partitions of each member of a consumer group."""
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        [answer] = await admin.describe_consumer_groups([group])
    finally:
        await admin.close()
    found: list[set[int]] = []
    for member in answer.to_object()["groups"][0]["members"]:
        assignment: Any = ConsumerProtocolMemberAssignment.decode(member["member_assignment"])
        found.append({p for _, partitions in assignment.assignment for p in partitions})
    return found


@asynccontextmanager
async def member(bootstrap: str, topic: str, group: str) -> AsyncGenerator[Any]:
    """Be a member with a share for the length of the block, and say goodbye."""
    consumer: Any = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False,
        session_timeout_ms=int(SESSION_SECONDS * 1000), heartbeat_interval_ms=500,
    )  # fmt: skip
    try:
        await consumer.start()  # which waits for the share
        yield consumer
    finally:
        await consumer.stop()


async def join_and_die(bootstrap: str, topic: str, group: str) -> None:
    """Be a member in another process, which is killed as soon as it has a share."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, bootstrap, topic, group,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"joined\n"
    finally:
        process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


async def main(bootstrap: str, topic: str, group: str) -> None:
    """Join, say so, and wait for the end."""
    async with member(bootstrap, topic, group):
        sys.stdout.write("joined\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
