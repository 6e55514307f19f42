"""Parked cases: what a handler could not take waits here, in order, with the reason.

Nothing is lost and nobody else waits: a parked case keeps its later events behind it until
somebody retries or discards it (``casebook parked``). Discarded records stay as such, so that a
fold of the log leaves out what the live reader left out.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import asyncpg
import orjson

from casebook.kit.log.event_log import LogRecord
from casebook.kit.postgres.database import Connection

Place = tuple[int, int]
"""Partition and offset of a record."""

_INSERT = """
INSERT INTO parked
    (subscription, key, partition, "offset", record, hash, error, attempts, parked_at)
SELECT $1, u.key, u.partition, u."offset", u.record, u.hash, $2, $3, $4
FROM unnest($5::text[], $6::smallint[], $7::bigint[], $8::text[], $9::bytea[])
    AS u(key, partition, "offset", record, hash)
"""
_RECORDS = 'partition, "offset", key, record, hash'
_TAKE = f"""
WITH gone AS (
    DELETE FROM parked WHERE subscription = $1 AND key = ANY($2::text[]) AND status = 'parked'
    RETURNING *
) SELECT {_RECORDS} FROM gone ORDER BY sequence
"""
_DISCARD = f"""
WITH given_up AS (
    UPDATE parked SET status = 'discarded'
    WHERE subscription = $1 AND key = ANY($2::text[]) AND status = 'parked' RETURNING *
) SELECT {_RECORDS} FROM given_up ORDER BY sequence
"""


async def parked_keys(
    connection: Connection, subscription: str, keys: Iterable[str] | None = None
) -> set[str]:
    """Return which of ``keys`` are parked; of all, if there are none given."""
    rows = await connection.fetch(
        """SELECT DISTINCT key FROM parked WHERE subscription = $1 AND status = 'parked'
        AND ($2::text[] IS NULL OR key = ANY($2::text[]))""",
        subscription,
        None if keys is None else list(keys),
    )
    return {row[0] for row in rows}


async def park(
    connection: Connection,
    subscription: str,
    records: Sequence[LogRecord],
    *,
    error: str,
    attempts: int,
    now: datetime,
) -> None:
    """Put records at the end of their cases' parked queues."""
    if records:
        await connection.execute(
            _INSERT,
            subscription,
            error[:1000],
            attempts,
            now,
            [record.key for record in records],
            [record.partition for record in records],
            [record.offset for record in records],
            [record.record for record in records],
            [record.hash for record in records],
        )


async def take_parked(
    connection: Connection, subscription: str, keys: Iterable[str]
) -> list[LogRecord]:
    """Remove the parked records of cases and return them in order, to be applied again."""
    rows = await connection.fetch(_TAKE, subscription, list(keys))
    return list(map(_record, rows))


async def discard_parked(
    connection: Connection, subscription: str, keys: Iterable[str]
) -> list[LogRecord]:
    """Mark the parked records of cases as given up, and return them in order."""
    rows = await connection.fetch(_DISCARD, subscription, list(keys))
    return list(map(_record, rows))


def _record(row: asyncpg.Record) -> LogRecord:
    """Return a parked row as a record; its type is read here, because the database may not.

    PostgreSQL refuses to look into JSON text that holds a NUL, which may be why it was parked.
    """
    partition, offset, key, record, hash_ = row
    return LogRecord(partition, offset, key, orjson.loads(record)["type"], record, hash_)


async def left_out(
    connection: Connection, subscription: str, keys: Iterable[str] | None = None
) -> tuple[set[Place], set[Place]]:
    """Return where the records of cases stand that are parked, and that were discarded."""
    rows = await connection.fetch(
        """SELECT partition, "offset", status FROM parked WHERE subscription = $1
        AND ($2::text[] IS NULL OR key = ANY($2::text[]))""",
        subscription,
        None if keys is None else list(keys),
    )
    places: dict[str, set[Place]] = {"parked": set(), "discarded": set()}
    for row in rows:
        places[row[2]].add((row[0], row[1]))
    return places["parked"], places["discarded"]
