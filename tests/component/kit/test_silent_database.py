"""A database that does not answer, and one that is only slow (ADR 0051)."""

import asyncio
import time

import pytest

from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS, Database
from casebook.kit.routes.health import Health
from tests.support.proxy import Kind, Proxy, through, to_database
from tests.support.service import Bench

# What people are promised is two seconds; a busy machine may need longer to notice.
NOTICED_SECONDS_MAX = 15.0


@pytest.mark.parametrize("kind", ["silence", "silence-up", "silence-down", "refuse", "cut"])
async def test_a_request_ends_soon_when_nobody_answers_and_the_next_one_is_well(
    bench: Bench, kind: Kind
) -> None:
    with Proxy(to_database(bench.dsn)).running() as proxy:
        database = Database(through(proxy, bench.dsn), "intake", http=2, background=1)
        await database.open()
        try:
            async with database.http() as connection:
                await connection.fetchval("SELECT 1")
                began = time.monotonic()
                with proxy.broken(kind), pytest.raises(INFRASTRUCTURE_ERRORS):
                    await connection.fetchval("SELECT 1")
                assert time.monotonic() - began < NOTICED_SECONDS_MAX
            async with database.http() as connection:
                assert await connection.fetchval("SELECT 1") == 1
        finally:
            await database.close()


async def test_a_statement_that_is_slow_is_not_ended(bench: Bench) -> None:
    database = Database(bench.dsn, "intake", http=1, background=1)
    await database.open()
    try:
        async with database.http() as connection:
            assert await connection.fetchval("SELECT true FROM pg_sleep(3)")
    finally:
        await database.close()


async def test_the_server_lets_go_of_what_a_process_holds_that_hangs(bench: Bench) -> None:
    database = Database(bench.dsn, "intake", http=1, background=1)
    await database.open()
    try:
        async with database.transaction() as connection:
            name = "idle_in_transaction_session_timeout"
            assert await connection.fetchval(f"SHOW {name}") == "15s"
    finally:
        await database.close()


async def test_a_check_that_hangs_makes_nobody_wait_who_asks_for_readiness() -> None:
    """A client of the log that is cancelled may take its time to end."""
    ended = asyncio.Event()

    async def log() -> bool:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await ended.wait()
            raise
        return True

    health = Health("desk", {}, {"log": log})
    async with asyncio.timeout(NOTICED_SECONDS_MAX):
        readiness = await health.readiness()
    assert (readiness.ready, readiness.degraded) == (True, ("log",))
    ended.set()
