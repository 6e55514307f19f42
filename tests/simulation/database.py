"""The product's database handle, over tables in memory: the same calls, and the driver's errors.

Every statement and every commit is a touch of the outside: the scheduler decides when it goes on,
and what becomes of it (:class:`tests.simulation.world.World`).
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from casebook.kit.postgres.database import LOCK_TIMEOUT, Database
from tests.simulation.statements import UnknownStatement, find
from tests.simulation.tables import Schema, Transaction

if TYPE_CHECKING:
    from tests.simulation.processes import Process

HTTP_CONNECTIONS, BACKGROUND_CONNECTIONS = 4, 3
LOCK_SECONDS = float(LOCK_TIMEOUT.removesuffix("s"))


class MemoryDatabase(Database):
    """The pools of one process; its tables are shared with the other processes of the service."""

    def __init__(self, process: "Process", schema: Schema) -> None:
        super().__init__("", schema.name, http=HTTP_CONNECTIONS, background=BACKGROUND_CONNECTIONS)
        self.process = process
        self.tables = schema
        self._free = (
            asyncio.Semaphore(HTTP_CONNECTIONS),
            asyncio.Semaphore(BACKGROUND_CONNECTIONS),
        )

    @asynccontextmanager
    async def http(self) -> AsyncGenerator[Any]:
        """Lend a connection for a request; waits at most one second for a free one."""
        free = self._free[0]
        if free.locked():
            async with asyncio.timeout(1.0):
                await free.acquire()
        else:
            await free.acquire()
        try:
            yield MemoryConnection(self, lock_timeout=LOCK_SECONDS)
        finally:
            free.release()

    @asynccontextmanager
    async def background(self) -> AsyncGenerator[Any]:
        """Lend a connection for background work."""
        async with self._free[1]:
            yield MemoryConnection(self)


class MemoryConnection:
    """One session: at most one transaction, whose end a lost connection is too."""

    def __init__(self, database: MemoryDatabase, lock_timeout: float | None = None) -> None:
        self.database = database
        self.lock_timeout = lock_timeout
        self.current: Transaction | None = None
        self.lost = False

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        """Run a statement; return the first value of its first row."""
        rows = await self.fetch(sql, *arguments)
        return rows[0][0] if rows else None

    async def fetchrow(self, sql: str, *arguments: Any) -> Any:
        """Run a statement; return its first row."""
        rows = await self.fetch(sql, *arguments)
        return rows[0] if rows else None

    async def execute(self, sql: str, *arguments: Any) -> str:
        """Run a statement."""
        await self.fetch(sql, *arguments)
        return ""

    def transaction(self) -> "_Block":
        """Return a block that commits when it ends well; inside another one, a savepoint."""
        return _Block(self)

    def begin(self) -> Transaction:
        """Begin a transaction."""
        transaction = self.database.process.begin(self.database.tables)
        transaction.lock_timeout = self.lock_timeout
        self.current = transaction
        return transaction

    def end(self, *, commit: bool) -> None:
        """End the transaction here and on the server."""
        transaction, self.current = self.current, None
        if transaction is not None:
            self.database.process.end(transaction, commit=commit)

    def lose(self) -> asyncpg.PostgresConnectionError:
        """Cut the connection; the server rolls back. Return what the driver says."""
        self.lost = True
        self.end(commit=False)
        return asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of it")

    async def fetch(self, sql: str, *arguments: Any) -> Any:
        """Run a statement; return its rows."""
        process = self.database.process
        if self.lost:
            raise asyncpg.InterfaceError("connection is closed")
        if await process.touch("statement", sql) == "lose":
            raise self.lose()
        transaction = self.current
        if transaction is not None:
            if transaction.over:  # the server ended the session of a member declared dead
                raise self.lose()
            return await self._meaning(transaction, sql, arguments)
        transaction = self.begin()
        try:
            rows = await self._meaning(transaction, sql, arguments)
        except BaseException:
            self.end(commit=False)
            raise
        self.end(commit=True)
        return rows

    async def _meaning(self, transaction: Transaction, sql: str, arguments: tuple[Any, ...]) -> Any:
        """Do what a statement means, waiting for the locks it needs.

        An error aborts the transaction: until it ends, or a savepoint is rolled back, nothing
        else runs in it.
        """
        if transaction.failed:
            raise asyncpg.InFailedSQLTransactionError("current transaction is aborted")
        journal = self.database.process.world.journal
        call = None if journal is None else journal.started(transaction, sql, arguments)
        try:
            result = find(sql)(transaction, *arguments)
            if result.__class__ is not list:
                while True:
                    try:
                        owner = next(result)
                    except StopIteration as stopped:
                        result = stopped.value or []
                        break
                    await self._wait(transaction, owner)
        except UnknownStatement as unknown:
            self.database.process.world.broken = unknown
            raise
        except Exception as error:
            transaction.failed = True
            if journal is not None:
                journal.finished(call, error)
            raise
        if journal is not None:
            journal.finished(call, result)
        return result

    async def _wait(self, transaction: Transaction, owner: Transaction) -> None:
        """Wait until the owner of a lock ends.

        :raises asyncpg.DeadlockDetectedError: when the owner waits for us.
        :raises asyncpg.LockNotAvailableError: after the transaction's ``lock_timeout``.
        """
        if transaction.deadlocked_by(owner):
            raise asyncpg.DeadlockDetectedError("deadlock detected")
        process = self.database.process
        waiter = process.world.loop.create_future()
        owner.waiters.append(waiter)
        transaction.waits = owner
        try:
            async with asyncio.timeout(transaction.lock_timeout):
                await waiter
        except TimeoutError:
            raise asyncpg.LockNotAvailableError("canceling statement due to lock timeout") from None
        finally:
            transaction.waits = None
        await process.touch("lock", "")
        if transaction.over:
            raise self.lose()


class _Block:
    """A transaction or a savepoint, as ``async with`` sees it."""

    def __init__(self, connection: MemoryConnection) -> None:
        self._connection = connection
        self._savepoint = False

    async def __aenter__(self) -> "_Block":
        connection = self._connection
        if connection.lost:
            raise asyncpg.InterfaceError("connection is closed")
        journal = connection.database.process.world.journal
        self._savepoint = connection.current is not None
        if connection.current is None:
            connection.begin()
        elif connection.current.over:
            raise connection.lose()
        elif connection.current.failed:
            raise asyncpg.InFailedSQLTransactionError("current transaction is aborted")
        else:
            connection.current.savepoint()
            if journal is not None:
                journal.control(connection.current, "SAVEPOINT")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: Any, traceback: Any) -> None:
        connection = self._connection
        transaction = connection.current
        if connection.lost or transaction is None:
            if kind is None:
                raise asyncpg.InterfaceError("connection is closed")
            return
        if self._savepoint:
            self._end_savepoint(transaction, kept=kind is None)
        elif kind is not None:
            connection.end(commit=False)
        else:
            await self._commit(transaction)

    def _end_savepoint(self, transaction: Transaction, *, kept: bool) -> None:
        connection = self._connection
        journal = connection.database.process.world.journal
        if transaction.over:
            return
        if kept and transaction.failed:
            raise asyncpg.InFailedSQLTransactionError("current transaction is aborted")
        if kept:
            transaction.release()
        else:
            transaction.rollback_to()
        if journal is not None:
            journal.control(transaction, "RELEASE" if kept else "ROLLBACK TO")

    async def _commit(self, transaction: Transaction) -> None:
        """Commit; the answer may get lost, before or after the commit happened."""
        connection = self._connection
        process = connection.database.process
        verdict = await process.touch("commit", "")
        if verdict == "lose" or transaction.over:
            raise connection.lose()
        connection.end(commit=True)
        if verdict == "lose-answer":
            raise connection.lose()
        if verdict == "kill-after":
            process.kill()
            await process.touch("commit", "")
