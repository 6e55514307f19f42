"""From the outbox to the log, through the relay and by the least code that moves rows.

Where the log is a table, the limit takes the oldest rows out of the outbox and writes their events
into a table like that of the log, in batches of the same size. It neither takes turns with other
services nor counts offsets without gaps, which is what the relay adds. Where the log is Kafka, the
limit reads the oldest events, sends them with the same producer, a batch a partition, and deletes
them: the record is the value, and there are no headers and no turns.
"""

import asyncio
import time
from collections import defaultdict
from typing import Any

from aiokafka import AIOKafkaProducer

from bench.append import append, new_cases, new_store
from bench.kafka import Topic, new_topic
from bench.measuring import LIMIT, Bench, Effort, Measured, Report, Run, check, interleaved
from bench.server import Intake, intake
from casebook.kit.bookkeeping.history import History
from casebook.kit.log.event_log import EventLog
from casebook.kit.log.kafka import KafkaLog
from casebook.kit.log.postgres import PostgresLog
from casebook.kit.postgres.database import Connection
from casebook.kit.settings import Settings
from casebook.kit.signals import Signal, Signals
from casebook.kit.store.relay import Relay

EVENTS = 50_000
EVENTS_A_TRANSACTION = 500
PRODUCER_BATCH_BYTES = 900_000

_BARE = "CREATE TABLE log.bare (LIKE log.records INCLUDING ALL)"
_MOVE = """
WITH gone AS (
    DELETE FROM outbox
    WHERE position = ANY(ARRAY(SELECT position FROM outbox ORDER BY position LIMIT $1))
    RETURNING position
)
INSERT INTO log.bare (partition, "offset", key, type, record, hash)
SELECT partition, position, case_key, type, record, hash FROM events
WHERE position = ANY(ARRAY(SELECT position FROM gone))
"""
_READ = """
SELECT position, partition, case_key, record FROM events
WHERE position = ANY(ARRAY(SELECT position FROM outbox ORDER BY position LIMIT $1))
ORDER BY position
"""
_DELETE = "DELETE FROM outbox WHERE position = ANY($1::bigint[])"
_AGAIN = """
TRUNCATE log.records, log.bare, outbox;
UPDATE log.partitions SET next_offset = 0;
INSERT INTO outbox SELECT position, partition FROM events;
VACUUM ANALYZE outbox, log.partitions, log.records, log.bare;
"""


class _Moves:
    """Moves the same events again and again."""

    def __init__(self, place: Intake, events: int) -> None:
        self.place = place
        self.events = events
        self.batch = Settings().relay_events_max

    async def prepare(self) -> None:
        """Append the events."""
        store = new_store()
        for first in range(0, self.events, EVENTS_A_TRANSACTION):
            cases = new_cases(min(EVENTS_A_TRANSACTION, self.events - first))
            async with self.place.database.transaction() as connection:
                await append(store, connection, cases)
        async with self.place.connection() as connection:
            await connection.execute(_BARE)
            await connection.execute("VACUUM ANALYZE events")

    async def again(self) -> None:
        """Fill the outbox, and empty the log tables."""
        async with self.place.connection() as connection:
            for statement in _AGAIN.strip().splitlines():
                await connection.execute(statement)

    async def relayed(self, log: EventLog) -> float:
        """Let the relay publish the whole outbox; return how many seconds that took."""
        database = self.place.database
        relay = Relay(
            database, log, Signals(), Signal(), History("intake", database, log),
            events_max=self.batch, poll_seconds=1.0,
        )  # fmt: skip
        started = time.perf_counter()
        while await relay.publish():
            pass
        return time.perf_counter() - started

    async def run(self, what: str, moved: int, seconds: float) -> Run:
        """Return what was moved."""
        check("rows of the outbox", await self.place.count("outbox"), 0)
        return Run(check(what, moved, self.events), seconds)


