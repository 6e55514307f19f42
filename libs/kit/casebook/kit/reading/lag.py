"""How far a service is behind: records not yet applied, events not yet published."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casebook.kit.bookkeeping.checkpoints import LIVE, read_checkpoints

if TYPE_CHECKING:
    from casebook.kit.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Lag:
    """``records`` of the log not applied here; ``outbox`` events not in the log yet.

    ``failed_timers`` are due, and this version of the code cannot take them. ``heads`` and
    ``applied`` are the next offsets of the log and of this service, by partition.
    """

    records: int
    outbox: int
    parked: int
    timers: int
    failed_timers: int
    heads: Mapping[int, int]
    applied: Mapping[int, int]


async def measure(runtime: "Runtime") -> Lag:
    """Measure a service's lag.

    :raises OSError: when the log cannot be reached.
    """
    heads = await runtime.heads()
    async with runtime.database.http() as connection:
        positions = await read_checkpoints(connection, LIVE)
        outbox = await connection.fetchval("SELECT count(*) FROM outbox")
        parked = await connection.fetchval(
            "SELECT count(DISTINCT key) FROM parked WHERE subscription = $1 AND status = 'parked'",
            LIVE,
        )
        timers = await connection.fetchval("SELECT count(*) FROM timers WHERE status = 'pending'")
        failed = await connection.fetchval("SELECT count(*) FROM timers WHERE status = 'failed'")
    behind = sum(max(0, head - positions.get(partition, 0)) for partition, head in heads.items())
    return Lag(behind, outbox, parked, timers, failed, heads, positions)
