"""A service desk over HTTP: submissions and a list of open requests, by Casebook and by others.

The product is the intake service as production runs it, with one worker: identity, limits, the
policy, encryption, the chain of hashes, idempotency, and in the same process the relay and the
reader at work. The limit is :mod:`bench.bare_app`; the peer is a django-helpdesk site with two
workers. All three keep their data on one server.
"""

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import asyncpg

from bench.bare_app import TABLES
from bench.client import Answer, Connection, Driven, drive, request
from bench.filling import fill, list_query
from bench.measuring import (
    LIMIT,
    BadBench,
    Bench,
    Budget,
    Effort,
    Measure,
    Measured,
    Peer,
    Report,
    Run,
    check,
    interleaved,
    percentiles,
)
from bench.peers import run_peer
from bench.server import durable_settings, temporary_home
from bench.serving import helpdesk_server, limit_server
from casebook.kit.access.tokens import Signer
from casebook.kit.ids import new_id
from casebook.kit.postgres import embedded as embedded_postgres
from tests.support.production import Production

CONNECTIONS = 16
SUBMISSIONS, PEER_SUBMISSIONS = 2_000, 120
OPEN_REQUESTS, PAGE = 20_000, 25
READS, PEER_READS, READS_ALONE = 2_000, 32, 200
REQUEST_TRACKER_A_SECOND = 50
"""Lists of Request Tracker, measured once on two cores: for orientation, not in the run."""
SETTLED_SECONDS_MAX = 600.0
PEER = "django-helpdesk"
SUBMISSION = {
    "kind": "incident",
    "title": "邮件无法发送",
    "description": "从今天早上开始，所有发出的邮件都被退回。",
    "impact": 2,
    "urgency": 1,
}
_CSRF = re.compile(rb'name="csrfmiddlewaretoken" value="([^"]+)"')
_CSRF_COOKIE = re.compile(rb"\r\nset-cookie: csrftoken=([^;]+)", re.IGNORECASE)
_SETTLED = """
SELECT NOT EXISTS (SELECT FROM intake.outbox) AND
    (SELECT coalesce(sum(next_offset), 0) FROM intake.checkpoints WHERE subscription = 'live')
    = (SELECT sum(next_offset) FROM log.partitions)
"""


@dataclass(frozen=True, slots=True)
class Desk:
    """The three servers, and a connection to their database to count with."""

    connection: "asyncpg.Connection[asyncpg.Record]"
    production: Production
    product_port: int
    limit_port: int
    helpdesk_port: int
    helpdesk: Mapping[str, Any]
    settings: Mapping[str, str]

    def token(self, role: str) -> str:
        """Return the header that proves somebody of a role."""
        signer = Signer(self.production.home.signing_key, "casebook", "casebook")
        return f"Bearer {signer.mint('bench', (role,), 'acme')}"

    async def count(self, table: str) -> int:
        """Return how many rows a table has."""
        return int(await self.connection.fetchval(f"SELECT count(*) FROM {table}"))

    async def settle(self) -> None:
        """Wait until the service has nothing left to publish or to read."""
        async with asyncio.timeout(SETTLED_SECONDS_MAX):
            while not await self.connection.fetchval(_SETTLED):  # noqa: ASYNC110
                await asyncio.sleep(0.1)


@asynccontextmanager
async def desk(open_requests: int) -> AsyncGenerator[Desk]:
    """Run the three servers, each with so many open requests."""
    with temporary_home() as home:
        async with embedded_postgres.running(home) as server:
            production = Production(home, server.dsn, bootstrap="")
            await asyncio.to_thread(production.init)
            connection = await asyncpg.connect(server.dsn)
            try:
                await _prepare_limit(connection)
                await connection.execute("CREATE SCHEMA helpdesk")
                helpdesk = await run_peer("helpdesk_prepare", dsn=server.dsn, tickets=open_requests)
                await fill(server.dsn, production.home.master_key, open_requests, SUBMISSION)
                settings = await durable_settings(connection)
                query = json.dumps(list_query(PAGE))
                async with (
                    _intake(production) as product,
                    limit_server(BARE_DSN=server.dsn, BARE_LIST=query) as limit,
                    helpdesk_server(server.dsn) as peer,
                ):
                    place = Desk(connection, production, product, limit, peer, helpdesk, settings)
                    await place.settle()
                    await connection.execute("VACUUM ANALYZE")
                    yield place
            finally:
                await connection.close()


