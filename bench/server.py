"""The PostgreSQL that benches run on: as in the embedded mode, in a temporary home of its own."""

import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from bench.measuring import BadBench
from casebook.intake.service import SERVICE
from casebook.kit.postgres import embedded as embedded_postgres
from casebook.kit.postgres.database import Connection, Database
from casebook.kit.service import Service
from casebook.kit.setup.migrations import migrate, migrate_log

WRITERS = 16
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
SHOWN = ("server_version", *DURABLE, "wal_level", "shared_buffers", "max_wal_size")


@contextmanager
def temporary_home() -> Generator[Path]:
    """Lend a folder for a home; ``TMPDIR`` says on which disk."""
    with tempfile.TemporaryDirectory(prefix="casebook-bench-") as folder:
        yield Path(folder) / "home"


@dataclass(frozen=True, slots=True)
class Intake:
    """The tables of intake and of the log, on a server where nobody else works.

    ``database`` is the service's way to it, with a connection for each writer.
    """

    database: Database
    dsn: str
    settings: Mapping[str, str]

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator["asyncpg.Connection[asyncpg.Record]"]:
        """Open a bare connection to the same schema."""
        connection = await asyncpg.connect(
            self.dsn, server_settings={"search_path": self.database.schema}
        )
        try:
            yield connection
        finally:
            await connection.close()

    async def execute(self, statement: str, *values: object) -> None:
        """Run a statement; several, if there are no values."""
        async with self.connection() as connection:
            await connection.execute(statement, *values)

    async def value(self, query: str) -> Any:
        """Return the one value that a query finds."""
        async with self.connection() as connection:
            return await connection.fetchval(query)

    async def count(self, table: str) -> int:
        """Return how many rows a table has."""
        return int(await self.value(f"SELECT count(*) FROM {table}"))


@asynccontextmanager
async def intake(service: Service = SERVICE) -> AsyncGenerator[Intake]:
    """Run a server with the tables of intake, or what is left of it, and of the log."""
    with temporary_home() as home:
        async with embedded_postgres.running(home) as server:
            database = Database(server.dsn, service.name, http=WRITERS, background=1)
            connection = await asyncpg.connect(server.dsn)
            try:
                await migrate_log(connection)
                await migrate(connection, service)
                settings = await durable_settings(connection)
            finally:
                await connection.close()
            await database.open()
            try:
                yield Intake(database, server.dsn, settings)
            finally:
                await database.close()


async def durable_settings(connection: Connection) -> dict[str, str]:
    """Return the settings that figures depend on.

    :raises BadBench: when a commit does not reach the disk.
    """
    found = {name: str(await connection.fetchval(f"SHOW {name}")) for name in SHOWN}
    for name in DURABLE:
        if found[name] != "on":
            raise BadBench(f"{name} is {found[name]}: without durability there is nothing to say")
    return found