class _ToTable(_Moves):
    """Moves them to the log table."""

    async def product(self) -> Run:
        """Measure the relay."""
        await self.again()
        seconds = await self.relayed(PostgresLog(self.place.database))
        return await self.run("records", await self.place.count("log.records"), seconds)

    async def limit(self) -> Run:
        """Measure the statement."""
        await self.again()
        async with self.place.connection() as connection:
            await connection.execute(_MOVE, 0)
            started = time.perf_counter()
            while await connection.execute(_MOVE, self.batch) != "INSERT 0 0":
                pass
            seconds = time.perf_counter() - started
        return await self.run("records", await self.place.count("log.bare"), seconds)


class _ToKafka(_Moves):
    """Moves them to a topic, a new one each time."""

    async def product(self) -> Run:
        """Measure the relay."""
        topic = await new_topic()
        await self.again()
        log = KafkaLog(topic.bootstrap, topic.name)
        try:
            seconds = await self.relayed(log)
        finally:
            await log.close()
        return await self.run("records", await topic.count(), seconds)

    async def limit(self) -> Run:
        """Measure reading, sending and deleting."""
        topic = await new_topic()
        await self.again()
        async with self.place.connection() as connection:
            await connection.fetch(_READ, 0)
            started = time.perf_counter()
            producer = AIOKafkaProducer(
                bootstrap_servers=topic.bootstrap, enable_idempotence=True, acks="all",
                max_batch_size=PRODUCER_BATCH_BYTES,
            )  # fmt: skip
            await producer.start()  # the relay connects in its time, too
            try:
                while await _sent(connection, producer, topic, self.batch):
                    pass
                seconds = time.perf_counter() - started
            finally:
                await producer.stop()
        return await self.run("records", await topic.count(), seconds)


async def _sent(connection: Connection, producer: Any, topic: Topic, batch: int) -> int:
    """Send the oldest events, and delete them from the outbox; return how many there were."""
    rows = await connection.fetch(_READ, batch)
    parts: defaultdict[int, list[Any]] = defaultdict(list)
    for row in rows:
        parts[row[1]].append(row)
    await asyncio.gather(*(_send(producer, topic, number, part) for number, part in parts.items()))
    await connection.execute(_DELETE, [row[0] for row in rows])
    return len(rows)


async def _send(producer: Any, topic: Topic, partition: int, rows: list[Any]) -> None:
    """Send the events of one partition."""
    batch = producer.create_batch()
    for row in rows:
        key, value = row[2].encode(), row[3].encode()
        if batch.append(key=key, value=value, timestamp=None) is None:
            batch.close()
            await (await producer.send_batch(batch, topic.name, partition=partition))
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    batch.close()
    await (await producer.send_batch(batch, topic.name, partition=partition))


async def _measure_table(effort: Effort, say: Report) -> Measured:
    """Measure both in turns."""
    async with intake() as place:
        moves = _ToTable(place, effort.amount(EVENTS, least=10))
        await moves.prepare()
        turns = await interleaved(effort, moves.product, {LIMIT: moves.limit}, say)
        return Measured(turns, place.settings)


async def _measure_kafka(effort: Effort, say: Report) -> Measured:
    """Measure both in turns."""
    async with intake() as place:
        moves = _ToKafka(place, effort.amount(EVENTS, least=10))
        await moves.prepare()
        turns = await interleaved(effort, moves.product, {LIMIT: moves.limit}, say)
        return Measured(turns, place.settings)


RELAY = Bench(
    name="relay",
    product="the relay, from the outbox to the log table",
    limit="one statement that moves the same rows, without turns and offsets",
    target=0.7,
    measure=_measure_table,
)
RELAY_KAFKA = Bench(
    name="relay-kafka",
    product="the relay, from the outbox to Kafka",
    limit="read of the outbox, send, delete, by the same driver and producer",
    target=0.7,
    measure=_measure_kafka,
)
