"""PostgreSQL through asyncpg: pools, transactions, and SQLAlchemy Core statements run on them.

Transactions are explicit and owned by the kit; service code never commits. SQLAlchemy only
builds statements, it never holds a connection (decisions 3.4).
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.sql.compiler import SQLCompiler

from casebook.kit.postgres.pool import Connection as Connection  # noqa: PLC0414 - handed on
from casebook.kit.postgres.pool import Pool

_DIALECT = asyncpg_dialect.dialect()

REQUEST_PATIENCE_SECONDS = 0.5
"""How long a request waits for the server before it asks whether anybody is there."""
LOCK_TIMEOUT = "2s"
"""How long a request waits for another one: for a stream, an idempotency key, a table."""
WORK_PATIENCE_SECONDS = 10.0
"""The same for background work, which nobody waits for."""


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
    """The two pools of one service, each used on one event loop: that of requests, that of work."""

    def __init__(self, dsn: str, schema: str, *, http: int, background: int) -> None:
        self.schema = schema
        self.requests = Pool(
            dsn,
            schema,
            http,
            lent_within=1.0,
            patience_seconds=REQUEST_PATIENCE_SECONDS,
            lock_timeout=LOCK_TIMEOUT,
        )
        self.work = Pool(dsn, schema, background, patience_seconds=WORK_PATIENCE_SECONDS)

    async def open(self) -> None:
        """Connect both pools, for one loop."""
        await self.requests.open()
        await self.work.open()

    async def close(self) -> None:
        """Close both pools."""
        await self.requests.close()
        await self.work.close()

    def http(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection for a request; waits at most one second for a free one.

        :raises TimeoutError: when the pool is exhausted.
        """
        return self.requests.lend()

    def background(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection for background work."""
        return self.work.lend()

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """Open a transaction for background work; it commits when the block ends well."""
        async with self.background() as connection, connection.transaction():
            yield connection

    def use(self) -> dict[str, tuple[int, int]]:
        """Return, of each pool, how many connections are lent and how many callers wait."""
        return {"http": self.requests.use(), "background": self.work.use()}


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
