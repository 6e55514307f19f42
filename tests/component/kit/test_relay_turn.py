"""The turn to publish to Kafka is given back, however a relay ends."""

import asyncio
from typing import Any

import pytest

from casebook.kit.log.kafka import KafkaLog
from tests.support.service import Bench, append, case, until
from tests.support.toy import intake, submitted

NOWHERE = "127.0.0.1:9"
FREE = """
SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


class Cancelled:
    """A connection on which one statement is done, and its caller cancelled before it knows."""

    def __init__(self, connection: Any, word: str) -> None:
        self._connection = connection
        self._word = word

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, sql: str, *arguments: Any) -> Any:
        if self._word == "unlock" and "unlock" in sql:
            raise asyncio.CancelledError
        done = await self._connection.execute(sql, *arguments)
        if self._word == "lock" and "advisory_lock" in sql:
            raise asyncio.CancelledError
        return done


@pytest.mark.parametrize("word", ["lock", "unlock"])
async def test_a_relay_that_is_cancelled_keeps_no_turn(bench: Bench, word: str) -> None:
    log = KafkaLog(NOWHERE)
    async with bench.idle(intake()) as runtime:
        await append(runtime, f"request/{case()}", submitted())
        async with runtime.database.background() as connection:
            with pytest.raises((asyncio.CancelledError, OSError)):
                await log.relay(Cancelled(connection, word), 10)  # type: ignore[arg-type]
        await until(lambda: bench.value(FREE))
        async with runtime.database.background() as connection:
            assert await connection.fetchval("SELECT count(*) FROM outbox") == 1
    await log.close()


async def test_a_relay_that_fails_gives_its_turn_back_and_keeps_its_connection(
    bench: Bench,
) -> None:
    log = KafkaLog(NOWHERE)
    async with bench.idle(intake()) as runtime:
        await append(runtime, f"request/{case()}", submitted())
        async with runtime.database.background() as connection:
            with pytest.raises(OSError, match="Kafka"):
                await log.relay(connection, 10)
            assert not connection.is_closed()
            assert await bench.value(FREE)
    await log.close()
