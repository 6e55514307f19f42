"""Readers that hang and come back, and groups that never come to rest (F-13)."""

import asyncio
import random
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer

from tests.chaos.ground import Ground, becomes
from tests.support.production import Process, free_port

SEED = 13
STORM_SECONDS = 12.0
FROZEN_SECONDS = 3.0


def is_frozen(process: Process) -> bool:
    """Say whether a process is stopped, as the kernel sees it."""
    stat = Path(f"/proc/{process.child.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


async def test_a_reader_that_hangs_in_its_transaction_and_wakes_up_does_nothing_twice(
    ground: Ground,
) -> None:
    """F-13: it holds locks; the server ends its session, the group goes on, then it comes back."""
    production = ground.deployment.production
    replica = production.start(
        "dispatch", url=f"http://127.0.0.1:{free_port()}",
        variables={"CASEBOOK_FAILPOINTS": "inside-reader-transaction=stop@3"},
    )  # fmt: skip
    try:
        async with ground.people(seed=SEED) as people:
            async with ground.at_work(seed=SEED):
                await becomes(lambda: is_frozen(replica), "a frozen replica")
            request = await people.submit()
            await people.holder(request)  # which needs the partitions that the zombie had
            await asyncio.sleep(FROZEN_SECONDS)
            replica.child.send_signal(signal.SIGCONT)
            assert not is_frozen(replica)
            async with ground.at_work(seed=SEED + 1):
                await asyncio.to_thread(replica.wait_until_ready)
            assert await ground.violations() == []
    finally:
        replica.kill()


@asynccontextmanager
async def storm(ground: Ground, seed: int) -> AsyncGenerator[list[int]]:
    """Let members join and leave the group of dispatch every second; yield how often they did."""
    production = ground.deployment.production
    dice = random.Random(seed)  # noqa: S311 - a run that can be repeated
    joined: list[int] = []
    over = asyncio.Event()

    async def visit() -> None:
        consumer: Any = AIOKafkaConsumer(
            production.topic, bootstrap_servers=production.bootstrap,
            group_id="casebook.dispatch", enable_auto_commit=False, heartbeat_interval_ms=500,
        )  # fmt: skip
        try:
            await consumer.start()
            await consumer.getmany(timeout_ms=dice.randrange(200, 800))
            joined.append(1)
        finally:
            await consumer.stop()

    async def visits() -> None:
        while not over.is_set():
            await visit()

    visitors = asyncio.create_task(visits())
    try:
        yield joined
    finally:
        over.set()  # not by cancelling: who is cut off half way stays in the group, with its share
        await visitors


async def test_a_group_that_never_comes_to_rest_makes_progress(ground: Ground) -> None:
    """F-13: strangers take partitions away and leave again; work goes on, once."""
    applied = "SELECT sum(next_offset)::int FROM dispatch.checkpoints WHERE subscription = 'live'"
    async with ground.at_work(seed=SEED + 2), storm(ground, SEED) as joined:
        await becomes(lambda: joined, "the first visitor")
        before = ground.value(applied)
        await asyncio.sleep(STORM_SECONDS)
        assert ground.value(applied) > before, f"no progress in {len(joined)} rebalances"
    assert len(joined) >= 2
    assert await ground.violations() == []
