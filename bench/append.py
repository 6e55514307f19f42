"""Appends by sixteen writers: through the store, by its bare statement, and with eventsourcing.

The product does what a command does around its rule: it takes a connection, opens a transaction,
locks the heads of the streams, seals, chains and folds, and writes events, heads and outbox. The
limit sends the very statement that the store sends, with values made beforehand, and nothing
else: one round trip, and PostgreSQL commits by itself. The peer appends the same event.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.measuring import (
    LIMIT,
    BadBench,
    Bench,
    Effort,
    Measured,
    Peer,
    Report,
    Run,
    check,
    interleaved,
)
from bench.peers import timed_peer
from bench.server import WRITERS, Intake, intake
from casebook.events.request import RequestClassified
from casebook.intake.service import SERVICE
from casebook.kit.clock import SystemClock
from casebook.kit.ids import new_id
from casebook.kit.keys import KeyRing
from casebook.kit.postgres.database import Connection
from casebook.kit.store.store import Cause, Store

TABLES = ("events", "streams", "outbox")
EVENT = RequestClassified(problem_type="software-fault", category="打印", subcategory="三楼")
PEER = "eventsourcing"

Statement = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Load:
    """How many events are appended, and how many of them in a transaction, also by the peer."""

    events: int
    size: int
    peer_events: int
    peer_size: int


ONE = Load(events=4_000, size=1, peer_events=1_600, peer_size=1)
HUNDRED = Load(events=32_000, size=100, peer_events=19_200, peer_size=200)


@dataclass(slots=True)
class Recorder:
    """A connection that writes nothing down but what it was asked to execute."""

    statements: list[Statement] = field(default_factory=list[Statement])

    async def fetch(self, query: str, *values: object) -> list[Any]:
        """Find nothing."""
        return []

    async def execute(self, query: str, *values: object) -> str:
        """Remember a statement."""
        self.statements.append((query, values))
        return ""


def new_store() -> Store:
    """Return the store of intake; its events here have no secret text, so it needs no key."""
    return Store(SERVICE, SystemClock(), KeyRing(SERVICE.name, None))


def new_cases(count: int) -> list[str]:
    """Return the keys of new cases."""
    return [str(new_id()) for _ in range(count)]


async def append(store: Store, connection: Connection, cases: Sequence[str]) -> None:
    """Append one event to the stream of each case, in the transaction that is open."""
    work = store.begin(connection)
    await work.lock([f"request/{case}" for case in cases])
    for case in cases:
        await work.append(f"request/{case}", case, [EVENT], Cause(actor="user:bench"))
    await work.flush()


async def recorded(store: Store, cases: Sequence[str]) -> Statement:
    """Return the one statement that appends an event to each of some new cases.

    :raises BadBench: when the store needs more than one: then it is not the limit any more.
    """
    recorder = Recorder()
    await append(store, recorder, cases)  # pyright: ignore[reportArgumentType] - all it needs
    if len(recorder.statements) != 1:
        raise BadBench(f"an append is {len(recorder.statements)} statements instead of one")
    return recorder.statements[0]


class _Appends:
    """Appends so many events, by each side, to empty tables."""

    def __init__(self, place: Intake, load: Load, effort: Effort) -> None:
        self._place = place
        self._load = load
        self._store = new_store()
        self._each = _transactions(effort, load.events, load.size)
        self._peer_each = _transactions(effort, load.peer_events, load.peer_size)

    async def product(self) -> Run:
        """Measure the store."""
        work = [self._work() for _ in range(WRITERS)]
        await self._empty()
        started = time.perf_counter()
        async with asyncio.TaskGroup() as writers:
            for transactions in work:
                writers.create_task(self._through_the_store(transactions))
        return await self._run(time.perf_counter() - started)

    async def limit(self) -> Run:
        """Measure the bare statement."""
        work = [
            [await recorded(self._store, cases) for cases in self._work()] for _ in range(WRITERS)
        ]
        await self._empty()
        async with AsyncExitStack() as stack:
            connections = [
                await stack.enter_async_context(self._place.connection()) for _ in range(WRITERS)
            ]
            started = time.perf_counter()
            async with asyncio.TaskGroup() as writers:
                for connection, statements in zip(connections, work, strict=True):
                    writers.create_task(_by_statement(connection, statements))
            seconds = time.perf_counter() - started
        return await self._run(seconds)

    async def peer(self) -> Run:
        """Measure the application of ``eventsourcing``, on the same server."""
        size = self._load.peer_size
        async with self._place.connection() as connection:
            await connection.execute("DROP SCHEMA IF EXISTS eventsourcing CASCADE")
            await connection.execute("CREATE SCHEMA eventsourcing")
        run = await timed_peer(
            "eventsourcing_append",
            dsn=self._place.dsn, writers=WRITERS, transactions=self._peer_each, size=size,
        )  # fmt: skip
        written = await self._place.count("eventsourcing.intake_events")
        check("events of the peer", written, run.events + WRITERS * size)  # each first connected
        return run

    def _work(self) -> list[list[str]]:
        """Return the cases of one writer, transaction by transaction."""
        return [new_cases(self._load.size) for _ in range(self._each)]

    async def _through_the_store(self, transactions: Sequence[Sequence[str]]) -> None:
        """Append in one transaction after the other."""
        for cases in transactions:
            async with self._place.database.http() as connection, connection.transaction():
                await append(self._store, connection, cases)

    async def _empty(self) -> None:
        """Begin with empty tables."""
        async with self._place.connection() as connection:
            await connection.execute(f"TRUNCATE {', '.join(TABLES)}")

    async def _run(self, seconds: float) -> Run:
        """Return what was written."""
        expected = self._each * WRITERS * self._load.size
        for table in TABLES:
            check(table, await self._place.count(table), expected)
        return Run(expected, seconds)


def _transactions(effort: Effort, events: int, size: int) -> int:
    """Return in how many transactions each writer appends its share of so many events."""
    return -(-effort.amount(events) // (WRITERS * size))


async def _by_statement(connection: Connection, statements: Sequence[Statement]) -> None:
    """Execute one statement after the other; each is a transaction."""
    for query, values in statements:
        await connection.execute(query, *values)


async def _measure(load: Load, effort: Effort, say: Report) -> Measured:
    """Measure all in turns, after a short run of ours that opens connections and plans."""
    async with intake() as place:
        warm = _Appends(place, Load(WRITERS * 4, 1, 0, 1), Effort())
        await warm.product()
        await warm.limit()
        appends = _Appends(place, load, effort)
        others = {LIMIT: appends.limit, PEER: appends.peer}
        return Measured(await interleaved(effort, appends.product, others, say), place.settings)


APPEND = Bench(
    name="append",
    product=f"the event store, 1 event a transaction, {WRITERS} writers",
    limit=f"the same statement by asyncpg alone, {WRITERS} connections",
    target=0.7,
    peers=(Peer(PEER, f"aggregates saved one by one, {WRITERS} threads", target=4.0),),
    measure=partial(_measure, ONE),
)
APPEND_100 = Bench(
    name="append-100",
    product=f"the event store, 100 events a transaction, {WRITERS} writers",
    limit=f"the same statement by asyncpg alone, {WRITERS} connections",
    target=0.6,
    peers=(Peer(PEER, f"200 aggregates saved together, {WRITERS} threads", target=1.5),),
    measure=partial(_measure, HUNDRED),
)
