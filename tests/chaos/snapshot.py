"""Everything that a deployment holds when it has come to rest: the other side of the comparison.

Loaded once, then only looked at: the checks are pure functions, and tests plant faults in copies.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from casebook.dispatch.service import SERVICE as DISPATCH
from casebook.events.kafka import PARTITIONS, record_from_kafka
from casebook.intake.service import SERVICE as INTAKE
from casebook.kit.service import Service
from casebook.monitoring.service import SERVICE as MONITORING
from casebook.quality.service import SERVICE as QUALITY
from casebook.risk.service import SERVICE as RISK
from tests.support.published_log import read_records

SERVICES: tuple[Service, ...] = (INTAKE, DISPATCH, MONITORING, QUALITY, RISK)
TABLES = (
    "events", "streams", "outbox", "checkpoints", "cases", "inbox", "parked", "quarantine",
    "timers", "idempotency", "rebuilds",
)  # fmt: skip
UNMATCHED = (
    "stream LIKE 'work-order/%' AND state->>'status' = 'queued' AND state->>'origin' = 'live' "
    "AND state->>'team' IS NOT NULL AND state->>'excluded' IS NULL"
)
"""Work that nobody has looked at yet: a matcher that lost its database comes back for it."""
LOAD_SECONDS_MAX = 240.0
LOOK_SECONDS = 0.5
Row = dict[str, Any]


@dataclass(slots=True)
class Record:
    """A record of the topic, as its bytes say; ``malformed`` carries no event."""

    partition: int
    offset: int
    key: str
    record: str
    hash: bytes
    malformed: bool = False


@dataclass(slots=True)
class Snapshot:
    """The stores of all services, and the topic.

    ``tables`` are rows by service and table, ``models`` those of projections and of tables kept
    by appends; ``ends`` is where each partition ends, ``now`` the deployment's own time.
    """

    tables: dict[str, dict[str, list[Row]]]
    models: dict[str, dict[str, list[Row]]]
    topic: list[Record]
    ends: dict[int, int]
    now: datetime

    def rows(self, table: str) -> list[tuple[str, Row]]:
        """Return the rows of a table in all services, each with its service."""
        return [(name, row) for name, tables in self.tables.items() for row in tables[table]]


@dataclass(slots=True)
class Place:
    """Where a deployment keeps what it knows; ``ahead`` is how far its clock was moved."""

    dsn: str
    bootstrap: str
    topic: str
    ahead: timedelta = field(default=timedelta(0))
    services: Sequence[Service] = SERVICES

    def now(self) -> datetime:
        """Return the deployment's time."""
        return datetime.now(UTC) + self.ahead


async def load(place: Place) -> Snapshot:
    """Read everything; the tables in one snapshot of the database, the topic to its end."""
    async with asyncio.timeout(LOAD_SECONDS_MAX):
        connection = await _connect(place)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                tables = {
                    service.name: {
                        table: await _rows(connection, service.name, table) for table in TABLES
                    }
                    for service in place.services
                }
                models = {
                    service.name: {
                        name: await _rows(connection, service.name, name)
                        for name in (
                            *(projection.name for projection in service.projections),
                            *(table.name for table in service.inline),
                        )
                    }
                    for service in place.services
                }
        finally:
            await connection.close()
        topic, ends = await read_topic(place.bootstrap, place.topic)
    return Snapshot(tables, models, topic, ends, place.now())


async def settle(place: Place, *, seconds_max: float) -> float:
    """Wait until nothing is left to do, and nothing new came for a moment; return the seconds.

    :raises TimeoutError: when nothing moved for ``seconds_max``; it says what is left.
    """
    started = moved = time.monotonic()
    connection = await _connect(place)
    try:
        quiet, before = 0, (0, dict[str, int]())
        while True:
            left = await _left(place, connection)
            events = sum([await _count(connection, s.name, "events") for s in place.services])
            now = time.monotonic()
            quiet = quiet + 1 if not left and events == before[0] else 0
            if (events, left) != before:
                before, moved = (events, left), now
            if quiet >= 3:  # workers decide about what projections show, a look later
                return now - started
            if now - moved > seconds_max:
                raise TimeoutError(f"nothing moved for {seconds_max:.0f} s: {left}")
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        await connection.close()


async def read_topic(bootstrap: str, topic: str) -> tuple[list[Record], dict[int, int]]:
    """Return every record of a topic by partition and offset, and where each partition ends."""
    messages, ends = await read_records(bootstrap, topic)
    found = [_record(message) for message in messages]
    found.sort(key=lambda record: (record.partition, record.offset))
    return found, ends


async def _connect(place: Place) -> "asyncpg.Connection[asyncpg.Record]":
    connection = await asyncpg.connect(place.dsn, server_settings={"timezone": "UTC"})
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=orjson.loads)
    return connection


async def _rows(connection: Any, schema: str, table: str) -> list[Row]:
    return [dict(row) for row in await connection.fetch(f'SELECT * FROM "{schema}"."{table}"')]


async def _count(connection: Any, schema: str, table: str, where: str = "true") -> int:
    return await connection.fetchval(f'SELECT count(*) FROM "{schema}"."{table}" WHERE {where}')


async def _left(place: Place, connection: Any) -> dict[str, int]:
    """Return how much of each kind of work is left in which service."""
    ends = await _ends(place)
    left: Counter[str] = Counter()
    due = f"status = 'pending' AND due_at <= '{place.now().isoformat()}'"
    for service in place.services:
        name = service.name
        left[f"{name} outbox"] = await _count(connection, name, "outbox")
        left[f"{name} inbox"] = await _count(connection, name, "inbox")
        left[f"{name} timers"] = await _count(connection, name, "timers", due)
        rows = await _rows(connection, name, "checkpoints")
        reached = {row["partition"]: row["next_offset"] for row in rows}
        left[f"{name} lag"] = sum(end - reached.get(number, 0) for number, end in ends.items())
        for projection in service.projections:
            if "pending" in projection.table.columns:  # what a worker has to decide about
                left[projection.name] = await _count(connection, name, projection.name, "pending")
    if DISPATCH in place.services:
        left["unmatched work"] = await _count(connection, DISPATCH.name, "streams", UNMATCHED)
    return {what: count for what, count in left.items() if count}


async def _ends(place: Place) -> dict[int, int]:
    consumer: Any = AIOKafkaConsumer(bootstrap_servers=place.bootstrap, group_id=None)
    await consumer.start()
    try:
        places = [TopicPartition(place.topic, number) for number in range(PARTITIONS)]
        return {p.partition: end for p, end in (await consumer.end_offsets(places)).items()}
    finally:
        await consumer.stop()


def _record(message: Any) -> Record:
    try:
        record, hash_ = record_from_kafka(message.key, message.headers, message.value)
    except ValueError:
        return Record(message.partition, message.offset, "", "", b"", malformed=True)
    return Record(message.partition, message.offset, message.key.decode(), record, hash_)
