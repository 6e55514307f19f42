"""Looks into the outbox; reads and empties it for logs that are not in the same database."""

from collections.abc import Sequence
from dataclasses import dataclass

from casebook.kit.postgres.database import Connection

# By an array and not by a join: with stale statistics a join becomes a scan of all events.
_READ = """
SELECT position, partition, case_key, type, record, hash FROM events
WHERE position = ANY(ARRAY(SELECT position FROM outbox ORDER BY position LIMIT $1))
ORDER BY position
"""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """An appended event that the log may not have yet."""

    position: int
    partition: int
    case_key: str
    type: str
    record: str
    hash: bytes


async def is_anything_unpublished(connection: Connection) -> bool:
    """Say whether the outbox holds an event: what a relay asks before it takes its turn."""
    return await connection.fetchval("SELECT EXISTS (SELECT FROM outbox)")


async def read_outbox(connection: Connection, events_max: int) -> list[OutboxRow]:
    """Return the oldest events of the outbox, in the order they were appended."""
    return [OutboxRow(*row) for row in await connection.fetch(_READ, events_max)]


async def delete_published(connection: Connection, positions: Sequence[int]) -> None:
    """Take events out of the outbox; the log has them."""
    await connection.execute("DELETE FROM outbox WHERE position = ANY($1::bigint[])", positions)
