"""Events at a steady pace, and when what they lead to can be read."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from casebook.kit.postgres.database import Connection

LOOK_SECONDS = 0.002
VISIBLE_SECONDS_MAX = 60.0

Happen = Callable[[], Awaitable[Any]]
"""Does one thing and returns the key by which its effect is found."""


@dataclass(slots=True)
class Watch:
    """Looks for rows by their keys, every other millisecond, as a reader of the table would.

    ``query`` takes the keys that are looked for, and finds those that are there.
    """

    connection: Connection
    query: str
    latencies: list[float] = field(default_factory=list[float])
    _begun: dict[Any, float] = field(default_factory=dict[Any, float])

    async def pace(self, happen: Happen, count: int, per_second: float) -> None:
        """Let ``happen`` begin so often, each at its time; wait until all can be seen.

        A latency counts from the moment at which something was to begin: a late one is slow.
        """
        looking = asyncio.create_task(self._look(count))
        beginning = time.perf_counter() + 0.1
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                at = beginning + number / per_second
                await asyncio.sleep(max(0.0, at - time.perf_counter()))
                group.create_task(self._do(happen, at))
        async with asyncio.timeout(VISIBLE_SECONDS_MAX):
            await looking

    async def _do(self, happen: Happen, at: float) -> None:
        """Do one thing, and look for it from then on."""
        self._begun[await happen()] = at

    async def _look(self, count: int) -> None:
        """Look until everything was seen."""
        while len(self.latencies) < count:
            if self._begun:
                for row in await self.connection.fetch(self.query, list(self._begun)):
                    self.latencies.append(time.perf_counter() - self._begun.pop(row[0]))
            await asyncio.sleep(LOOK_SECONDS)
