"""Which generation of each projection is active, and the view that queries read it through."""

from collections.abc import Sequence

import asyncpg
from sqlalchemy import Table

from casebook.kit.postgres.database import Connection
from casebook.kit.read_models.projections import Projection, sql_type

_PRESENT = """
SELECT name, version, generation FROM projections WHERE to_regclass(format('%I', name)) IS NOT NULL
    AND to_regclass(format('%I', format('%s_v%s_%s', name, version, generation))) IS NOT NULL
"""
_NONE = (0, 0)
"""Version and generation of what is not there; versions begin at 1."""


class NewerRelease(Exception):
    """A newer release has made a read model that this code cannot feed; it must not read on."""


async def _active(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return version and generation of the projections that can be read, by name."""
    return {row[0]: (row[1], row[2]) for row in await connection.fetch(_PRESENT)}


async def newer_tables(connection: Connection, projections: Sequence[Projection]) -> set[str]:
    """Return the projections whose active table is of a newer release than this code."""
    active = await _active(connection)
    return {p.name for p in projections if active.get(p.name, _NONE)[0] > p.version}


async def active_tables(
    connection: Connection, projections: Sequence[Projection], rolled_back: set[str]
) -> list[tuple[Projection, str]]:
    """Return the projections that the live reader feeds, with their tables.

    One whose code is newer than its active table, or whose table somebody has dropped, waits for
    its rebuild. So does one that was newer when this process began (``rolled_back``), until it
    is of this code again.

    :raises NewerRelease: when a newer release swapped its table in while this process runs: what
        this reader would count as applied, that table would never get.
    """
    if not projections:
        return []
    active = await _active(connection)
    for projection in projections:
        version = active.get(projection.name, _NONE)[0]
        if version == projection.version:
            rolled_back.discard(projection.name)
        elif version > projection.version and projection.name not in rolled_back:
            raise NewerRelease(
                f"{projection.name} is of version {version}, this release knows "
                f"{projection.version}: stop this process"
            )
    return [
        (projection, projection.physical(*active[projection.name]))
        for projection in projections
        if projection.name in active and active[projection.name][0] == projection.version
    ]


async def create_generation(connection: Connection, projection: Projection, generation: int) -> str:
    """Create the empty table of a generation; return its name."""
    name = projection.physical(projection.version, generation)
    await connection.execute(_create(projection.table, name))
    for number, columns in enumerate(projection.indexes):
        await connection.execute(f'CREATE INDEX "{name}_{number}" ON "{name}" ({columns})')
    return name


async def activate(connection: Connection, projection: Projection, generation: int) -> None:
    """Let queries and the live reader use a generation from this transaction on."""
    name = projection.physical(projection.version, generation)
    view = f'VIEW "{projection.name}" AS SELECT * FROM "{name}"'
    try:
        async with connection.transaction():
            # Keeps the view's identity, so that queries which wait for this go on with it.
            await connection.execute(f"CREATE OR REPLACE {view}")
    except asyncpg.InvalidTableDefinitionError:
        await connection.execute(f'DROP VIEW "{projection.name}"')
        await connection.execute(f"CREATE {view}")
    await connection.execute(
        """INSERT INTO projections VALUES ($1, $2, $3) ON CONFLICT (name)
        DO UPDATE SET version = excluded.version, generation = excluded.generation""",
        projection.name,
        projection.version,
        generation,
    )


async def drop_leftovers(connection: Connection, projection: Projection) -> None:
    """Drop the generations that are neither active nor in the making."""
    rows = await connection.fetch(
        """SELECT t.tablename FROM pg_tables t
        WHERE t.schemaname = current_schema() AND t.tablename ~ ('^' || $1 || '_v[0-9]+_[0-9]+$')
            AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
                WHERE d.refobjid = format('%I.%I', t.schemaname, t.tablename)::regclass)
            AND NOT EXISTS (SELECT FROM rebuilds b WHERE b.name = $1
                AND t.tablename = format('%s_v%s_%s', b.name, b.version, b.generation))""",
        projection.name,
    )
    for row in rows:
        await connection.execute(f'DROP TABLE "{row[0]}"')


async def stale(connection: Connection, projections: Sequence[Projection]) -> Sequence[Projection]:
    """Return the projections whose active table is of another version than the code, or gone."""
    active = await _active(connection)
    return [p for p in projections if active.get(p.name, _NONE)[0] != p.version]


async def dropped(
    connection: Connection, projections: Sequence[Projection]
) -> Sequence[Projection]:
    """Return the projections whose table or view is not there."""
    present = await _active(connection)
    return [projection for projection in projections if projection.name not in present]


def _create(table: Table, name: str) -> str:
    """Return the statement that creates a generation's table."""
    columns = ", ".join(
        f'"{column.name}" {sql_type(column)}' + (" NOT NULL" if not column.nullable else "")
        for column in table.columns
    )
    key = next(iter(table.columns)).name
    return f'CREATE TABLE "{name}" ({columns}, PRIMARY KEY ("{key}")) WITH (fillfactor = 80)'
