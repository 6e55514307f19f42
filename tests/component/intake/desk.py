"""The intake service on a real database, as people and the other services meet it."""

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
import orjson

from casebook.events.envelope import GENESIS, Envelope, Origin, chain
from casebook.events.event import Event
from casebook.events.kafka import partition
from casebook.events.values import Sealed
from casebook.intake.api import router
from casebook.intake.service import SERVICE
from casebook.kit.access.tokens import Signer, new_key_file
from casebook.kit.app import create_service_app
from casebook.kit.keys import new_master_key
from casebook.kit.runtime import Runtime
from casebook.kit.settings import Settings
from tests.support.conformance import watch_async
from tests.support.postgres import migrated_database, postgres_for_tests
from tests.support.tokens import AUDIENCE, ISSUER, TestClock, write_jwks

Json = dict[str, Any]
Headers = dict[str, str]
PATIENCE_SECONDS = 15.0


@dataclass
class Desk:
    """The running service with its clock, and tokens for whoever is needed."""

    client: httpx.AsyncClient
    runtime: Runtime
    clock: TestClock
    signer: Signer
    _heads: dict[str, tuple[int, bytes]] = field(default_factory=dict[str, tuple[int, bytes]])
    _keys: "count[int]" = field(default_factory=count)

    def person(self, subject: str, *roles: str, organisation: str | None = None) -> Headers:
        """Return the headers that prove who somebody is."""
        token = self.signer.mint(subject, roles, organisation, ttl=timedelta(hours=1))
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
        return await self.client.request(method, f"/intake/v1{path}", headers=headers, json=body)

    async def read(self, path: str, who: Headers, **parameters: object) -> httpx.Response:
        """Send a GET."""
        return await self.client.get(
            f"/intake/v1{path}", headers=who, params={k: str(v) for k, v in parameters.items()}
        )

    async def submitted(self, who: Headers, **changes: object) -> Json:
        """Submit a request, and return its receipt with its ``etag``."""
        body = {"kind": "incident", "title": "邮件无法发送"} | changes
        response = await self.send("POST", "/requests", who, body)
        assert response.status_code == 201, response.text
        return response.json() | {"etag": response.headers["ETag"]}

    async def happened(
        self,
        stream: str,
        *events: Event,
        key: str | None = None,
        origin: Origin = "live",
        time: datetime | None = None,
    ) -> None:
        """Let another service say ``events`` about what is in the log, and wait for the reader."""
        await self.settled()
        async with self.runtime.database.background() as connection, connection.transaction():
            for event in events:
                version, previous = self._heads.get(stream, (0, GENESIS))
                case = key or stream.rpartition("/")[2]
                envelope = self._envelope(
                    event,
                    stream=stream,
                    version=version + 1,
                    case=case,
                    origin=origin,
                    time=time or self.clock.now(),
                )
                record = envelope.record()
                self._heads[stream] = version + 1, chain(previous, record)
                await _to_log(connection, envelope, record, self._heads[stream][1])
        self.runtime.log_signal.set()
        await self.settled()

    async def settled(self) -> None:
        """Wait until nothing is left to publish or to read."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self._is_settled():
                self.runtime.signals.outbox.set()
                self.runtime.log_signal.set()
                await asyncio.sleep(0.02)

    async def passed(self, time: timedelta) -> None:
        """Let time pass, and wait until every timer that became due has fired."""
        self.clock.pass_(time)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self._timers_due():
                self.runtime.log_signal.set()
                await asyncio.sleep(0.02)
        await self.settled()

    async def status(self, request: Json) -> str:
        """Return the status of a request."""
        async with self.runtime.database.background() as connection:
            return await connection.fetchval(
                "SELECT state->>'status' FROM streams WHERE stream = $1", f"request/{request['id']}"
            )

    async def etag(self, request: Json) -> str:
        """Return the current ETag of a request."""
        async with self.runtime.database.background() as connection:
            version = await connection.fetchval(
                "SELECT version FROM streams WHERE stream = $1", f"request/{request['id']}"
            )
        return f'"{version}"'

    def _envelope(
        self,
        event: Event,
        *,
        stream: str,
        version: int,
        case: str,
        origin: Origin,
        time: datetime,
    ) -> Envelope:
        sealed = {
            name: Sealed(key="elsewhere", ciphertext="c2VhbGVk")
            for name in event.secret_fields
            if getattr(event, name) is not None
        }
        return Envelope(
            id=uuid4(),
            source="/casebook/dispatch",
            type=event.type,
            subject=stream,
            streamversion=version,
            partitionkey=case,
            time=time,
            recordedtime=self.clock.now() + timedelta(microseconds=version),
            correlationid=case,
            actor="service:dispatch",
            origin=origin,
            audience=event.audience,
            data=event.model_copy(update=sealed).payload(),
        )

    async def _is_settled(self) -> bool:
        async with self.runtime.database.background() as connection:
            return await connection.fetchval(
                """SELECT NOT EXISTS (SELECT FROM outbox) AND NOT EXISTS (
                    SELECT FROM log.partitions p LEFT JOIN checkpoints c
                        ON c.partition = p.partition AND c.subscription = 'live'
                    WHERE p.next_offset > coalesce(c.next_offset, 0))"""
            )

    async def _timers_due(self) -> bool:
        async with self.runtime.database.background() as connection:
            return await connection.fetchval(
                "SELECT EXISTS (SELECT FROM timers WHERE status = 'pending' AND due_at <= $1)",
                self.clock.now(),
            )


async def _to_log(connection: Any, envelope: Envelope, record: str, digest: bytes) -> None:
    """Append a record to the log, as the relay of another service would."""
    place = await connection.fetchval(
        """UPDATE log.partitions SET next_offset = next_offset + 1 WHERE partition = $1
        RETURNING next_offset - 1""",
        partition(envelope.partitionkey),
    )
    await connection.execute(
        "INSERT INTO log.records VALUES ($1, $2, $3, $4, $5, $6)",
        partition(envelope.partitionkey),
        place,
        envelope.partitionkey,
        envelope.type,
        record,
        digest,
    )


@asynccontextmanager
async def open_desk(folder: Path) -> AsyncGenerator[Desk]:
    """Run the service on a database of its own."""
    key_file, jwks, master = folder / "key.json", folder / "jwks.json", folder / "master.key"
    new_key_file(key_file)
    write_jwks(jwks, key_file)
    new_master_key(master)
    clock = TestClock(datetime.now(UTC))
    async with migrated_database(postgres_for_tests(), SERVICE) as dsn:
        settings = Settings(
            database_url=dsn,
            jwks=str(jwks),
            jwt_issuer=ISSUER,
            jwt_audience=AUDIENCE,
            master_key_file=master,
            signing_key=key_file,
            poll_seconds=0.1,
        )
        app = create_service_app(SERVICE, router, settings=settings, clock=clock)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app=app),
                base_url="http://desk.test",
                event_hooks={"response": [watch_async]},
            ) as client,
        ):
            signer = Signer(key_file, ISSUER, AUDIENCE)
            yield Desk(client, app.state.runtime, clock, signer)


def types(response: httpx.Response) -> list[str]:
    """Return the types of a timeline, without what they have in common."""
    assert response.status_code == 200, response.text
    return [
        item["type"].removeprefix("casebook.").removesuffix(".v1")
        for item in response.json()["items"]
    ]


def problem(response: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of a refusal."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    document = orjson.loads(response.content)
    assert document["status"] == response.status_code
    return response.status_code, document["code"]


def request_id(request: Json) -> UUID:
    """Return the id of a receipt."""
    return UUID(request["id"])
