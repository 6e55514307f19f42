"""A running service: its pools, store, log and background tasks, started and stopped as one.

What answers requests uses one pool of connections, on the loop that calls :meth:`Runtime.start`;
all else, the log included, lives on the background loop, if there is one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from casebook.kit import metrics
from casebook.kit.access.identity import TokenVerifier
from casebook.kit.access.tokens import Signer
from casebook.kit.background import BackgroundLoop
from casebook.kit.bookkeeping.history import History
from casebook.kit.clock import Clock, MovedClock, SystemClock
from casebook.kit.decider import SealedText
from casebook.kit.http.idempotency import forget_old_answers
from casebook.kit.http.sealed_text import TextReader
from casebook.kit.ingress.inbox import Inbox
from casebook.kit.ingress.promoter import Promoter
from casebook.kit.keys import KeyRing
from casebook.kit.log.event_log import EventLog
from casebook.kit.log.postgres import PostgresLog
from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS, Database
from casebook.kit.reading.observation import Observer
from casebook.kit.reading.reader import Reader
from casebook.kit.reading.timers import Timers
from casebook.kit.rebuilding.rebuild import rebuild_stale
from casebook.kit.service import Service
from casebook.kit.settings import Settings
from casebook.kit.setup.migrations import check
from casebook.kit.signals import Signal, Signals, is_cancelled
from casebook.kit.starting import connect
from casebook.kit.store.relay import Relay
from casebook.kit.store.store import Store

Result = TypeVar("Result")

_LOG = get_logger("runtime")
DRAIN_SECONDS_MAX = 5.0
CANCEL_SECONDS = 0.5
RESTART_SECONDS = 1.0
PROVE_SECONDS_MAX = 3.0
FAILED_SECONDS = 30.0


class Runtime:
    """One service in this process.

    ``log_signal`` is set by the relay and wakes the reader; services in one process share it.
    ``background`` is set before :meth:`start` where a process answers people: the loop for all that
    nobody waits for, shared likewise. Without one, all runs on the loop of the caller.
    """

    def __init__(
        self,
        service: Service,
        settings: Settings,
        *,
        clock: Clock | None = None,
        log: EventLog | None = None,
        database: Database | None = None,
    ) -> None:
        self.service = service
        self.settings = settings
        self.clock = clock or self._new_clock()
        self.started_at = self.clock.now()
        self.signals = Signals()
        self.log_signal = Signal()
        self.draining = False
        self.keys = KeyRing(service.name, settings.master_key_file)
        self.verifier = self._new_verifier()
        self.database = database or self._new_database()
        self.log: EventLog = log or self._new_log()
        self.history = History(service.name, self.database, self.log)
        self.store = Store(service, self.clock, self.keys, self.history)
        self.inbox = Inbox(service.name, self.keys, self.clock)
        self.reader = Reader(
            self.database, self.log, self.store, self.clock, self.signals, self.log_signal,
            self.history,
            records_max=settings.batch_records_max, poll_seconds=settings.poll_seconds,
        )  # fmt: skip
        self.relay = Relay(
            self.database, self.log, self.signals, self.log_signal, self.history,
            events_max=settings.relay_events_max, poll_seconds=settings.poll_seconds,
        )  # fmt: skip
        self.promoter = Promoter(
            self.database, self.store, self.clock, self.signals, settings,
            lag=lambda: self.reader.horizon.behind,
        )  # fmt: skip
        self.timers = Timers(
            self.database, self.store, self.reader, self.clock, self.signals,
            poll_seconds=settings.poll_seconds,
        )  # fmt: skip
        self.observer = Observer(self)
        self._texts = TextReader(self.keys, self.database, settings)
        self.rebuilding = asyncio.Lock()
        self.background: BackgroundLoop | None = None
        self._begun = False
        self._tasks: list[asyncio.Task[None]] = []
        self._failed_at: dict[str, float] = {}

    def _new_clock(self) -> Clock:
        """Return the machine's clock, or the one that a test moves."""
        file = self.settings.clock_file
        return SystemClock() if file is None else MovedClock(file)

    def _new_verifier(self) -> TokenVerifier:
        """Return the verifier of people's tokens and of the services' own."""
        settings = self.settings
        issuer, audience = settings.jwt_issuer, settings.jwt_audience
        signer = (
            None if settings.signing_key is None else Signer(settings.signing_key, issuer, audience)
        )
        return TokenVerifier(
            settings.jwks,
            issuer,
            audience,
            service_key=None if signer is None else signer.verifying_key,
        )

    def _new_database(self) -> Database:
        """Return the pools that the settings name."""
        return Database(
            self.settings.database_url,
            self.service.name,
            http=self.settings.http_connections,
            background=self.settings.background_connections,
        )

    def _new_log(self) -> EventLog:
        """Return the log that the settings name."""
        if not self.settings.kafka_bootstrap:
            return PostgresLog(self.database)
        from casebook.kit.log.kafka import KafkaLog  # noqa: PLC0415 - only where Kafka is used

        return KafkaLog(self.settings.kafka_bootstrap, self.settings.kafka_topic)

    def share(self, log_signal: Signal, background: BackgroundLoop | None = None) -> None:
        """Wake, and be woken by, the other services of this process; before :meth:`start`."""
        self.background = background
        self.log_signal = self.relay.log_signal = self.reader.log_signal = log_signal

    async def start(self) -> None:
        """Connect, check the schema, and start the background tasks.

        :raises StartRefused: when the database stays away, or ``casebook init`` was not run.
        """
        await connect(self.database.requests, given_up=lambda: self.draining)
        if self.background is not None:
            self.background.start()
        self._begun = True
        await self.beside(self._begin())

    async def _begin(self) -> None:
        """Start all that runs in the background."""
        await connect(self.database.work, given_up=lambda: self.draining)
        async with self.database.background() as connection:
            await check(connection, self.service)
        await self.log.start()
        await self._prove()
        metrics.announce(self.service.name)
        if self.draining:  # the start was given up meanwhile, and nobody would end these
            return
        self._spawn("reader", self.reader.run)
        self._spawn("relay", self.relay.run)
        self._spawn("promoter", self.promoter.run)
        self._spawn("timers", self.timers.run)
        self._spawn("rebuild", partial(rebuild_stale, self))
        self._spawn("housekeeping", partial(forget_old_answers, self))
        self.spawn_workers()
        if self.settings.kafka_bootstrap:
            from casebook.kit.ingress.kafka import read_ingress  # noqa: PLC0415

            self._spawn("ingress", partial(read_ingress, self))

    async def beside(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what ``work`` gives, which uses the background's connections, or the log."""
        return await (work if self.background is None else self.background.run(work))

    async def heads(self) -> Mapping[int, int]:
        """Return the next offset of every partition of the log.

        :raises OSError: when the log cannot be reached.
        """
        return await self.beside(self.log.heads())

    def spawn_workers(self) -> None:
        """Start what the service itself does in the background."""
        for number, worker in enumerate(self.service.workers):
            self._spawn(f"worker-{number}", partial(worker.run, self))

    async def _prove(self) -> None:
        """Doubt a store that is behind the log before the first command; wait for no log."""
        try:
            async with asyncio.timeout(PROVE_SECONDS_MAX):
                await self.history.prove()
        except INFRASTRUCTURE_ERRORS as error:
            _LOG.warning("history.asked-later", service=self.service.name, error=repr(error))

    async def stop(self) -> None:
        """Stop the background tasks; what they had not committed is done again next time."""
        self.draining = True
        begun, self._begun = self._begun, False
        try:
            await (self.beside(self._end()) if begun else self._end())
        finally:
            if begun and self.background is not None:
                self.background.stop()
            await self._texts.aclose()
            await self.verifier.aclose()
            await self.database.requests.close()

    async def _end(self) -> None:
        """Stop all that runs in the background."""
        await self._cancel()
        await self.log.close()
        await self.database.work.close()

    async def _cancel(self) -> None:
        """End the background tasks; a cancellation may get lost in an error of the driver."""
        pending = set(self._tasks)
        ends = time.monotonic() + DRAIN_SECONDS_MAX
        while pending and time.monotonic() < ends:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=CANCEL_SECONDS)
        self._tasks.clear()

    def failed_tasks(self) -> list[str]:
        """Return the background loops that broke in the last half minute."""
        now = time.monotonic()
        return [name for name, at in list(self._failed_at.items()) if now - at < FAILED_SECONDS]

    async def open_texts(self, texts: Sequence[SealedText | None]) -> list[str | None]:
        """Return sealed texts of any service as plain ones; ``None`` where it is not possible."""
        return await self._texts.open(texts)

    def _spawn(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run a background loop as a task."""
        self._tasks.append(asyncio.create_task(self._supervise(name, loop), name=name))

    async def _supervise(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run a background loop; one that breaks is reported, and begun again.

        So is one that a library cancelled: nothing would be read any more, and nobody would know.
        """
        while True:
            try:
                return await loop()
            except (Exception, asyncio.CancelledError) as error:
                if is_cancelled():
                    raise
                self._failed_at[name] = time.monotonic()
                _LOG.critical("task.failed", task=name, exc_info=error)
            await asyncio.sleep(RESTART_SECONDS)
