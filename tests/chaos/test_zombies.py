"""Readers that hang and come back, and groups that never come to rest (F-13)."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from casebook.events.kafka import PARTITIONS
from tests.chaos.ground import Ground, becomes
from tests.support.consumer_groups import join_and_die, member, members
from tests.support.figures import Tell
from tests.support.ports import free_port
from tests.support.production import Process

SEED = 13
GROUP = "casebook.dispatch"
JOINS_MIN, DEATHS_MIN, COMMANDS_MIN = 15, 4, 50
STORM_SECONDS_MAX = 240.0
TAKEN_BACK_SECONDS_MAX = 60.0
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


class Storm:
    """Strangers who join the group of dispatch, take their share, and leave or die with it."""

    def __init__(self, ground: Ground, seed: int) -> None:
        production = ground.deployment.production
        self._group = production.bootstrap, production.topic, GROUP
        self._dice = random.Random(seed)  # noqa: S311 - a run that can be repeated
        self._over = asyncio.Event()
        self.left = self.died = 0

    @property
    def joins(self) -> int:
        """Return how often somebody joined and is gone again."""
        return self.left + self.died

    @asynccontextmanager
    async def raging(self) -> AsyncGenerator[None]:
        """Let two come and go, and a third come and die, for the length of the block."""
        async with asyncio.TaskGroup() as group:
            for work in (self._visit, self._visit, self._die):
                group.create_task(self._again_and_again(work))
            try:
                yield
            finally:
                # Not by cancelling: who is cut off half way stays in the group, with its share.
                self._over.set()

    async def _again_and_again(self, work: Callable[[], Awaitable[None]]) -> None:
        while not self._over.is_set():
            await work()

    async def _visit(self) -> None:
        async with member(*self._group) as consumer:
            await consumer.getmany(timeout_ms=self._dice.randrange(200, 800))
        self.left += 1

    async def _die(self) -> None:
        await join_and_die(*self._group)
        self.died += 1


async def test_a_group_that_never_comes_to_rest_makes_progress(ground: Ground, tell: Tell) -> None:
    """F-13: strangers take partitions away, leave or die, again and again; work goes on, once."""
    applied = "SELECT sum(next_offset)::int FROM dispatch.checkpoints WHERE subscription = 'live'"
    first, storm = len(ground.history.ops), Storm(ground, SEED)
    began = time.monotonic()
    async with ground.at_work(seed=SEED + 2), storm.raging():
        before = ground.value(applied)
        await becomes(
            lambda: storm.joins >= JOINS_MIN and storm.died >= DEATHS_MIN, "so many guests",
            seconds_max=STORM_SECONDS_MAX,
        )  # fmt: skip
        meanwhile = ground.value(applied) - before
        seconds = time.monotonic() - began
    tell(f"{storm.left} left and {storm.died} died in {seconds:.0f} s: {meanwhile} events applied")
    assert meanwhile > 0
    commands = [op for op in ground.history.ops[first:] if op.kind == "command" and op.ended]
    assert len(commands) > COMMANDS_MIN
    assert not [op for op in commands if op.status >= 500 or not op.status]
    assert await ground.violations() == []
    bootstrap = ground.deployment.production.bootstrap
    await becomes(
        lambda: asyncio.run(members(bootstrap, GROUP)) == [set(range(PARTITIONS))],
        "one member with all partitions", seconds_max=TAKEN_BACK_SECONDS_MAX,
    )  # fmt: skip
