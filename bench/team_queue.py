"""From a submission to the queue of a team: two hops over Kafka, between five processes.

Intake answers the command; dispatch reads of it, opens a work order, gives it to the default team,
and reads of that too. The queue is looked at in the database, by the key of the request; at the end
it is read once over HTTP.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg

from bench.client import Connection, request
from bench.desk import SUBMISSION
from bench.kafka import broker
from bench.measuring import (
    BadBench,
    Bench,
    Budget,
    Effort,
    Measured,
    Report,
    Run,
    check,
    interleaved,
    percentiles,
)
from bench.server import durable_settings, temporary_home
from bench.watching import Watch
from casebook.kit.access.tokens import Signer
from casebook.kit.ids import new_id
from casebook.kit.postgres import embedded as embedded_postgres
from tests.support.production import SERVICES, Production

PER_SECOND, PER_SECOND_MORE = 25, 50
SUBMISSIONS = 200
TEAM = "service-desk"
WARM_UP = 20
BUSY = 503
FIGURE = "p50_ms"
_VISIBLE = f"""
SELECT key FROM dispatch.team_queue
WHERE key = ANY($1::uuid[]) AND team = '{TEAM}' AND closed_at IS NULL
"""
_SUBMITTED = "SELECT count(*) FROM intake.streams WHERE stream LIKE 'request/%'"


@dataclass(slots=True)
class _Deployment:
    """Five services whose queue is watched; connections to intake are kept."""

    production: Production
    connection: "asyncpg.Connection[asyncpg.Record]"
    submissions: int
    _idle: list[Connection] = field(default_factory=list[Connection])
    _begun: int = 0

    async def prepare(self) -> None:
        """Open the team that new requests go to, and let it get some."""
        await self._ask("dispatch", "PUT", f"/teams/{TEAM}", {"name": "服务台"})
        await self._submit_many(WARM_UP, WARM_UP)

    async def close(self) -> None:
        """Close the connections that were kept."""
        for connection in self._idle:
            await connection.close()

    async def product(self) -> Run:
        """Submit at one pace, then at twice that."""
        usual = await self._submit_many(self.submissions, PER_SECOND)
        more = await self._submit_many(self.submissions, PER_SECOND_MORE)
        check("requests", int(await self.connection.fetchval(_SUBMITTED)), self._begun)
        if not (await self._ask("dispatch", "GET", f"/queues/{TEAM}"))["items"]:
            raise BadBench("the queue is empty over HTTP")
        notes = percentiles(usual) | {
            f"at_{PER_SECOND_MORE}_{name}": value for name, value in percentiles(more).items()
        }
        return Run(2 * self.submissions, sum(usual) + sum(more), notes)

    async def _submit_many(self, count: int, per_second: int) -> list[float]:
        """Submit so many requests; return after how many seconds each was in the queue."""
        watch = Watch(self.connection, _VISIBLE)
        await watch.pace(self._submit, count, per_second)
        self._begun += count
        return watch.latencies

    async def _submit(self) -> UUID:
        """Submit one request, again while the service is too busy; return its id."""
        connection = self._idle.pop() if self._idle else Connection(self._port("intake"))
        body = json.dumps(SUBMISSION).encode()
        content = request("POST", "/intake/v1/requests", self._headers("requester"), body)
        answer = await connection.ask(content)
        while answer.status == BUSY:
            answer = await connection.ask(content)
        self._idle.append(connection)
        check("status", answer.status, 201)
        return UUID(json.loads(answer.body)["id"])

    async def _ask(self, service: str, method: str, path: str, body: Any = None) -> Any:
        """Ask a service as an administrator; return the document of its answer."""
        connection = Connection(self._port(service))
        content = b"" if body is None else json.dumps(body).encode()
        answer = await connection.ask(
            request(method, f"/{service}/v1{path}", self._headers("admin"), content)
        )
        await connection.close()
        if answer.status not in {200, 201}:
            raise BadBench(f"{service} answers {answer.status}: {answer.body[:500]!r}")
        return json.loads(answer.body)

    def _headers(self, role: str) -> dict[str, str]:
        """Return who asks, and a key of its own."""
        signer = Signer(self.production.home.signing_key, "casebook", "casebook")
        token = signer.mint("bench", (role,), "acme")
        return {"Authorization": f"Bearer {token}", "Idempotency-Key": str(new_id())}

    def _port(self, service: str) -> int:
        """Return where a service listens."""
        return int(self.production.urls[service].rpartition(":")[2])


@asynccontextmanager
async def _deployment(submissions: int) -> AsyncGenerator[tuple[_Deployment, dict[str, str]]]:
    """Run five services on one PostgreSQL and one broker."""
    with temporary_home() as home:
        async with embedded_postgres.running(home) as server:
            production = Production(home, server.dsn, await broker())
            await asyncio.to_thread(production.init)
            connection = await asyncpg.connect(server.dsn)
            deployment = _Deployment(production, connection, submissions)
            try:
                await asyncio.to_thread(production.start_all, *SERVICES)
                await deployment.prepare()
                yield deployment, await durable_settings(connection)
            finally:
                await deployment.close()
                await asyncio.to_thread(production.stop)
                await connection.close()


async def _measure(effort: Effort, say: Report) -> Measured:
    """Measure again and again."""
    async with _deployment(effort.amount(SUBMISSIONS, least=10)) as (deployment, settings):
        return Measured(await interleaved(effort, deployment.product, {}, say, FIGURE), settings)


QUEUE = Bench(
    name="queue",
    product=f"submission until it is in the team queue, five processes, {PER_SECOND} a second",
    limit=None,
    target=None,
    measure=_measure,
    budgets=(Budget("p95_ms", 100.0),),
    unit="ms",
    figure=FIGURE,
)
