"""The one reader of a service: it feeds all live projections and reactions (decisions 3.2).

Each poll over all partitions is one transaction (:mod:`casebook.kit.reading.applying`). Where
reading goes on is decided by the checkpoint rows; the consumer's own position is only a hint.
Errors of the infrastructure are retried for ever; a log that contradicts what was applied halts
the reader.
"""

import asyncio
import time
from datetime import datetime

from casebook.kit import metrics
from casebook.kit.bookkeeping.cases import LogForked
from casebook.kit.bookkeeping.checkpoints import LIVE, read_checkpoints
from casebook.kit.bookkeeping.history import History, StoreBehind
from casebook.kit.clock import Clock
from casebook.kit.failpoints import reach
from casebook.kit.log.event_log import PARTITIONS, Batch, EventLog, LogConsumer
from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS, RACES, Database
from casebook.kit.read_models.registry import NewerRelease
from casebook.kit.reading.applying import Applied, Applier, Outcome
from casebook.kit.reading.horizon import Horizon
from casebook.kit.signals import Pace, Signal, Signals, wait
from casebook.kit.store.store import Store

RACES_MAX = 10
LOOK_SECONDS = 0.2


class LogTruncated(Exception):
    """The log no longer holds what comes next, or what was applied; a person has to decide."""


class Reader:
    """Reads the log for one service."""

    def __init__(  # noqa: PLR0917 - what it works with, as the runtime has it
        self,
        database: Database,
        log: EventLog,
        store: Store,
        clock: Clock,
        signals: Signals,
        log_signal: Signal,
        history: History,
        *,
        records_max: int,
        poll_seconds: float,
    ) -> None:
        self._database = database
        self._log = log
        self._service = store.service.name
        self._clock = clock
        self._signals = signals
        self.log_signal = log_signal
        self._records_max = records_max
        self._poll_seconds = poll_seconds
        self._history = history
        self.applier = Applier(store, clock)
        self._lines = get_logger(self._service)
        self._gaps: dict[int, int] = {}
        self._looked = 0.0
        self.horizon = Horizon()
        self.halted: str | None = None
        self.moved_at = time.monotonic()
        self.records_applied = 0

    @property
    def caught_up_at(self) -> datetime | None:
        """Return the moment that the whole log was read past."""
        return self.horizon.caught_up_at

    async def run(self) -> None:
        """Read until cancelled; after an error of the infrastructure, begin again."""
        delay = 0.1
        while True:
            consumer: LogConsumer | None = None
            before = self.records_applied
            try:
                await self._history.prove()
                if self._history.fork is not None:
                    raise StoreBehind(self._history.fork)
                async with self._database.background() as connection:
                    await self.applier.begin(connection)
                consumer = await self._log.consumer(self._service)
                await self._read(consumer)
            except (LogForked, LogTruncated, NewerRelease) as error:
                self.halted = str(error)
                if isinstance(error, LogForked):
                    metrics.FORKS.labels(self._service).inc()
                if isinstance(error, StoreBehind):
                    self._history.forked(str(error))
                self._lines.critical("reader.halted", reason=str(error))
                return
            except INFRASTRUCTURE_ERRORS as error:
                self._lines.warning("reader.retrying", error=repr(error))
                delay = 0.1 if self.records_applied > before else min(delay * 2, 5.0)
                await asyncio.sleep(delay)
            finally:
                if consumer is not None:
                    await consumer.close()

    async def _read(self, consumer: LogConsumer) -> None:
        """Poll and apply."""
        woken = self.log_signal.subscribe()
        pace = Pace(self._records_max // PARTITIONS)
        try:
            while True:
                batch = await consumer.poll(self._records_max, self._poll_seconds)
                if batch:
                    pace.begin()
                    await self._apply(consumer, batch)
                    # What one partition has for long is a backlog, however little others have.
                    await pace.rest(max(map(len, batch.values())))
                await self._look(due=not batch)
                if not batch and not self._log.wakes():
                    await wait(woken, self._poll_seconds)
        finally:
            self.log_signal.unsubscribe(woken)

    async def _apply(self, consumer: LogConsumer, batch: Batch) -> None:
        """Apply a batch, whole if possible, else case by case."""
        applied = await self._transact(batch)
        reach("after-commit-before-hint")
        for partition, offset in applied.batch.seeks.items():
            consumer.seek(partition, offset)
        await self._check_gaps(applied)
        await consumer.hint(self._history.unless_older(applied.batch.ends))
        self.records_applied += len(applied.batch.records)
        self.moved_at = time.monotonic()
        for (type_, result), number in applied.outcome.counts.items():
            metrics.EVENTS_APPLIED.labels(self._service, type_, result).inc(number)
        self.announce(applied.outcome)

    async def _transact(self, batch: Batch) -> Applied:
        """Apply a batch in one transaction, again while others are in the way."""
        isolated = False
        races = 0
        while True:
            try:
                async with self._database.transaction() as connection:
                    applied = await self.applier.apply(connection, batch, isolated=isolated)
                    reach("inside-reader-transaction")
                return applied
            except RACES:
                races += 1
                if races == RACES_MAX:
                    raise
                await asyncio.sleep(0.01 * races)
            except (LogForked, NewerRelease, *INFRASTRUCTURE_ERRORS):
                raise
            except Exception as error:
                if isolated:
                    raise
                self._lines.warning("reader.isolating", exc_info=error)
                isolated = True

    async def _check_gaps(self, applied: Applied) -> None:
        """Read again where the next record is missing.

        :raises LogTruncated: when the log says that it is not there any more.
        """
        for partition in applied.batch.gaps:
            expected = applied.batch.seeks[partition]
            if self._gaps.get(partition) == expected:
                starts = await self._log.starts()
                if starts.get(partition, 0) > expected:
                    raise LogTruncated(f"partition {partition} has no offset {expected} any more")
            self._gaps[partition] = expected

    async def _look(self, *, due: bool) -> None:
        """Ask for the end of the log, now and then under load, and see what was read past.

        :raises LogTruncated: when the log ends before what was applied.
        """
        now = asyncio.get_running_loop().time()
        if not due and now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        asked_at = self._clock.now()
        heads = await self._log.heads()
        async with self._database.background() as connection:
            positions = await read_checkpoints(connection, LIVE)
        self.horizon.look(asked_at, heads, positions)
        lost = self.horizon.lost()
        if lost:
            raise LogTruncated(f"partitions {sorted(lost)} end before what was applied")
        if self.horizon.behind == 0:
            self.moved_at = time.monotonic()
        self._signals.timers.set()

    async def retry_parked(self, key: str) -> int:
        """Apply a parked case's records again, in one transaction; return how many there were.

        :raises Refused: ``still-failing``.
        """
        async with self._database.transaction() as connection:
            count, outcome = await self.applier.retry(connection, key)
        self.announce(outcome)
        return count

    async def discard_parked(self, key: str) -> int:
        """Give up a parked case's records, but count them as applied; return how many."""
        async with self._database.transaction() as connection:
            count, outcome = await self.applier.discard(connection, key)
        self.announce(outcome)
        return count

    def announce(self, outcome: Outcome) -> None:
        """Wake whoever waits for what was applied, and for what it led to."""
        if outcome.advanced:
            self._signals.cases.add(outcome.advanced)
            self._signals.inbox.set()
        if outcome.appended:
            self._signals.outbox.set()
        self._signals.applied.set()
