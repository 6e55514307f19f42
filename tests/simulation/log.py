"""The memory log of the kit, as one process sees it: shared records, steps of its own."""

import asyncio
import random
from typing import TYPE_CHECKING, Any

from casebook.kit.log.memory import MemoryLog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.simulation.processes import Process
    from tests.simulation.world import World


LINGER_SECONDS = 0.05
"""For so long a reader gathers records after the faults: in fewer batches, rest comes sooner."""


class LogAway(OSError):
    """The log cannot be reached, or its acknowledgement did not come."""


class ProcessLog(MemoryLog):
    """The shared log behind the network of one process."""

    def __init__(self, world: "World", process: "Process") -> None:
        super().__init__()
        self._world = world
        self._process = process
        self.records = world.log
        self.hints = world.log_hints
        self.positions: dict[int, int] | None = None
        world.logs.append(self)

    async def step(self, name: str) -> None:
        """Wait for one's turn, and learn what becomes of it.

        :raises LogAway: when the answer does not come.
        """
        verdict = await self._process.touch(name, name)
        if verdict in {"lose", "lose-answer"}:
            raise LogAway(name)
        if verdict == "kill-after":
            self._process.kill()
            await self._process.touch(name, name)
        if verdict == "rewind" and self.positions is not None:
            rewind(self.positions, self._world.rng)

    async def wait(self, seconds: float) -> None:
        """Wait for records; once all is healed, a little longer, as a fetch that wants many."""
        await super().wait(seconds)
        if self._world.faults is None:
            await asyncio.sleep(LINGER_SECONDS)

    def add(self, partition: int, key: str, type_: str, record: str, hash_: bytes) -> None:
        """Append one record, and wake the readers of all processes."""
        world = self._world
        world.written[partition, len(world.log[partition])] = world.clock.now()
        super().add(partition, key, type_, record, hash_)
        for log in world.logs:
            log._changed.set()

    async def consumer(self, group: str | None) -> Any:
        """Return a consumer whose first positions are hints: anything that was read before."""
        consumer = await super().consumer(group)
        if group is None:
            return consumer
        self.positions = consumer._positions
        hints: Mapping[int, int] = self._world.hints(self._process)
        for partition, offset in hints.items():
            consumer.seek(partition, offset)
        return consumer


def rewind(positions: dict[int, int], rng: random.Random) -> None:
    """Move some positions back, as a rebalance with old commits does."""
    for partition, offset in positions.items():
        if offset and rng.random() < 0.5:
            positions[partition] = rng.randrange(offset)
