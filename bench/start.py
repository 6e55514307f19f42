"""The start of an embedded platform, beside that of its PostgreSQL alone; both are warm.

Warm means: the home is there, and was stopped in good order. ``casebook up`` is ready when it says
so, with all five services; the bare server when it takes connections.
"""

import asyncio
import time

import asyncpg

from bench.measuring import LIMIT, Bench, Budget, Effort, Measured, Report, Run, interleaved
from bench.processes import rss_max_mib
from bench.server import durable_settings, temporary_home
from casebook.kit.postgres import embedded as embedded_postgres
from tests.support.command import CommandLine

FIGURE = "ready_seconds"


async def _measure(effort: Effort, say: Report) -> Measured:
    """Measure both in turns, on one home; the first start of all made it, and is not counted."""
    with temporary_home() as folder:
        home = CommandLine(folder)
        await asyncio.to_thread(home.ok, "init")

        async def product() -> Run:
            return await asyncio.to_thread(_up, home)

        async def limit() -> Run:
            started = time.perf_counter()
            async with embedded_postgres.running(folder):
                seconds = time.perf_counter() - started
            return Run(1, seconds, {"ready_seconds": seconds})

        turns = await interleaved(effort, product, {LIMIT: limit}, say, FIGURE)
        async with embedded_postgres.running(folder) as server:
            connection = await asyncpg.connect(server.dsn)
            try:
                return Measured(turns, await durable_settings(connection))
            finally:
                await connection.close()


def _up(home: CommandLine) -> Run:
    """Start a platform; return how long that took, and the memory of its process."""
    with home.up() as running:
        seconds = running.ready_seconds
        notes = {"ready_seconds": seconds, "platform_rss_max_mib": rss_max_mib(running.pid)}
        return Run(1, seconds, notes)


START = Bench(
    name="start",
    product="`casebook up` on a prepared home, until it is ready",
    limit="its PostgreSQL alone",
    target=None,
    measure=_measure,
    budgets=(Budget("ready_seconds", 5.0),),
    unit="s",
    figure=FIGURE,
)