@asynccontextmanager
async def _intake(production: Production) -> AsyncGenerator[int]:
    """Run the intake service; yield its port."""
    process = production.start("intake")
    try:
        await asyncio.to_thread(process.wait_until_ready)
        yield int(process.url.rpartition(":")[2])
    finally:
        await asyncio.to_thread(production.stop)


async def _prepare_limit(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Create tables for the limit, of the same shape as those of intake."""
    await connection.execute("CREATE SCHEMA bare; CREATE SEQUENCE bare.numbers")
    for table in TABLES:
        await connection.execute(f"CREATE TABLE bare.{table} (LIKE intake.{table} INCLUDING ALL)")


class _Submissions:
    """Submits so many requests to each."""

    def __init__(self, place: Desk, effort: Effort) -> None:
        self._place = place
        self._count = effort.amount(SUBMISSIONS, least=CONNECTIONS)
        self._peer_count = effort.amount(PEER_SUBMISSIONS, least=CONNECTIONS)
        self._token = place.token("requester")

    async def product(self) -> Run:
        """Measure Casebook; count streams and stored answers."""
        run = await self._submit(
            self._place.product_port,
            "/intake/v1/requests",
            ("intake.streams", "intake.idempotency"),
        )
        await self._place.settle()
        return run

    async def limit(self) -> Run:
        """Measure the bare application; count the same."""
        tables = ("bare.streams", "bare.idempotency")
        return await self._submit(self._place.limit_port, "/requests", tables)

    async def peer(self) -> Run:
        """Measure the form of django-helpdesk; count tickets."""
        form = await self._form()
        return await self._drive(
            self._place.helpdesk_port, [form] * self._peer_count, ("helpdesk.helpdesk_ticket",), 302
        )

    async def _submit(self, port: int, path: str, tables: Sequence[str]) -> Run:
        """Submit over JSON, each request with a key of its own."""
        body = json.dumps(SUBMISSION).encode()
        contents = [
            request(
                "POST", path, {"Authorization": self._token, "Idempotency-Key": str(new_id())}, body
            )
            for _ in range(self._count)
        ]
        return await self._drive(port, contents, tables, 201)

    async def _drive(
        self, port: int, contents: Sequence[bytes], tables: Sequence[str], status: int
    ) -> Run:
        """Send the requests, and count the rows that they leave in each table."""
        before = [await self._place.count(table) for table in tables]
        driven = await drive(port, contents, connections=CONNECTIONS, status=status)
        for table, rows in zip(tables, before, strict=True):
            check(table, await self._place.count(table) - rows, len(contents))
        return Run(len(contents), driven.seconds, percentiles(driven.latencies))

    async def _form(self) -> bytes:
        """Return the filled form, with the token that its page holds."""
        path = "/tickets/submit/"
        page = await _ask(self._place.helpdesk_port, request("GET", path, {}))
        token, cookie = _CSRF.search(page.body), _CSRF_COOKIE.search(page.head)
        if token is None or cookie is None:
            raise BadBench(f"the page of the form has no token: {page.status}")
        fields = {
            "csrfmiddlewaretoken": token[1].decode(),
            "queue": self._place.helpdesk["queue"],
            "title": SUBMISSION["title"],
            "body": SUBMISSION["description"],
            "priority": "3",
            "submitter_email": "li.na@bench.test",
        }
        headers = {"Cookie": f"csrftoken={cookie[1].decode()}"}
        kind = "application/x-www-form-urlencoded"
        return request("POST", path, headers, urlencode(fields).encode(), kind)


class _Lists:
    """Reads the first page of the open requests, again and again."""

    def __init__(self, place: Desk, effort: Effort) -> None:
        self._place = place
        self._count = effort.amount(READS, least=CONNECTIONS)
        self._alone = effort.amount(READS_ALONE, least=CONNECTIONS)
        self._peer_count = effort.amount(PEER_READS, least=CONNECTIONS)
        query = {"filtering": {"status__in": [1]}, "sorting": "created", "sortreverse": True}
        encoded = quote(b64encode(json.dumps(query).encode()).decode(), safe="")
        cookie = {"Cookie": f"sessionid={place.helpdesk['session']}"}
        address = f"/intake/v1/requests?status=open&limit={PAGE}"
        self._ours = request("GET", address, {"Authorization": place.token("admin")})
        self._bare = request("GET", "/requests", {})
        self._theirs = request(
            "GET", f"/datatables_ticket_list/{encoded}?start=0&length={PAGE}", cookie
        )

    async def check(self) -> None:
        """Look once whether each list is one of so many requests."""
        place = self._place
        ours = json.loads((await _ask(place.product_port, self._ours)).body)["items"]
        bare = json.loads((await _ask(place.limit_port, self._bare)).body)
        theirs = json.loads((await _ask(place.helpdesk_port, self._theirs)).body)["data"]
        check("requests of a page", len(ours), PAGE)
        check("titles of a page", sum(item["title"] == SUBMISSION["title"] for item in ours), PAGE)
        check("rows of the limit", len(bare), PAGE + 1)  # the one beyond says that there are more
        check("tickets of a page", len(theirs), PAGE)

    async def product(self) -> Run:
        """Measure Casebook with all connections, then the latency with one."""
        driven = await self._read(self._place.product_port, self._ours, self._count)
        alone = await drive(
            self._place.product_port, [self._ours] * self._alone, connections=1, status=200
        )
        rate = self._count / driven.seconds
        alone_ms = {f"alone_{name}": value for name, value in percentiles(alone.latencies).items()}
        times = {"times_request_tracker": rate / REQUEST_TRACKER_A_SECOND}
        return Run(self._count, driven.seconds, {**alone_ms, **times})

    async def limit(self) -> Run:
        """Measure the bare application."""
        driven = await self._read(self._place.limit_port, self._bare, self._count)
        return Run(self._count, driven.seconds)

    async def peer(self) -> Run:
        """Measure what the list of django-helpdesk asks its server for."""
        driven = await self._read(self._place.helpdesk_port, self._theirs, self._peer_count)
        return Run(self._peer_count, driven.seconds)

    async def _read(self, port: int, content: bytes, count: int) -> Driven:
        """Read so many times, over all connections."""
        return await drive(port, [content] * count, connections=CONNECTIONS, status=200)


async def _ask(port: int, content: bytes) -> Answer:
    """Send one request over a connection of its own."""
    connection = Connection(port)
    try:
        return await connection.ask(content)
    finally:
        await connection.close()


async def _measure_submissions(effort: Effort, say: Report) -> Measured:
    """Measure all three in turns, after a few submissions to each."""
    async with desk(0) as place:
        warm = _Submissions(place, Effort(scale=0))
        for side in (warm.product, warm.limit, warm.peer):
            await side()
        submissions = _Submissions(place, effort)
        others: dict[str, Measure] = {LIMIT: submissions.limit, PEER: submissions.peer}
        return Measured(await interleaved(effort, submissions.product, others, say), place.settings)


async def _measure_lists(effort: Effort, say: Report) -> Measured:
    """Measure all three in turns, after a look at what they list."""
    async with desk(effort.amount(OPEN_REQUESTS, least=PAGE + 1)) as place:
        lists = _Lists(place, effort)
        await lists.check()
        others: dict[str, Measure] = {LIMIT: lists.limit, PEER: lists.peer}
        return Measured(await interleaved(effort, lists.product, others, say), place.settings)


SUBMIT = Bench(
    name="submit",
    product=f"a request submitted to intake over HTTP, {CONNECTIONS} connections, one worker",
    limit="bare FastAPI writing the same rows in one statement",
    target=0.6,
    peers=(Peer(PEER, "its form, two workers", target=12.0),),
    measure=_measure_submissions,
    unit="requests/s",
)
LIST = Bench(
    name="list",
    product=f"{PAGE} of {OPEN_REQUESTS:,} open requests, {CONNECTIONS} connections, one worker",
    limit="bare FastAPI running the same query",
    target=0.5,
    peers=(Peer(PEER, "the data of its list, two workers", target=20.0),),
    budgets=(Budget("alone_p95_ms", 10.0),),
    measure=_measure_lists,
    unit="lists/s",
)
