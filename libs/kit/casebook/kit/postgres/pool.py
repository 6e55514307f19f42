"""A pool of connections to PostgreSQL that notices a server which has gone silent.

A connection that is cut off says so, and one whose packets vanish does not. What waits for long
therefore asks whether the server still answers anybody (:class:`_Watch`, ADR 0051).
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import orjson

from casebook.kit.logging import get_logger

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

PROBE_SECONDS_MAX = 1.2
"""How long the answer to that may take; with the patience of a request, less than two seconds."""
PROBE_FRESH_SECONDS = 0.5
CLOSE_SECONDS_MAX = 2.0
_SESSION = {
    "timezone": "UTC",
    # Who waits for a lock, or loses a race, then looks again and sees what the other one wrote.
    "default_transaction_isolation": "read committed",
    # The server lets go of what a process holds that hangs, or that it cannot reach any more.
    "idle_in_transaction_session_timeout": "15s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_LOG = get_logger("database")


class Pool:
    """The connections of one service that one event loop uses.

    ``lent_within`` is how long to wait for a free one, in seconds; ``patience_seconds`` how long
    whoever has one waits for the server before it is asked whether it is there;
    ``lock_timeout`` how long a statement waits for others, as PostgreSQL writes it.
    """

    def __init__(
        self,
        dsn: str,
        schema: str,
        size: int,
        *,
        patience_seconds: float,
        lent_within: float | None = None,
        lock_timeout: str = "0",
    ) -> None:
        self.schema = schema
        self._dsn = dsn
        self._size = size
        self._patience_seconds = patience_seconds
        self._lent_within = lent_within
        self._lock_timeout = lock_timeout
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._probing = asyncio.Lock()
        self._answered = (0.0, True)
        self._waiting = 0

    async def open(self) -> None:
        """Connect, on the loop that will use the connections."""
        self._pool = await asyncpg.create_pool(
            self._dsn,
            min_size=1,
            max_size=self._size,
            init=prepare,
            reset=_keep,
            command_timeout=60,
            server_settings={
                "search_path": self.schema,
                "application_name": f"casebook-{self.schema}",
                "lock_timeout": self._lock_timeout,
                **_SESSION,
            },
        )

    async def close(self) -> None:
        """Close the connections; those still in use get two seconds."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    @asynccontextmanager
    async def lend(self) -> AsyncGenerator[Connection]:
        """Lend a connection, and know who waits for one.

        :raises TimeoutError: when none gets free in time.
        :raises asyncpg.InterfaceError: when the pool is closed.
        """
        pool = self._pool
        if pool is None:
            raise asyncpg.InterfaceError("the database is closed")
        self._waiting += 1
        try:
            connection = await pool.acquire(timeout=self._lent_within)
        finally:
            self._waiting -= 1
        try:
            with _Watch(self, connection, self._patience_seconds):
                yield connection
        finally:
            await pool.release(connection)

    def use(self) -> tuple[int, int]:
        """Return how many connections are lent, and how many callers wait for one."""
        pool = self._pool
        lent = 0 if pool is None else pool.get_size() - pool.get_idle_size()
        return lent, self._waiting

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


class _Watch:
    """Ends a borrowed connection if the server has gone silent; whoever waits on it gets an error.

    A server that is only slow answers a new connection, and the work goes on.
    """

    def __init__(self, pool: Pool, connection: Connection, patience_seconds: float) -> None:
        self._pool = pool
        self._connection = connection
        self._patience_seconds = patience_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        """Begin to wait."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._patience_seconds, self._begin)

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
        while await self._pool.answers():  # noqa: ASYNC110 - the server is asked
            await asyncio.sleep(self._patience_seconds)
        _LOG.warning("database.silent", schema=self._pool.schema)
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
