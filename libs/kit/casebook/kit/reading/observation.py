"""Fills the gauges from the tables when somebody looks; between looks it costs nothing."""

import time
from typing import TYPE_CHECKING

from casebook.kit import metrics
from casebook.kit.bookkeeping.checkpoints import LIVE, read_checkpoints
from casebook.kit.log.event_log import TOPIC
from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS

if TYPE_CHECKING:
    from casebook.kit.postgres.database import Connection
    from casebook.kit.runtime import Runtime

FRESH_SECONDS = 2.0
_COUNTS = """
SELECT (SELECT count(*) FROM outbox) AS outbox,
    (SELECT extract(epoch FROM now() - recordedtime) FROM events
        WHERE position = (SELECT min(position) FROM outbox)) AS outbox_age,
    (SELECT count(*) FROM parked WHERE status = 'parked') AS parked,
    (SELECT count(*) FROM inbox) AS inbox,
    (SELECT count(*) FROM quarantine WHERE reason <> 'discarded') AS quarantine,
    (SELECT count(*) FROM timers WHERE status = 'failed') AS failed,
    (SELECT count(*) FROM timers WHERE status = 'pending') AS timers,
    (SELECT count(*) FROM timers WHERE status = 'pending' AND due_at < now()) AS overdue
"""


class Observer:
    """Measures one service for its metrics, at most every two seconds."""

    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime
        self._observed_at = 0.0
        self._log = get_logger(runtime.service.name)

    async def observe(self) -> None:
        """Measure, if the last measurement is older; what cannot be asked keeps its value."""
        if time.monotonic() - self._observed_at < FRESH_SECONDS:
            return
        self._observed_at = time.monotonic()
        self._process()
        try:
            async with self._runtime.database.http() as connection:
                await self._tables(connection)
                positions = await read_checkpoints(connection, LIVE)
            await self._lag(positions)
        except INFRASTRUCTURE_ERRORS as error:
            self._log.warning("metrics.incomplete", exc_info=error)

    def _process(self) -> None:
        """Look at what this process holds."""
        runtime = self._runtime
        name = runtime.service.name
        for pool, (used, waiting) in runtime.database.use().items():
            metrics.DATABASE_POOL_IN_USE.labels(name, pool).set(used)
            metrics.DATABASE_POOL_WAITERS.labels(name, pool).set(waiting)
        metrics.CHECKPOINT_AGE.labels(name).set(time.monotonic() - runtime.reader.moved_at)

    async def _tables(self, connection: "Connection") -> None:
        """Count what waits in the tables."""
        row = await connection.fetchrow(_COUNTS)
        assert row is not None
        name = self._runtime.service.name
        metrics.OUTBOX_PENDING.labels(name).set(row["outbox"])
        metrics.OUTBOX_OLDEST_AGE.labels(name).set(max(0.0, float(row["outbox_age"] or 0)))
        metrics.PARKED_PENDING.labels(name).set(row["parked"])
        metrics.INBOX_PENDING.labels(name).set(row["inbox"])
        metrics.QUARANTINE_PENDING.labels(name).set(row["quarantine"])
        metrics.TIMERS_PENDING.labels(name).set(row["timers"])
        metrics.TIMERS_OVERDUE.labels(name).set(row["overdue"])
        metrics.TIMERS_FAILED.labels(name).set(row["failed"])

    async def _lag(self, positions: dict[int, int]) -> None:
        """Compare the positions of the reader with the ends of the log."""
        name = self._runtime.service.name
        heads = await self._runtime.heads()
        total = 0
        for partition, head in heads.items():
            behind = max(0, head - positions.get(partition, 0))
            metrics.CONSUMER_LAG.labels(name, TOPIC, str(partition)).set(behind)
            total += behind
        since = self._runtime.reader.caught_up_at or self._runtime.started_at
        seconds = (self._runtime.clock.now() - since).total_seconds() if total else 0.0
        for projection in self._runtime.service.projections:
            metrics.PROJECTION_LAG.labels(name, projection.name).set(seconds)
            metrics.PROJECTION_POSITION.labels(name, projection.name).set(sum(positions.values()))
