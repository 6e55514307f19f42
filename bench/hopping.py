"""From an append to the row of a projection over Kafka: Casebook's path, and a prototype of it.

Both append at a steady pace in one process that also relays and reads, and both are woken by the
append. The prototype writes an event with its outbox row in one statement, sends what is in the
outbox, deletes it, and writes what it consumes with the offsets in one transaction; it locks
nothing, chains nothing, and drops no repetitions.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.append import EVENT
from bench.measuring import percentiles
from bench.reading_service import HOPPING, Found, Task, connected
from bench.watching import Happen, Watch
from casebook.kit.ids import new_id
from casebook.kit.runtime import Runtime
from casebook.kit.store.store import Cause

PER_SECOND = 100
WARM_UP = 50
BARE_TABLES = """
CREATE TABLE bare.events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid UNIQUE, body text
);
CREATE TABLE bare.outbox (position bigint PRIMARY KEY);
CREATE TABLE bare.timeline (id uuid PRIMARY KEY, body jsonb)
"""
_APPEND = """
WITH appended AS (INSERT INTO bare.events (id, body) VALUES ($1, $2) RETURNING position)
INSERT INTO bare.outbox SELECT position FROM appended
"""
_READ = """
SELECT position, id, body FROM bare.events
WHERE position = ANY(ARRAY(SELECT position FROM bare.outbox ORDER BY position LIMIT 2000))
"""
_DELETE = "DELETE FROM bare.outbox WHERE position = ANY($1::bigint[])"
_PROJECT = "INSERT INTO bare.timeline SELECT * FROM unnest($1::uuid[], $2::jsonb[])"
_OFFSETS = """
INSERT INTO bare.offsets SELECT * FROM unnest($1::int[], $2::bigint[])
ON CONFLICT (partition) DO UPDATE SET next_offset = excluded.next_offset
"""
_SEEN = "SELECT id FROM {}.timeline WHERE id = ANY($1::uuid[])"


async def hop(task: Task) -> Found:
    """Append through the store, with relay and reader at work."""
    async with (
        connected(task, HOPPING) as runtime,
        _at_work(runtime.relay.run(), runtime.reader.run()),
    ):
        return await _paced(task, _SEEN.format("intake"), lambda: _append(runtime))


async def bare_hop(task: Task) -> Found:
    """Append by one statement, with the prototype's relay and reader at work."""
    woken = asyncio.Event()
    async with (
        asyncpg.create_pool(task["dsn"], min_size=4, max_size=4) as pool,
        _at_work(_relay(task, pool, woken), _read(task, pool)),
    ):

        async def happen() -> UUID:
            id_ = UUID(str(new_id()))
            await pool.execute(_APPEND, id_, orjson.dumps(EVENT.payload()).decode())
            woken.set()
            return id_

        return await _paced(task, _SEEN.format("bare"), happen)


async def _paced(task: Task, query: str, happen: Happen) -> Found:
    """Let events happen at a steady pace, after some that open connections and plans."""
    connection = await asyncpg.connect(task["dsn"])
    try:
        await Watch(connection, query).pace(happen, WARM_UP, PER_SECOND)
        watch = Watch(connection, query)
        await watch.pace(happen, task["events"], PER_SECOND)
    finally:
        await connection.close()
    return {"seconds": sum(watch.latencies), **percentiles(watch.latencies)}


async def _append(runtime: Runtime) -> UUID:
    """Append one event to a new stream, as a command does; return its id.

    Where the machine cannot keep the pace, connections run out: it is tried again, and counts.
    """
    case = str(new_id())
    stream = f"request/{case}"
    while True:
        try:
            async with runtime.database.http() as connection, connection.transaction():
                work = runtime.store.begin(connection)
                await work.lock([stream])
                (fact,) = await work.append(stream, case, [EVENT], Cause(actor="user:bench"))
                await work.flush()
        except TimeoutError:
            continue
        runtime.signals.outbox.set()
        return fact.envelope.id


@asynccontextmanager
async def _at_work(*loops: Awaitable[Any]) -> AsyncGenerator[None]:
    """Run loops until the end of the block."""
    tasks = [asyncio.ensure_future(loop) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _relay(task: Task, pool: "asyncpg.Pool[asyncpg.Record]", woken: asyncio.Event) -> None:
    """Send what is in the outbox, and delete it."""
    producer: Any = AIOKafkaProducer(
        bootstrap_servers=task["bootstrap"], acks="all", enable_idempotence=True
    )
    await producer.start()
    try:
        while True:
            await woken.wait()
            woken.clear()
            rows = await pool.fetch(_READ)
            await asyncio.gather(
                *(
                    producer.send_and_wait(task["topic"], row[2].encode(), key=str(row[1]).encode())
                    for row in rows
                )
            )
            await pool.execute(_DELETE, [row[0] for row in rows])
    finally:
        await producer.stop()


async def _read(task: Task, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Write what comes, with its offsets."""
    consumer: Any = AIOKafkaConsumer(
        task["topic"], bootstrap_servers=task["bootstrap"], enable_auto_commit=False,
        auto_offset_reset="earliest",
    )  # fmt: skip
    await consumer.start()
    try:
        while True:
            batch = await consumer.getmany(timeout_ms=1_000)
            messages = [message for part in batch.values() for message in part]
            if not messages:
                continue
            ends = {place.partition: part[-1].offset + 1 for place, part in batch.items()}
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute(
                    _PROJECT,
                    [UUID(message.key.decode()) for message in messages],
                    [message.value.decode() for message in messages],
                )
                await connection.execute(_OFFSETS, list(ends), list(ends.values()))
    finally:
        await consumer.stop()
