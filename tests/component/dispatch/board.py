"""The dispatch service on a real database, as people and the other services meet it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson

from casebook.dispatch.api import router
from casebook.dispatch.matcher import Matcher
from casebook.dispatch.service import SERVICE
from casebook.events.envelope import GENESIS, Envelope, Origin, chain
from casebook.events.event import Event
from casebook.events.kafka import partition
from casebook.events.request import RequestClassified, RequestPrioritised, RequestSubmitted
from casebook.events.values import Sealed
from casebook.kit.access.tokens import Signer, new_key_file
from casebook.kit.app import create_service_app
from casebook.kit.ids import source_id
from casebook.kit.keys import new_master_key
from casebook.kit.postgres.database import Database
from casebook.kit.runtime import Runtime
from casebook.kit.settings import Settings
from tests.support.conformance import watch_async
from tests.support.postgres import migrated_database, postgres_for_tests
from tests.support.tokens import AUDIENCE, ISSUER, TestClock, write_jwks

Json = dict[str, Any]
Headers = dict[str, str]
PATIENCE_SECONDS = 15.0
PROBLEM_TYPES = {"network": "infrastructure-maintenance", "security": "security-policy"}
SKILLS = {"network": "infrastructure", "security": "security"}


@dataclass
class Board:
    """The running service with its clock, and tokens for whoever is needed."""

    client: httpx.AsyncClient
    runtime: Runtime
    clock: TestClock
    signer: Signer
    _heads: dict[str, tuple[int, bytes]] = field(default_factory=dict[str, tuple[int, bytes]])
    _keys: "count[int]" = field(default_factory=count)

    def person(self, subject: str, *roles: str, sources: Sequence[str] = ()) -> Headers:
        """Return the headers that prove who somebody is."""
        token = self.signer.mint(subject, roles, None, sources, ttl=timedelta(hours=1))
        return {"Authorization": f"Bearer {token}"}

    @property
    def admin(self) -> Headers:
        return self.person("admin", "admin")

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
        return await self.client.request(method, f"/dispatch/v1{path}", headers=headers, json=body)

    async def read(self, path: str, who: Headers, **parameters: object) -> httpx.Response:
        """Send a GET."""
        return await self.client.get(
            f"/dispatch/v1{path}", headers=who, params={k: str(v) for k, v in parameters.items()}
        )

    async def work(
        self, request: UUID, name: str, who: Headers, body: Json | None = None
    ) -> httpx.Response:
        """Send a command about a request's work, having seen its current state."""
        method = "PUT" if name in {"acceptance", "start", "resolution"} else "POST"
        match = await self.etag(f"work-order/{request}")
        return await self.send(method, f"/work-orders/{request}/{name}", who, body, match=match)

    async def team(self, team: str, **agents: int) -> None:
        """Create a team and its agents: the agents' ids with their capacity."""
        await self._created("PUT", f"/teams/{team}", {"name": f"{team} 组"})
        for agent, capacity in agents.items():
            body = {"name": "李娜", "team": team, "capacity": capacity, "skills": skilled(team)}
            await self._created("PUT", f"/agents/{agent.replace('_', '.')}", body)
        await self.settled()

    async def change(self, agent: str, name: str, body: Json) -> httpx.Response:
        """Change a property of an agent."""
        match = await self.etag(f"agent/{agent}")
        path = f"/agents/{agent}/{name}"
        return await self.send("PUT", path, self.admin, body, match=match)

    async def submitted(
        self, team: str | None = "network", *, priority: int = 3, origin: Origin = "live"
    ) -> UUID:
        """Let intake have taken in a request for a team, and wait until it is worked on."""
        request = uuid4()
        await self.happened({f"request/{request}": submission(team, priority)}, origin=origin)
        return request

    async def happened(
        self,
        facts: Mapping[str, Sequence[Event]],
        *,
        key: str | None = None,
        origin: Origin = "live",
    ) -> None:
        """Let other services have said ``facts`` in the log, and wait until they are applied."""
        async with self.runtime.database.background() as connection, connection.transaction():
            for stream, events in facts.items():
                for event in events:
                    await self._append(connection, stream, event, origin, key)
        self.runtime.log_signal.set()
        await self.settled()

    async def published(self, source: str, subject: str, *events: Event) -> UUID:
        """Let another system publish facts about its request; return our id for it."""
        publisher = self.person("importer", "publisher", sources=[source])
        batch = [
            {
                "specversion": "1.0",
                "id": f"{subject}:{next(self._keys)}",
                "source": source,
                "type": event.type,
                "subject": subject,
                "time": self.clock.now().isoformat(),
                "sourcesequence": place,
                "data": event.payload(),
            }
            for place, event in enumerate(events, start=1)
        ]
        answer = await self.client.post(
            "/dispatch/v1/events",
            content=orjson.dumps(batch),
            headers=publisher | {"content-type": "application/cloudevents-batch+json"},
        )
        assert answer.status_code == 202, answer.text
        return source_id(source, "request", subject)

    async def settled(self) -> None:
        """Wait until nothing is left to publish or to read."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self._is_settled():
                self.runtime.signals.outbox.set()
                self.runtime.log_signal.set()
                await asyncio.sleep(0.02)

    async def passed(self, time: timedelta) -> None:
        """Let time pass, and wait until the reader knows that it has missed nothing."""
        self.clock.pass_(time)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.runtime.reader.caught_up_at != self.clock.now():
                self.runtime.log_signal.set()
                await asyncio.sleep(0.02)

    async def matched(self, request: UUID, *statuses: str) -> Json:
        """Wait until matching has dealt with a request's work; return its state."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                state = await self.state(f"work-order/{request}")
                if state.get("status") in (statuses or ("assigned",)):
                    return state
                await asyncio.sleep(0.02)

    async def state(self, stream: str) -> Json:
        """Return the stored state of a stream; empty if there is none."""
        async with self.runtime.database.background() as connection:
            state = await connection.fetchval("SELECT state FROM streams WHERE stream = $1", stream)
        return state or {}

    async def etag(self, stream: str) -> str:
        """Return the current ETag of an agent or a work order, as a client reads it."""
        answer = await self.read(f"/{stream.replace('/', 's/', 1)}", self.admin)
        return answer.headers["ETag"]

    async def facts(self, request: UUID) -> list[Envelope]:
        """Return the facts of a request's work order."""
        async with self.runtime.database.background() as connection:
            rows = await connection.fetch(
                "SELECT record FROM events WHERE stream = $1 ORDER BY version",
                f"work-order/{request}",
            )
        return [Envelope.from_record(row[0]) for row in rows]

    async def load(self) -> dict[str, int]:
        """Return how many work orders each agent holds open, by the guard's own table."""
        async with self.runtime.database.background() as connection:
            rows = await connection.fetch("SELECT agent, open FROM agent_load")
        return {row[0]: row[1] for row in rows}

    async def counted(self) -> dict[str, int]:
        """Return the same, counted anew from the work orders."""
        async with self.runtime.database.background() as connection:
            rows = await connection.fetch(
                """SELECT state->>'agent', count(*) FROM streams
                WHERE stream LIKE 'work-order/%' AND state->>'origin' = 'live'
                    AND state->>'agent' IS NOT NULL AND state->>'status' = ANY($1) GROUP BY 1""",
                ["assigned", "accepted", "in-progress", "waiting"],
            )
        return {row[0]: row[1] for row in rows}

    async def quiet(self) -> None:
        """Wait until matching has looked at everything twice without anything to decide."""
        for _ in range(2):
            await self.settled()
            await self._decided()
            while await self.matcher.match():
                pass

    @property
    def matcher(self) -> Matcher:
        """A matcher beside the one of the service."""
        return matcher_of(self.runtime, self.runtime.database)

    async def _decided(self) -> None:
        """Wait for the matcher of the service, whose work orders another one would skip."""
        async with self.runtime.database.transaction() as connection:
            await connection.execute(
                "SELECT FROM streams WHERE stream LIKE 'work-order/%' FOR UPDATE"
            )

    async def _created(self, method: str, path: str, body: Json) -> None:
        response = await self.send(method, path, self.admin, body)
        assert response.status_code == 200, response.text

    async def _append(
        self, connection: Any, stream: str, event: Event, origin: Origin, key: str | None
    ) -> None:
        """Append one fact to the log, as the relay of its owner would."""
        version, previous = self._heads.get(stream, (0, GENESIS))
        case = key or stream.rpartition("/")[2]
        sealed = {
            name: Sealed(key="elsewhere", ciphertext="c2VhbGVk")
            for name in event.secret_fields
            if getattr(event, name) is not None
        }
        envelope = Envelope(
            id=uuid4(),
            source="/casebook/intake",
            type=event.type,
            subject=stream,
            streamversion=version + 1,
            partitionkey=case,
            time=self.clock.now(),
            recordedtime=self.clock.now() + timedelta(microseconds=version),
            correlationid=case,
            actor="user:wang.fang",
            origin=origin,
            audience=event.audience,
            data=event.model_copy(update=sealed).payload(),
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        record = envelope.record()
        self._heads[stream] = version + 1, chain(previous, record)
        place = await connection.fetchval(
            """UPDATE log.partitions SET next_offset = next_offset + 1 WHERE partition = $1
            RETURNING next_offset - 1""",
            partition(case),
        )
        await connection.execute(
            "INSERT INTO log.records VALUES ($1, $2, $3, $4, $5, $6)",
            partition(case),
            place,
            case,
            event.type,
            record,
            self._heads[stream][1],
        )

    async def _is_settled(self) -> bool:
        async with self.runtime.database.background() as connection:
            return await connection.fetchval(
                """SELECT NOT EXISTS (SELECT FROM outbox) AND NOT EXISTS (
                    SELECT FROM log.partitions p LEFT JOIN checkpoints c
                        ON c.partition = p.partition AND c.subscription = 'live'
                    WHERE p.next_offset > coalesce(c.next_offset, 0))"""
            )


@asynccontextmanager
async def open_board(folder: Path) -> AsyncGenerator[Board]:
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
                base_url="http://board.test",
                event_hooks={"response": [watch_async]},
            ) as client,
        ):
            yield Board(client, app.state.runtime, clock, Signer(key_file, ISSUER, AUDIENCE))


def matcher_of(runtime: Runtime, database: Database) -> Matcher:
    """Return a matcher with the pools of ``database``."""
    return Matcher(
        database=database,
        store=runtime.store,
        clock=runtime.clock,
        signals=runtime.signals,
        poll_seconds=0.05,
    )


def submission(team: str | None, priority: int = 3) -> list[Event]:
    """Return the facts with which a request for a team comes in."""
    facts: list[Event] = [
        RequestSubmitted(number="REQ0000001", kind="incident", requester="wang.fang")
    ]
    if team is not None:
        facts.append(RequestClassified(problem_type=PROBLEM_TYPES.get(team, "other")))
    return [*facts, RequestPrioritised(impact=2, urgency=2, priority=priority)]


def skilled(team: str) -> Json:
    """Return the skills that work for a team asks for, at the level that it asks for."""
    return {SKILLS[team]: 3} if team in SKILLS else {}


def types(facts: list[Envelope]) -> list[str]:
    """Return the types of facts, without what they have in common."""
    return [fact.type.removeprefix("casebook.work-order.").removesuffix(".v1") for fact in facts]


def problem(response: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of a refusal."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    document = orjson.loads(response.content)
    assert document["status"] == response.status_code
    return response.status_code, document["code"]
