"""The relay: moves appended events from the outbox to the log, in order, at least once."""

import asyncio

from casebook.kit import metrics
from casebook.kit.bookkeeping.history import History
from casebook.kit.log.event_log import EventLog
from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS, Database
from casebook.kit.signals import Pace, Signal, Signals, wait

_LOG = get_logger("relay")


class Relay:
    """Publishes one service's outbox."""

    def __init__(
        self,
        database: Database,
        log: EventLog,
        signals: Signals,
        log_signal: Signal,
        history: History,
        *,
        events_max: int,
        poll_seconds: float,
    ) -> None:
        self._database = database
        self._log = log
        self._signals = signals
        self.log_signal = log_signal
        self._history = history
        self._events_max = events_max
        self._poll_seconds = poll_seconds
        self.events_published = 0

    async def run(self) -> None:
        """Publish until cancelled; while the log is down the outbox grows and commands go on.

        What a store writes that is behind the log stays in it: others never see two histories.
        """
        woken = self._signals.outbox.subscribe()
        pace = Pace(self._events_max)
        delay = 0.1
        while True:
            try:
                await self._history.prove()
                self._history.check()
                pace.begin()
                moved = await self.publish()
                delay = 0.1
                await pace.rest(moved)
                if moved < self._events_max:
                    await wait(woken, self._poll_seconds)
            except INFRASTRUCTURE_ERRORS as error:
                metrics.RELAY_PUBLISHED.labels(self._database.schema, "failed").inc()
                _LOG.warning("relay.retrying", error=repr(error))
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)

    async def publish(self) -> int:
        """Publish one round; return how many events moved."""
        async with self._database.background() as connection:
            moved = await self._log.relay(connection, self._events_max)
        if moved:
            self.events_published += moved
            metrics.RELAY_PUBLISHED.labels(self._database.schema, "ok").inc(moved)
            self.log_signal.set()
        return moved
