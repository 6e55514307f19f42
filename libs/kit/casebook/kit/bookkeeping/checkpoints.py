"""Checkpoint rows: how far a subscription has applied each partition; the fence of readers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from casebook.kit.log.event_log import Batch, LogRecord
from casebook.kit.postgres.database import Connection

LIVE = "live"
"""The subscription of a service's reader; a rebuild has one of its own."""

_INSERT = """
INSERT INTO checkpoints (subscription, partition, next_offset)
SELECT $1, unnest($2::smallint[]), 0 ON CONFLICT DO NOTHING
"""
_LOCK = """
SELECT partition, next_offset FROM checkpoints
WHERE subscription = $1 AND partition = ANY($2::smallint[]) ORDER BY partition FOR UPDATE
"""
_WRITE = """
UPDATE checkpoints c SET next_offset = u.next_offset
FROM unnest($2::smallint[], $3::bigint[]) AS u(partition, next_offset)
WHERE c.subscription = $1 AND c.partition = u.partition
"""


async def lock_checkpoints(
    connection: Connection, subscription: str, partitions: Iterable[int]
) -> dict[int, int]:
    """Lock the checkpoints in partition order; return the next offset of each partition."""
    wanted = sorted(partitions)
    rows = await connection.fetch(_LOCK, subscription, wanted)
    if len(rows) < len(wanted):
        await connection.execute(_INSERT, subscription, wanted)
        rows = await connection.fetch(_LOCK, subscription, wanted)
    return {row[0]: row[1] for row in rows}


async def write_checkpoints(
    connection: Connection,
    subscription: str,
    positions: Mapping[int, int],
    before: Mapping[int, int],
) -> None:
    """Move the checkpoints forward to ``positions``, never back."""
    moved = {p: offset for p, offset in positions.items() if offset > before[p]}
    if moved:
        await connection.execute(_WRITE, subscription, list(moved), list(moved.values()))


async def read_checkpoints(connection: Connection, subscription: str) -> dict[int, int]:
    """Return the next offset of every partition that a subscription has read."""
    rows = await connection.fetch(
        "SELECT partition, next_offset FROM checkpoints WHERE subscription = $1", subscription
    )
    return {row[0]: row[1] for row in rows}


@dataclass(frozen=True, slots=True)
class Fresh:
    """What of a batch comes next: its records, the positions after them, and where to seek.

    ``gaps`` are the partitions whose next record is missing.
    """

    records: list[LogRecord]
    reached: dict[int, int]
    seeks: dict[int, int]
    gaps: frozenset[int]

    @property
    def ends(self) -> dict[int, int]:
        """Return where each partition of the batch is to be read from now on."""
        return {**self.reached, **self.seeks}


def fresh(batch: Batch, positions: Mapping[int, int]) -> Fresh:
    """Return the records of a batch that continue the positions without a gap.

    A consumer that is behind (another reader was faster) or ahead (a transaction was rolled
    back) is told where to read again.
    """
    found = Fresh([], {}, {}, frozenset())
    gaps: set[int] = set()
    for partition in sorted(batch):
        expected = positions[partition]
        records = [record for record in batch[partition] if record.offset >= expected]
        if not records:
            found.seeks[partition] = expected
        elif records[0].offset > expected:
            found.seeks[partition] = expected
            gaps.add(partition)
        else:
            found.records.extend(records)
            found.reached[partition] = records[-1].offset + 1
    return Fresh(found.records, found.reached, found.seeks, frozenset(gaps))
