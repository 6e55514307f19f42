"""A copy of a service's schema at one moment, as a backup of its database would hold it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import asyncpg

from tests.support.production import execute


class Backup:
    """Taken when it is made; put back while nobody is connected who would write meanwhile."""

    def __init__(self, dsn: str, schema: str, name: str) -> None:
        self._dsn, self._schema, self._copy = dsn, schema, f"backup_{name}"
        rows = execute(dsn, f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'")
        self._tables = sorted(row[0] for row in rows)
        [[self._number, self._used]] = execute(
            dsn, f"SELECT last_value, is_called FROM {schema}.numbers"
        )
        copies = [f"CREATE TABLE {self._copy}.{t} AS TABLE {schema}.{t}" for t in self._tables]
        self._at_once(f"CREATE SCHEMA {self._copy}", *copies)

    def restore(self) -> None:
        """Put everything back as it was."""
        names = ", ".join(f"{self._schema}.{table}" for table in self._tables)
        filled = [
            f"INSERT INTO {self._schema}.{t} OVERRIDING SYSTEM VALUE TABLE {self._copy}.{t}"
            for t in self._tables
        ]
        self._at_once(
            f"ALTER TABLE {self._schema}.events DISABLE TRIGGER USER",  # nobody deletes events
            f"TRUNCATE {names}",
            *filled,
            f"ALTER TABLE {self._schema}.events ENABLE TRIGGER USER",
            f"SELECT setval('{self._schema}.numbers', {self._number}, {self._used})",
        )

    def drop(self) -> None:
        """Forget it."""
        execute(self._dsn, f"DROP SCHEMA {self._copy} CASCADE")

    def _at_once(self, *statements: str) -> None:
        async def work() -> None:
            connection = await asyncpg.connect(self._dsn)
            try:
                async with connection.transaction(isolation="repeatable_read"):
                    for statement in statements:
                        await connection.execute(statement)
            finally:
                await connection.close()

        with ThreadPoolExecutor(1) as pool:  # the loop of an asynchronous test stays its own
            pool.submit(asyncio.run, work()).result()
