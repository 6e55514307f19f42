"""Fires durable timers: only after the log was read past their due time (decisions 3.11).

A deadline that a fact in the log had already met is thus cancelled before it can fire, however
late this process starts; while a case is parked, nothing of it was read. Firing locks the stream
first and the timer second, like an append. One that the code fails on is tried again by the next
process, which may run other code.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from casebook.events.catalog import family_of
from casebook.kit import metrics
from casebook.kit.bookkeeping.checkpoints import LIVE
from casebook.kit.clock import Clock
from casebook.kit.failpoints import reach
from casebook.kit.ids import derived_id
from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS, Connection, Database
from casebook.kit.reading.reader import Reader
from casebook.kit.signals import Signals, wait
from casebook.kit.store.store import Cause, Store

TIMERS_MAX = 200
_DUE = """
SELECT t.id, t.stream, t.kind, t.due_at, t.causationid, t.traceparent FROM timers t
JOIN unnest($1::smallint[], $2::timestamptz[]) AS r(partition, until) USING (partition)
WHERE t.status = 'pending' AND t.due_at <= $3 AND t.due_at <= r.until
    AND NOT EXISTS (SELECT FROM parked p
        WHERE p.subscription = $4 AND p.key = t.case_key AND p.status = 'parked')
ORDER BY t.due_at LIMIT $5
"""
_REVIVE = """
UPDATE timers SET status = 'pending', fired_at = NULL WHERE status = 'failed' RETURNING id
"""
_FIRE = """
UPDATE timers SET status = $3, fired_at = $2 WHERE id = ANY($1::uuid[]) AND status = 'pending'
RETURNING id
"""
_UNWANTED = "UPDATE timers SET status = 'cancelled', fired_at = NULL WHERE id = ANY($1::uuid[])"
_LOG = get_logger("timers")


class Timers:
    """Fires one service's timers."""

    def __init__(
        self,
        database: Database,
        store: Store,
        reader: Reader,
        clock: Clock,
        signals: Signals,
        *,
        poll_seconds: float,
    ) -> None:
        self._database = database
        self._store = store
        self._reader = reader
        self._clock = clock
        self._signals = signals
        self._poll_seconds = poll_seconds

    async def run(self) -> None:
        """Fire until cancelled."""
        woken = self._signals.timers.subscribe()
        revived = False
        while True:
            try:
                if not revived:
                    await self.revive()
                    revived = True
                if await self.fire() < TIMERS_MAX:
                    await wait(woken, self._poll_seconds)
            except INFRASTRUCTURE_ERRORS as error:
                _LOG.warning("timers.retrying", error=repr(error))
                await asyncio.sleep(self._poll_seconds)

    async def revive(self) -> int:
        """Make pending again what an earlier process failed on; return how many."""
        async with self._database.background() as connection:
            rows = await connection.fetch(_REVIVE)
        if rows:
            _LOG.warning("timers.revived", timers=len(rows))
        return len(rows)

    async def fire(self) -> int:
        """Fire what is due and provably not met; return how many timers were looked at."""
        until = dict(self._reader.horizon.until)
        if not until:
            return 0
        latest = min(max(until.values()), self._clock.now())  # the clock may have been set back
        async with self._database.background() as connection:
            due = await connection.fetch(
                _DUE, list(until), list(until.values()), latest, LIVE, TIMERS_MAX
            )
            if not due:
                return 0
            try:
                async with connection.transaction():
                    late = await self._fire(connection, due)
                    reach("inside-timer-transaction")
            except INFRASTRUCTURE_ERRORS:
                raise
            except Exception as error:  # noqa: BLE001 - one bad timer must not stop the others
                _LOG.warning("timers.isolating", exc_info=error)
                late = await self._fire_one_by_one(connection, due)
        lateness = metrics.TIMER_LATENESS.labels(self._store.service.name)
        for seconds in late:
            lateness.observe(seconds)
        self._signals.outbox.set()
        return len(due)

    async def _fire_one_by_one(self, connection: Connection, due: Sequence[Any]) -> list[float]:
        """Fire each timer in its own transaction; one that fails is marked and reported."""
        late: list[float] = []
        for timer in due:
            try:
                async with connection.transaction():
                    late += await self._fire(connection, [timer])
            except INFRASTRUCTURE_ERRORS:
                raise
            except Exception as error:  # noqa: BLE001 - reported, and visible in the table
                _LOG.error("timer.failed", timer=str(timer["id"]), exc_info=error)
                await connection.execute(_FIRE, [timer["id"]], self._clock.now(), "failed")
        return late

    async def _fire(self, connection: Connection, due: Sequence[Any]) -> list[float]:
        """Decide and append for the timers that are still pending under the streams' locks.

        Returns by how many seconds each was late.
        """
        now = self._clock.now()
        due = [timer for timer in due if timer["due_at"] <= now]
        work = self._store.begin(connection)
        await work.lock({timer["stream"] for timer in due})
        rows = await connection.fetch(_FIRE, [timer["id"] for timer in due], now, "fired")
        fired: set[UUID] = {row["id"] for row in rows}
        unwanted: list[UUID] = []
        late: list[float] = []
        for timer in due:
            if timer["id"] not in fired:
                continue
            late.append((now - timer["due_at"]).total_seconds())
            head = work.head(timer["stream"])
            family = self._store.service.by_family[family_of(timer["stream"])]
            if family.deadlines(head.state).get(timer["kind"]) != timer["due_at"]:
                unwanted.append(timer["id"])  # an earlier one of this stream has just met it
                continue
            events = family.on_deadline(head.state, timer["kind"], timer["due_at"], now)
            if events:
                cause = Cause(
                    actor=f"service:{self._store.service.name}",
                    causationid=timer["causationid"],
                    time=now,
                    traceparent=timer["traceparent"],
                    event_id=_ids(timer["id"]),
                )
                await work.append(head.stream, head.case_key, events, cause)
        await work.flush()
        if unwanted:
            await connection.execute(_UNWANTED, unwanted)
        return late


def _ids(timer: UUID) -> Callable[[int], UUID]:
    """Return the function that derives the ids of a timer's events."""
    return partial(derived_id, timer, "timer")
