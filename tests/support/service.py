"""Runs the kit for tests: services on one database and one log, a clock that stands, clients."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
from fastapi import APIRouter

from casebook.events.envelope import Envelope
from casebook.events.event import Event
from casebook.kit.access.tokens import Signer, new_key_file
from casebook.kit.app import create_service_app
from casebook.kit.background import BackgroundLoop
from casebook.kit.bookkeeping.checkpoints import LIVE, read_checkpoints
from casebook.kit.keys import new_master_key
from casebook.kit.log.event_log import EventLog
from casebook.kit.runtime import Runtime
from casebook.kit.service import Service
from casebook.kit.settings import Settings
from casebook.kit.setup.migrations import migrate, migrate_log
from casebook.kit.signals import Signal
from casebook.kit.store.store import Cause
from tests.support.postgres import migrated_database, postgres_for_tests
from tests.support.tokens import AUDIENCE, ISSUER, TestClock, write_jwks

PATIENCE_SECONDS = 20.0
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
Headers = dict[str, str]


@dataclass
class Bench:
    """A database with migrated schemas, keys, and a clock; services run on it."""

    dsn: str
    folder: Path
    clock: TestClock
    settings: Settings
    signer: Signer
    log: EventLog | None = None
    log_signal: Signal = field(default_factory=Signal)
    _keys: "count[int]" = field(default_factory=count)

    def runtime(self, service: Service, **changes: Any) -> Runtime:
        """Return a runtime of ``service`` that is not started."""
        settings = self.settings.model_copy(update=changes)
        runtime = Runtime(service, settings, clock=self.clock, log=self.log)
        runtime.share(self.log_signal)
        return runtime

    @asynccontextmanager
    async def idle(self, service: Service, **changes: Any) -> AsyncGenerator[Runtime]:
        """Connect a runtime without its background loops: tests drive them by hand."""
        runtime = self.runtime(service, **changes)
        await runtime.database.open()
        try:
            yield runtime
        finally:
            await runtime.stop()

    @asynccontextmanager
    async def running(self, service: Service, **changes: Any) -> AsyncGenerator[Runtime]:
        """Run a service without its HTTP."""
        runtime = self.runtime(service, **changes)
        await runtime.start()
        try:
            yield runtime
        finally:
            await runtime.stop()

    @asynccontextmanager
    async def serving(
        self,
        service: Service,
        *routers: APIRouter,
        background: BackgroundLoop | None = None,
        **changes: Any,
    ) -> AsyncGenerator["Served"]:
        """Run a service with its HTTP; all on the loop of the test, if no other one is given."""
        settings = self.settings.model_copy(update=changes)
        app = create_service_app(
            service, *routers, settings=settings, clock=self.clock, log=self.log
        )
        runtime: Runtime = app.state.runtime
        runtime.share(self.log_signal, background)
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://bench.test") as client,
        ):
            yield Served(self, runtime, client)

    async def migrate(self, *services: Service) -> None:
        """Create the schemas of services."""
        connection = await asyncpg.connect(self.dsn)
        try:
            await migrate_log(connection)
            for service in services:
                await migrate(connection, service)
        finally:
            await connection.close()

    def person(
        self,
        subject: str,
        *roles: str,
        organisation: str | None = None,
        sources: Sequence[str] = (),
    ) -> Headers:
        """Return the headers that prove who somebody is."""
        token = self.signer.mint(subject, roles, organisation, sources, ttl=timedelta(hours=1))
        return {"Authorization": f"Bearer {token}"}

    def key(self) -> Headers:
        """Return a fresh idempotency key."""
        return {"Idempotency-Key": f"key-{next(self._keys)}"}

    async def fetch(self, sql: str, *arguments: Any, schema: str = "intake") -> list[Any]:
        """Run SQL in a service's schema."""
        connection = await asyncpg.connect(self.dsn, server_settings={"search_path": schema})
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()

    async def value(self, sql: str, *arguments: Any, schema: str = "intake") -> Any:
        """Run SQL in a service's schema and return its first value."""
        rows = await self.fetch(sql, *arguments, schema=schema)
        return rows[0][0] if rows else None


