"""PostgreSQL through asyncpg: pools, transactions, and SQLAlchemy Core statements run on them.

Transactions are explicit and owned by the kit; service code never commits. SQLAlchemy only
builds statements, it never holds a connection (decisions 3.4).

A connection that is cut off says so, and one whose packets vanish does not. What waits for long
therefore asks whether the server still answers anybody (:class:`_Watch`, ADR 0051).
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import orjson
from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.sql.compiler import SQLCompiler

from casebook.kit.logging import get_logger

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

_DIALECT = asyncpg_dialect.dialect()
_LOG = get_logger("database")

REQUEST_PATIENCE_SECONDS = 0.5
"""How long a request waits for the server before it asks whether anybody is there."""
WORK_PATIENCE_SECONDS = 10.0
"""The same for background work, which nobody waits for."""
PROBE_SECONDS_MAX = 1.2
"""How long the answer to that may take; with the patience, less than two seconds."""
PROBE_FRESH_SECONDS = 0.5
_SESSION = {
    "timezone": "UTC",
    # The server lets go of what a process holds that hangs, or that it cannot reach any more.
    "idle_in_transaction_session_timeout": "15s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class LostRace(Exception):
    """Another writer was first; the same work, done again, sees what it wrote."""


RACES = (
    LostRace,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
)
"""Others were first, and the connection is sound: the transaction is tried again at once."""

INFRASTRUCTURE_ERRORS = (
    *RACES,
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what the driver says of a connection that was cut off in use
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
"""Errors that say nothing about the data: the same work is tried again."""

SWAPPED = (asyncpg.UndefinedTableError, asyncpg.InvalidCachedStatementError)
"""A rebuild has just swapped the table behind a view: the same read, done again, is right."""

REBUILDING = (*SWAPPED, asyncpg.UndefinedColumnError)
"""Those, and a read model that is still being rebuilt for a new version: read it again later."""


class Database:
    """The pools of one service: one for requests, one for background work."""

    def __init__(self, dsn: str, schema: str, *, http: int, background: int) -> None:
        self.schema = schema
        self._dsn = dsn
        self._sizes = (http, background)
        self._pools: list[asyncpg.Pool[asyncpg.Record]] = []
        self._probing = asyncio.Lock()
        self._answered = (0.0, True)
        self._waiting = [0, 0]

    async def open(self) -> None:
        """Connect the pools."""
        for size in self._sizes:
            pool = await asyncpg.create_pool(
                self._dsn,
                min_size=1,
                max_size=size,
                init=prepare,
                reset=_keep,
                command_timeout=60,
                server_settings={
                    "search_path": self.schema,
                    "application_name": f"casebook-{self.schema}",
                    **_SESSION,
                },
            )
            self._pools.append(pool)

    async def close(self) -> None:
        """Close the pools; connections still in use get two seconds."""
        for pool in self._pools:
            try:
                async with asyncio.timeout(2.0):
                    await pool.close()
            except TimeoutError:
                pool.terminate()
        self._pools.clear()

    @asynccontextmanager
    async def http(self) -> AsyncGenerator[Connection]:
        """Lend a connection for a request; waits at most one second for a free one.

        :raises TimeoutError: when the pool is exhausted.
        """
        async with self._lent(0, patience=1.0, watched=REQUEST_PATIENCE_SECONDS) as connection:
            yield connection

    @asynccontextmanager
    async def background(self) -> AsyncGenerator[Connection]:
        """Lend a connection for background work."""
        async with self._lent(1, watched=WORK_PATIENCE_SECONDS) as connection:
            yield connection

    async def answers(self) -> bool:
        """Say whether the server answers a new connection, asked at most half a second ago."""
        async with self._probing:
            asked_at, answered = self._answered
            if time.monotonic() - asked_at > PROBE_FRESH_SECONDS:
                answered = await self._probe()
                self._answered = (time.monotonic(), answered)
            return answered

    async def _probe(self) -> bool:
        """Connect anew; a server that refuses does answer."""
        try:
            connection = await asyncpg.connect(self._dsn, timeout=PROBE_SECONDS_MAX)
        except OSError:  # a timeout is one of them
            return False
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            return True
        connection.terminate()
        return True

    @asynccontextmanager
    async def _lent(
        self, number: int, *, watched: float, patience: float | None = None
    ) -> AsyncGenerator[Connection]:
        """Lend a connection of a pool, and know who waits for one; ``watched`` in seconds."""
        pool = self._pool(number)
        self._waiting[number] += 1
        try:
            connection = await pool.acquire(timeout=patience)
        finally:
            self._waiting[number] -= 1
        try:
            with _Watch(self, connection, watched):
                yield connection
        finally:
            await pool.release(connection)

    def use(self) -> dict[str, tuple[int, int]]:
        """Return, of each pool, how many connections are lent and how many callers wait."""
        lent = [pool.get_size() - pool.get_idle_size() for pool in self._pools]
        return dict(
            zip(("http", "background"), zip(lent, self._waiting, strict=False), strict=False)
        )

    def _pool(self, number: int) -> "asyncpg.Pool[asyncpg.Record]":
        """Return one of the pools.

        :raises asyncpg.InterfaceError: when they are closed.
        """
        if not self._pools:
            raise asyncpg.InterfaceError("the database is closed")
        return self._pools[number]

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """Open a transaction for background work; it commits when the block ends well."""
        async with self.background() as connection, connection.transaction():
            yield connection


class _Watch:
    """Ends a borrowed connection if the server has gone silent; whoever waits on it gets an error.

    A server that is only slow answers a new connection, and the work goes on.
    """

    def __init__(self, database: Database, connection: Connection, patience: float) -> None:
        self._database = database
        self._connection = connection
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        """Begin to wait."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._patience, self._begin)

    def __exit__(self, *error: object) -> None:
        """Stop: the connection goes back."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        """Ask, again and again, until the server does not answer."""
        while await self._database.answers():  # noqa: ASYNC110 - the server is asked
            await asyncio.sleep(self._patience)
        _LOG.warning("database.silent", schema=self._database.schema)
        self._connection.terminate()


async def prepare(connection: Connection) -> None:
    """Read and write ``jsonb`` as Python values."""
    await connection.set_type_codec(
        "jsonb",
        encoder=lambda value: orjson.dumps(value).decode(),
        decoder=orjson.loads,
        schema="pg_catalog",
    )


async def _keep(connection: Connection) -> None:
    """Leave the session as it is: nothing here changes it outside a transaction."""


def compiled(statement: ClauseElement) -> tuple[str, list[Any]]:
    """Return a SQLAlchemy statement as SQL text with ``$n`` and its arguments."""
    result = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    assert isinstance(result, SQLCompiler)
    parameters = result.construct_params()
    return str(result), [parameters[name] for name in result.positiontup or ()]


async def fetch(connection: Connection, statement: ClauseElement) -> Sequence[Mapping[str, Any]]:
    """Run a SQLAlchemy statement and return its rows by column name."""
    sql, arguments = compiled(statement)
    return [dict(row) for row in await connection.fetch(sql, *arguments)]
