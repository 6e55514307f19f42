"""The log table of the embedded mode: schema ``log``, relayed by one SQL statement.

Relays take turns by a transaction lock, so offsets have no gaps and become visible in order.
"""

import asyncio
from collections.abc import Mapping

from casebook.kit.log.event_log import PARTITIONS, Batch, LogRecord
from casebook.kit.log.outbox import is_anything_unpublished
from casebook.kit.postgres.database import Connection, Database

_TURN = "SELECT pg_advisory_xact_lock(hashtext('casebook.log'))"
_RELAY = """
WITH gone AS (
    DELETE FROM outbox
    WHERE position = ANY(ARRAY(SELECT position FROM outbox ORDER BY position LIMIT $1))
    RETURNING position
), moved AS (
    SELECT e.*, row_number() OVER (PARTITION BY e.partition ORDER BY e.position) AS place
    FROM events e WHERE e.position = ANY(ARRAY(SELECT position FROM gone))
), counts AS (
    SELECT partition, count(*) AS n FROM moved GROUP BY partition
), advanced AS (
    UPDATE log.partitions p SET next_offset = p.next_offset + c.n FROM counts c
    WHERE p.partition = c.partition
    RETURNING p.partition, p.next_offset - c.n AS start
)
INSERT INTO log.records (partition, "offset", key, type, record, hash, position)
SELECT m.partition, a.start + m.place - 1, m.case_key, m.type, m.record, m.hash, m.position
FROM moved m JOIN advanced a ON a.partition = m.partition
ORDER BY m.partition, m.place
"""
_POLL = """
SELECT r.partition, r."offset", r.key, r.type, r.record, r.hash
FROM unnest($1::smallint[], $2::bigint[]) AS p(partition, next_offset)
CROSS JOIN LATERAL (
    SELECT * FROM log.records
    WHERE partition = p.partition AND "offset" >= p.next_offset
    ORDER BY "offset" LIMIT $3
) r ORDER BY r.partition, r."offset"
"""


class PostgresLog:
    """The shared log as a table in the same PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self) -> None:
        """Do nothing: the database is open already."""

    async def relay(self, connection: Connection, events_max: int) -> int:
        """Move events from the outbox to the table, in one transaction."""
        if not await is_anything_unpublished(connection):
            return 0
        async with connection.transaction():
            await connection.execute(_TURN)
            status = await connection.execute(_RELAY, events_max)
        return int(status.rpartition(" ")[2])

    async def consumer(self, group: str | None) -> "_Consumer":
        """Return a consumer of all partitions; one process reads a home, so no group is needed."""
        return _Consumer(self._database)

    async def heads(self) -> dict[int, int]:
        """Return the next offset of every partition."""
        async with self._database.background() as connection:
            rows = await connection.fetch("SELECT partition, next_offset FROM log.partitions")
        return {row[0]: row[1] for row in rows}

    async def starts(self) -> dict[int, int]:
        """Return the first offset of every partition; of an empty one its next."""
        async with self._database.background() as connection:
            rows = await connection.fetch(
                """SELECT p.partition, coalesce((SELECT min("offset") FROM log.records r
                    WHERE r.partition = p.partition), p.next_offset) FROM log.partitions p"""
            )
        return {row[0]: row[1] for row in rows}

    async def remembered(self, group: str) -> dict[int, int]:
        """Return nothing: log and checkpoints are restored together."""
        return {}

    def wakes(self) -> bool:
        """Say no: the relay wakes the readers of this process."""
        return False

    async def close(self) -> None:
        """Do nothing: the database closes its own connections."""


class _Consumer:
    """Reads the table from its positions on."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._positions = dict.fromkeys(range(PARTITIONS), 0)

    async def poll(self, records_max: int, timeout_seconds: float) -> Batch:
        """Return the next records; does not wait, the reader is woken by the relay."""
        partitions = list(self._positions)
        share = max(1, records_max // len(partitions))
        async with self._database.background() as connection:
            rows = await connection.fetch(_POLL, partitions, list(self._positions.values()), share)
        batch: dict[int, list[LogRecord]] = {}
        for row in rows:
            batch.setdefault(row[0], []).append(LogRecord(*row))
        for partition, records in batch.items():
            self._positions[partition] = records[-1].offset + 1
        return batch

    def assigned(self) -> frozenset[int]:
        """Return all partitions."""
        return frozenset(self._positions)

    def seek(self, partition: int, offset: int) -> None:
        """Read a partition from ``offset`` on."""
        self._positions[partition] = offset

    async def hint(self, positions: Mapping[int, int]) -> None:
        """Do nothing: the checkpoint rows are in the same database."""
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Do nothing: connections belong to the pool."""
