"""One service on a real database, as people and the other services meet it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from fastapi import APIRouter

from casebook.events.envelope import GENESIS, Envelope, Origin, chain
from casebook.events.event import Event
from casebook.events.kafka import partition
from casebook.events.values import Sealed
from casebook.kit.access.tokens import Signer, new_key_file
from casebook.kit.app import create_service_app
from casebook.kit.keys import new_master_key
from casebook.kit.runtime import Runtime
from casebook.kit.service import Service
from casebook.kit.settings import Settings
from tests.support.conformance import watch_async
from tests.support.postgres import migrated_database, postgres_for_tests
from tests.support.tokens import AUDIENCE, ISSUER, TestClock, write_jwks

Json = dict[str, Any]
Headers = dict[str, str]
PATIENCE_SECONDS = 15.0


@dataclass
class RunningService:
    """The service with its clock, and tokens for whoever is needed."""

    client: httpx.AsyncClient
    runtime: Runtime
    clock: TestClock
    signer: Signer
    _heads: dict[str, tuple[int, bytes]] = field(default_factory=dict[str, tuple[int, bytes]])
    _keys: "count[int]" = field(default_factory=count)

    def person(
        self, subject: str, *roles: str, organisation: str | None = None, source: str | None = None
    ) -> Headers:
        """Return the headers that prove who somebody is."""
        sources = [] if source is None else [source]
        token = self.signer.mint(subject, roles, organisation, sources, ttl=timedelta(days=90))
        return {"Authorization": f"Bearer {token}"}

    async def send(
        self,
        method: str,
        path: str,
        who: Headers,
        body: Json | None = None,
        *,
        match: str | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        """Send a command with an idempotency key of its own, and ``If-Match`` if given."""
        headers = who | {"Idempotency-Key": key or f"key-{next(self._keys)}"}
        if match is not None:
            headers["If-Match"] = match
        return await self.client.request(method, path, headers=headers, json=body)

    async def read(self, path: str, who: Headers, **parameters: object) -> httpx.Response:
        """Send a GET."""
        return await self.client.get(
            path, headers=who, params={name: str(value) for name, value in parameters.items()}
        )

    async def happened(
        self,
        stream: str,
        *events: Event,
        key: str | None = None,
        origin: Origin = "live",
        time: datetime | None = None,
    ) -> list[UUID]:
        """Let another service say ``events``, and wait for the reader; return their ids."""
        async with self.runtime.database.background() as connection, connection.transaction():
            ids = [
                await self._say(connection, stream, event, key=key, origin=origin, time=time)
                for event in events
            ]
        self.runtime.log_signal.set()
        await self.settled()
        return ids

    async def settled(self) -> None:
        """Wait until nothing is left to publish or to read."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self.value(_SETTLED):
                self.runtime.signals.outbox.set()
                self.runtime.log_signal.set()
                await asyncio.sleep(0.02)

    async def until(self, statement: str, expected: object) -> None:
        """Wait until a statement's value is what is expected."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.value(statement) != expected:
                self.runtime.log_signal.set()
                await asyncio.sleep(0.02)
        await self.settled()

    async def value(self, statement: str) -> Any:
        """Return the one value of a statement on the service's schema."""
        async with self.runtime.database.background() as connection:
            return await connection.fetchval(statement)

    async def etag(self, stream: str) -> str:
        """Return the current ETag of one of the service's streams."""
        return f'"{await self.value(f"SELECT version FROM streams WHERE stream = {stream!r}")}"'

    async def _say(
        self,
        connection: Any,
        stream: str,
        event: Event,
        *,
        key: str | None,
        origin: Origin,
        time: datetime | None,
    ) -> UUID:
        """Append an event to the log, as the relay of its service would."""
        version, previous = self._heads.get(stream, (0, GENESIS))
        case = key or stream.rpartition("/")[2]
        texts = {
            name: Sealed(key="elsewhere", ciphertext="c2VhbGVk")
            for name in event.secret_fields
            if getattr(event, name) is not None
        }
        envelope = Envelope(
            id=uuid4(),
            source="/casebook/elsewhere",
            type=event.type,
            subject=stream,
            streamversion=version + 1,
            partitionkey=case,
            time=time or self.clock.now(),
            recordedtime=self.clock.now() + timedelta(microseconds=version),
            correlationid=case,
            actor="service:elsewhere",
            origin=origin,
            audience=event.audience,
            data=event.model_copy(update=texts).payload(),
            traceparent=TRACEPARENT,
        )
        record = envelope.record()
        digest = chain(previous, record)
        self._heads[stream] = version + 1, digest
        place = await connection.fetchval(_NEXT_PLACE, partition(case))
        await connection.execute(
            "INSERT INTO log.records VALUES ($1, $2, $3, $4, $5, $6)",
            partition(case), place, case, event.type, record, digest,
        )  # fmt: skip
        return envelope.id


TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_NEXT_PLACE = """
UPDATE log.partitions SET next_offset = next_offset + 1 WHERE partition = $1
RETURNING next_offset - 1
"""
_SETTLED = """
SELECT NOT EXISTS (SELECT FROM outbox) AND NOT EXISTS (
    SELECT FROM log.partitions p LEFT JOIN checkpoints c
        ON c.partition = p.partition AND c.subscription = 'live'
    WHERE p.next_offset > coalesce(c.next_offset, 0))
"""


@asynccontextmanager
async def running(
    service: Service, router: APIRouter, folder: Path
) -> AsyncGenerator[RunningService]:
    """Run a service on a database of its own."""
    key_file, jwks, master = folder / "key.json", folder / "jwks.json", folder / "master.key"
    new_key_file(key_file)
    write_jwks(jwks, key_file)
    new_master_key(master)
    clock = TestClock(datetime.now(UTC))
    async with migrated_database(postgres_for_tests(), service) as dsn:
        settings = Settings(
            database_url=dsn,
            jwks=str(jwks),
            jwt_issuer=ISSUER,
            jwt_audience=AUDIENCE,
            master_key_file=master,
            signing_key=key_file,
            poll_seconds=0.1,
        )
        app = create_service_app(service, router, settings=settings, clock=clock)
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=transport,
                base_url="http://service.test",
                event_hooks={"response": [watch_async]},
            ) as client,
        ):
            signer = Signer(key_file, ISSUER, AUDIENCE)
            yield RunningService(client, app.state.runtime, clock, signer)


def problem(response: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of a refusal."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    document = response.json()
    assert document["status"] == response.status_code
    return response.status_code, document["code"]
