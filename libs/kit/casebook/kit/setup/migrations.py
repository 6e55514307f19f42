"""Creates and checks the tables of a service and of the embedded log (``casebook init``).

Migration runs under one advisory lock; services only check that it was done.
"""

from importlib import resources

import asyncpg

from casebook.kit.bookkeeping.checkpoints import lock_checkpoints
from casebook.kit.log.event_log import PARTITIONS
from casebook.kit.postgres.database import Connection
from casebook.kit.read_models.registry import activate, create_generation
from casebook.kit.service import Service
from casebook.kit.starting import INIT, StartRefused

SCHEMA_VERSION = 1
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('casebook.migrations'))"


class NotInitialised(StartRefused):
    """The database was not prepared for this version; run ``casebook init``."""


def _sql(name: str) -> str:
    """Return a packaged SQL script."""
    return resources.files("casebook.kit.setup").joinpath(name).read_text(encoding="utf-8")


async def migrate(connection: Connection, service: Service) -> None:
    """Create what is missing of a service's schema; what is there stays.

    New projections start empty when the log is empty; otherwise the runtime rebuilds them.
    """
    async with connection.transaction():
        await connection.execute(_LOCK)
        await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{service.name}"')
        await connection.execute(f'SET LOCAL search_path TO "{service.name}"')
        if not await _exists(connection, f"{service.name}.schema_version"):
            await connection.execute(_sql("schema.sql"))
            await connection.execute("CREATE TABLE schema_version (version integer NOT NULL)")
            await connection.execute("INSERT INTO schema_version VALUES ($1)", SCHEMA_VERSION)
            await lock_checkpoints(connection, "live", range(PARTITIONS))
            for statement in (*service.tables, *service.indexes):
                await connection.execute(statement)
        known = {row[0] for row in await connection.fetch("SELECT name FROM projections")}
        for projection in service.projections:
            if projection.name not in known:
                await create_generation(connection, projection, 1)
                await activate(connection, projection, 1)
                await _rebuild_unless_new(connection, projection.name)


async def migrate_log(connection: Connection) -> None:
    """Create the log table of the embedded mode."""
    async with connection.transaction():
        await connection.execute(_LOCK)
        if not await _exists(connection, "log.records"):
            await connection.execute("CREATE SCHEMA log")
            await connection.execute("SET LOCAL search_path TO log")
            await connection.execute(_sql("log_schema.sql"))


async def check(connection: Connection, service: Service) -> None:
    """Refuse to run on a database that was not prepared.

    :raises NotInitialised: when the schema is missing, of another version, or another role's.
    """
    try:
        version = await connection.fetchval(f'SELECT version FROM "{service.name}".schema_version')
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        version = None
    except asyncpg.InsufficientPrivilegeError:
        raise NotInitialised(
            f"the role in CASEBOOK_DATABASE_URL has no rights on schema {service.name}: "
            "it is another service's"
        ) from None
    if version != SCHEMA_VERSION:
        raise NotInitialised(
            f"schema {service.name} is at version {version}, this is {SCHEMA_VERSION}: {INIT}"
        )


async def _exists(connection: Connection, name: str) -> bool:
    """Say whether a table exists."""
    return bool(await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name))


async def _rebuild_unless_new(connection: Connection, name: str) -> None:
    """Mark a projection as behind if the service has already read something."""
    if await connection.fetchval("SELECT EXISTS (SELECT FROM checkpoints WHERE next_offset > 0)"):
        await connection.execute("UPDATE projections SET version = 0 WHERE name = $1", name)
