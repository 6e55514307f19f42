"""The tables in memory mean what PostgreSQL means: schedules are sent to both, and compared.

A seed runs in memory and notes every statement of every session in the order of the schedule, with
its waits for locks. A real PostgreSQL then gets the same statements on as many connections, in the
same order. Each must answer the same, and the tables must be the same in the end. Not compared is
what follows from the server's own clock. In memory, one who waits for a lock may be overtaken by a
later one, which PostgreSQL does not allow; a seed with such an overtaking cannot be sent there.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from casebook.kit.ingress import promoter
from casebook.kit.postgres.pool import prepare
from casebook.kit.setup.migrations import migrate
from tests.simulation.journal import Entry, Journal
from tests.simulation.simulation import run_seed
from tests.simulation.stage import SERVICES, staged
from tests.simulation.tables import Schema
from tests.support.postgres import fresh_database, postgres_for_tests

SEEDS = (3, 5, 16)
PATIENCE = "'2s'"
SENT_SECONDS = 0.05
"""How long a statement that will wait has to reach its lock."""
BY_SERVER_CLOCK = frozenset({promoter._TICK})


class Replay:
    """Sends a journal to a real server."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._free: dict[str, list[Any]] = {}
        self._sessions: dict[tuple[int, int], Any] = {}
        self._running: dict[int, asyncio.Task[Any]] = {}
        self._savepoints: dict[tuple[int, int], int] = {}
        self._journal = 0
        self._impatient: set[int] = set()
        self.compared = 0

    async def send(self, journal: Journal) -> None:
        """Send everything in the order of the schedule, and compare what comes back."""
        self._journal += 1
        order = journal.order
        self._impatient = {
            entry.session
            for _, entry in order
            if isinstance(entry.result, asyncpg.LockNotAvailableError)
        }
        for place, (what, entry) in enumerate(order):
            if what == "start":
                await self._start(entry)
                following = order[place + 1][1] if place + 1 < len(order) else None
                if following is not entry:
                    await asyncio.sleep(SENT_SECONDS)
            elif what == "end":
                await self._compare(entry)
            else:
                await self._control(entry)

    async def close(self) -> None:
        """Close every connection."""
        for connections in (*self._free.values(), self._sessions.values()):
            for connection in connections:
                await connection.close()

    async def _session(self, entry: Entry) -> Any:
        name = (self._journal, entry.session)
        connection = self._sessions.get(name)
        if connection is None:
            free = self._free.setdefault(entry.schema, [])
            connection = free.pop() if free else await self._connect(entry.schema)
            self._sessions[name] = connection
            await connection.execute("BEGIN")
        return connection

    async def _connect(self, schema: str) -> Any:
        connection = await asyncpg.connect(self._dsn, server_settings={"search_path": schema})
        await prepare(connection)
        return connection

    async def _start(self, entry: Entry) -> None:
        connection = await self._session(entry)
        # Two virtual seconds may take longer here; only what timed out there has to, here too.
        patient = entry.session not in self._impatient
        sql = entry.sql.replace(PATIENCE, "'0'") if patient else entry.sql
        sent = connection.fetch(sql, *entry.arguments)
        self._running[id(entry)] = asyncio.create_task(sent)
        await asyncio.sleep(0)

    async def _compare(self, entry: Entry) -> None:
        """Compare the answer of the server with the one from memory."""
        task = self._running.pop(id(entry), None)
        if task is None:
            return  # the server ended the session while it waited
        try:
            found: Any = await asyncio.wait_for(task, 10)
        except asyncpg.PostgresError as error:
            found = error
        except TimeoutError:
            pytest.fail(f"waits here, not in memory: {entry.schema} {entry.sql} {entry.arguments}")
        if entry.sql in BY_SERVER_CLOCK:
            return
        expected = entry.result
        self.compared += 1
        if isinstance(expected, Exception):
            assert type(found) is type(expected), (entry.sql, expected, found)
        else:
            assert not isinstance(found, Exception), (entry.sql, entry.arguments, found)
            real, memory = _answer(found), _answer(expected)
            assert real == memory, f"{entry.sql} {entry.arguments}: {set(real) ^ set(memory)}"

    async def _control(self, entry: Entry) -> None:
        """Send a savepoint, or the end of a transaction, whose process may have died waiting."""
        name = (self._journal, entry.session)
        connection = self._sessions[name]
        depth = self._savepoints.get(name, 0)
        match entry.sql:
            case "SAVEPOINT":
                await connection.execute(f"SAVEPOINT s{depth}")
                self._savepoints[name] = depth + 1
            case "RELEASE" | "ROLLBACK TO":
                kept = entry.sql == "RELEASE"
                word = "RELEASE" if kept else "ROLLBACK TO"
                await connection.execute(f"{word} s{depth - 1}")
                if not kept:
                    await connection.execute(f"RELEASE s{depth - 1}")
                self._savepoints[name] = depth - 1
            case _:
                await self._give_up_waiting(connection)
                await connection.execute(entry.sql)
                self._free.setdefault(entry.schema, []).append(self._sessions.pop(name))

    async def _give_up_waiting(self, connection: Any) -> None:
        """Cancel what a session still waits for: its process is gone."""
        for key, task in list(self._running.items()):
            coroutine: Any = task.get_coro()
            if coroutine.cr_frame is not None and coroutine.cr_frame.f_locals["self"] is connection:
                task.cancel()
                with suppress(asyncio.CancelledError, asyncpg.PostgresError):
                    await task
                del self._running[key]