@dataclass
class Served:
    """A service behind an HTTP client."""

    bench: Bench
    runtime: Runtime
    client: httpx.AsyncClient

    async def send(
        self, method: str, path: str, who: Headers, body: Any = None, **headers: str
    ) -> httpx.Response:
        """Send a command with an idempotency key of its own; ``headers`` win."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(
            method, f"/intake/v1{path}", json=body, headers=who | self.bench.key() | named
        )

    async def read(self, path: str, who: Headers, **headers: str) -> httpx.Response:
        """Send a GET."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(f"/intake/v1{path}", headers=who | named)


async def append(
    runtime: Runtime,
    stream: str,
    *events: Event,
    key: str | None = None,
    cause: Cause | None = None,
    origin: Any = "live",
) -> list[Envelope]:
    """Append events to a stream, as a command would; return their envelopes."""
    async with runtime.database.transaction() as connection:
        work = runtime.store.begin(connection)
        await work.lock([stream])
        facts = await work.append(
            stream,
            key or stream.rpartition("/")[2],
            events,
            cause or Cause(actor="user:test", origin=origin),
        )
        await work.flush()
    runtime.signals.outbox.set()
    return [fact.envelope for fact in facts]


async def publish(runtime: Runtime) -> int:
    """Move the whole outbox to the log; return how many events moved."""
    moved = 0
    while some := await runtime.relay.publish():
        moved += some
    return moved


async def settled(*runtimes: Runtime) -> None:
    """Wait until nothing is left to publish or to apply."""

    async def is_settled() -> bool:
        before = [await runtime.log.heads() for runtime in runtimes]
        for runtime, heads in zip(runtimes, before, strict=True):
            async with runtime.database.background() as connection:
                positions = await read_checkpoints(connection, LIVE)
                if await connection.fetchval("SELECT EXISTS (SELECT FROM outbox)"):
                    return False
            if any(positions.get(partition, 0) < head for partition, head in heads.items()):
                return False
        # What left an outbox before we looked there was published after we had seen the heads.
        return before == [await runtime.log.heads() for runtime in runtimes]

    await until(is_settled, runtimes)


async def until(
    condition: Callable[[], Awaitable[object]],
    runtimes: Iterable[Runtime] = (),
    patience: float = PATIENCE_SECONDS,
) -> None:
    """Wait for a condition, waking what may bring it about."""
    ends = time.monotonic() + patience
    while not await condition():
        assert time.monotonic() < ends, "it never happened"
        for runtime in runtimes:
            runtime.signals.outbox.set()
            runtime.signals.inbox.set()
            runtime.log_signal.set()
        await asyncio.sleep(0.02)


def case() -> str:
    """Return the key of a new case."""
    return str(uuid4())


@asynccontextmanager
async def open_bench(
    folder: Path, *services: Service, log: EventLog | None = None, **settings: Any
) -> AsyncGenerator[Bench]:
    """Prepare a database for services."""
    key_file, jwks, master = folder / "key.json", folder / "jwks.json", folder / "master.key"
    new_key_file(key_file)
    write_jwks(jwks, key_file)
    new_master_key(master)
    clock = TestClock(START)
    async with AsyncExitStack() as stack:
        database = migrated_database(postgres_for_tests(), *services)
        dsn = await stack.enter_async_context(database)
        given = Settings(
            database_url=dsn,
            jwks=str(jwks),
            jwt_issuer=ISSUER,
            jwt_audience=AUDIENCE,
            master_key_file=master,
            signing_key=key_file,
            poll_seconds=0.05,
        ).model_copy(update=settings)
        bench = Bench(dsn, folder, clock, given, Signer(key_file, ISSUER, AUDIENCE), log)
        yield bench
