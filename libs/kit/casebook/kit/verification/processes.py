"""Verification of a large database by several processes, which all see the same snapshot."""

import asyncio
import gc
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import asyncpg

from casebook.kit.service import Service
from casebook.kit.verification.progress import Say
from casebook.kit.verification.report import Report
from casebook.kit.verification.verify import Place, verify

Load = Callable[[], Sequence[Service]]


async def verify_in_processes(
    place: Place, load: Load, groups: Collection[Collection[str]], *, say: Say | None = None
) -> Report:
    """Check each group of services in a process of its own; return what all of them found.

    The processes import ``load``, which returns all services, and ``say`` by their names.

    :raises asyncpg.PostgresError: when the tables cannot be read.
    :raises OSError: when Kafka cannot be read.
    """
    connection = await asyncpg.connect(place.dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
            work = partial(_verify_group, place, load, snapshot, say)
            loop = asyncio.get_running_loop()
            with ProcessPoolExecutor(len(groups), mp_context=get_context("spawn")) as pool:
                reports = await asyncio.gather(
                    *(loop.run_in_executor(pool, work, tuple(group)) for group in groups)
                )
    finally:
        await connection.close()
    return Report.merged(reports)


def _verify_group(
    place: Place, load: Load, snapshot: str, say: Say | None, names: Collection[str]
) -> Report:
    """Check some services, in this process."""
    gc.disable()  # there are no cycles here, and looking for them costs a third of the time
    services = [service for service in load() if service.name in names]
    return asyncio.run(verify(place, services, snapshot_id=snapshot, say=say))
