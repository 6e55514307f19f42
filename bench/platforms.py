"""A ``casebook up`` of a bench's own, and the import of real history into it."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from bench.measuring import BadBench
from bench.server import temporary_home
from casebook.console.connection import Connection, connected
from casebook.console.importing.run import Summary, run_import
from casebook.kit.postgres.embedded import dsn_of
from tests.support.audit_log import real_log

REQUESTS = 17_442
"""Of the largest real log, which lies beside the checkout; else there are those of the sample."""

SOURCE = "bench"


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform, the id of its process, and a connection to its database to count with."""

    at: Connection
    pid: int
    database: "asyncpg.Connection[asyncpg.Record]"

    @property
    def port(self) -> int:
        """Return where it listens."""
        return int(self.at.url.rpartition(":")[2])

    def publisher(self) -> str:
        """Return a token of somebody who may register the source and publish for it."""
        return self.at.token(roles=("admin", "publisher"), source=SOURCE)

    async def import_history(self, requests: int) -> Summary:
        """Import so many requests of the largest real log at hand, or all that it has.

        :raises BadBench: when some are known already, or cannot be taken.
        """
        summary = await run_import(
            real_log(), url=self.at.url, token=self.publisher(), source=SOURCE, limit=requests
        )
        if summary.duplicates or summary.quarantined:
            raise BadBench("the import found events that it had already, or could not take some")
        return summary


@asynccontextmanager
async def platform() -> AsyncGenerator[Platform]:
    """Run a platform on a new home.

    :raises BadBench: when it has no database of its own.
    """
    with temporary_home() as home:
        async with connected(home, None) as found:
            pid = json.loads(found.home.address.read_text(encoding="utf-8"))["pid"]
            dsn = dsn_of(home)
            if dsn is None:
                raise BadBench("the platform that was started has no database")
            database = await asyncpg.connect(dsn)
            try:
                yield Platform(found, pid, database)
            finally:
                await database.close()