def _answer(rows: Any) -> list[str]:
    """Return rows in a form in which both answers are alike; the order of rows is not promised."""
    return sorted(repr([_plain(row[name]) for name in _names(row)]) for row in rows)


def _names(row: Any) -> list[Any]:
    names = list(row.keys()) if hasattr(row, "keys") else list(range(len(row)))
    if len(row) != len(names):  # a meaning may name more columns than it returns
        names = names[: len(row)]
    return [name for name in names if name != "clock"]


def _plain(value: Any) -> Any:
    """Return a value without the differences of the drivers: UUID types, the form of JSON."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value[:1] in {"{", "["}:
        value = orjson.loads(value)
    if isinstance(value, dict | list | tuple):
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return value


TABLES = {
    "events": "position, id, stream, version, type, case_key, partition, recordedtime, digest,"
    " record, hash",
    "streams": "stream, version, hash, recordedtime, case_key, state",
    "outbox": "position, partition",
    "timers": "id, stream, case_key, kind, partition, due_at, status, fired_at, causationid,"
    " traceparent",
    "parked": "subscription, key, sequence, partition, offset, record, hash, error, attempts,"
    " parked_at, status",
    "quarantine": "id, reason, detail, channel, source, source_event, case_key, sequence, type,"
    " digest, body, key_id, received_at",
    "inbox": "position, id, source, source_event, subject, publisher, sequence, type, stream,"
    " case_key, time, data, digest, traceparent, actor, refusal, seen",
    "idempotency": "fingerprint, status, headers, body",
}
"""Tables whose rows are kept by column name in memory."""


async def _compare_tables(connection: Any, schema: Schema) -> int:
    """Compare the tables of a service row by row; return how many rows there were."""
    await connection.execute(f"SET search_path TO {schema.name}")
    count = 0
    for table, columns in TABLES.items():
        names = columns.split(", ")
        quoted = ", ".join(f'"{name}"' for name in names)
        found = await connection.fetch(f"SELECT {quoted} FROM {table}")
        kept = [[row[name] for name in names] for row in schema.table(table).values()]
        count += _same(schema.name, table, [list(row) for row in found], kept)
    plain = {
        "cases": list(schema.table("cases").values()),
        "checkpoints": [[*place, at] for place, at in schema.table("checkpoints").items()],
        "members": list(schema.table("members").items()),
        "deviations": [[*place, n] for place, n in schema.table("deviations").items()],
    }
    for projection in SERVICES[schema.name].projections:
        table = projection.physical(projection.version, 1)
        plain[table] = list(schema.table(table).values())
    for table, kept in plain.items():
        found = await connection.fetch(f"SELECT * FROM {table}")
        count += _same(schema.name, table, [list(row) for row in found], kept)
    return count


def _same(schema: str, table: str, found: list[Any], kept: list[Any]) -> int:
    """Compare the rows of one table."""
    real, memory = (
        sorted(repr([_plain(v) for v in row]) for row in rows) for rows in (found, kept)
    )
    assert real == memory, f"{schema}.{table}: {set(real) ^ set(memory)}"
    return len(real)


@asynccontextmanager
async def _migrated() -> AsyncGenerator[str]:
    """Create a database with the schemas of all services."""
    async with fresh_database(postgres_for_tests()) as dsn:
        connection = await asyncpg.connect(dsn)
        for service in SERVICES.values():
            await migrate(connection, service)
        await connection.close()
        yield dsn


@pytest.mark.parametrize("seed", SEEDS)
async def test_memory_and_postgresql_agree(seed: int) -> None:
    prepared, journal = Journal(), Journal()
    outcome = await asyncio.to_thread(_in_memory, seed, prepared, journal)
    assert outcome.failure is None
    async with _migrated() as dsn:
        replay = Replay(dsn)
        try:
            await replay.send(prepared)
            await replay.send(journal)
            assert replay.compared > 1_000
            connection = await asyncpg.connect(dsn)
            await prepare(connection)
            for schema in outcome.schemas.values():
                assert await _compare_tables(connection, schema) > 20
            await connection.close()
        finally:
            await replay.close()


def _in_memory(seed: int, prepared: Journal, journal: Journal) -> Any:
    """Run a seed in a thread of its own, which has no event loop yet."""
    with staged(prepared) as stage:
        return run_seed(seed, stage, journal=journal)
