"""`casebook verify` finds whatever a hand changes, names it, and writes nothing (decisions §8).

Every column of every table is changed in some row, rows are deleted and added, tails are cut
off: each time in a transaction that is rolled back. `CASEBOOK_TEST_SEED` chooses other rows and
values; a failure says which seed it was.
"""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from casebook.console.verify import FIRST_HALF, services
from casebook.events.catalog import SERVICES as SERVICE_NAMES
from casebook.events.envelope import chain
from casebook.kit.verification import verify
from casebook.kit.verification.processes import verify_in_processes
from tests.support.filled import fill
from tests.support.postgres import fresh_database, postgres_for_tests
from tests.support.tampering import Row, Table

SEED = os.environ.get("CASEBOOK_TEST_SEED", "1")
SERVICES = services()
PROJECTIONS = {
    f"{service.name}.{projection.physical(projection.version, 1)}": projection.name
    for service in SERVICES
    for projection in service.projections
}
COMMON = (
    "events", "streams", "outbox", "checkpoints", "cases", "members", "sources", "projections",
)  # fmt: skip
TABLES = (
    "log.records",
    "log.partitions",
    *(f"{service.name}.{table}" for service in SERVICES for table in COMMON),
    *(f"{service.name}.{table.name}" for service in SERVICES for table in service.inline),
    *PROJECTIONS,
)
EMPTY = {f"{service.name}.outbox" for service in SERVICES} - {"intake.outbox"}


@dataclass(frozen=True)
class Filled:
    """A database with something in every table."""

    dsn: str
    loop: asyncio.Runner


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with asyncio.Runner() as loop:
        database = fresh_database(postgres_for_tests())
        dsn = loop.run(database.__aenter__())
        try:
            loop.run(fill(dsn, tmp_path_factory.mktemp("filled") / "home", requests=20))
            yield Filled(dsn, loop)
        finally:
            loop.run(database.__aexit__(None, None, None))


@asynccontextmanager
async def rolled_back(filled: Filled) -> AsyncGenerator[Any]:
    """Open a transaction in which a test may do what it likes."""
    connection = await asyncpg.connect(filled.dsn, server_settings={"timezone": "UTC"})
    await verify.prepare(connection)
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield connection
    finally:
        await transaction.rollback()
        await connection.close()


async def found(connection: Any) -> list[verify.Difference]:
    report = await verify.check(connection, SERVICES)
    return report.differences


async def test_every_table_of_the_services_is_known(filled: Filled) -> None:
    unverified = {
        "data_keys", "deviations", "idempotency", "inbox", "ingress_clock", "parked",
        "quarantine", "rebuilds", "schema_version", "timers",
    }  # fmt: skip
    async with rolled_back(filled) as connection:
        rows = await connection.fetch(
            "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname <> ALL($1)",
            ["pg_catalog", "information_schema"],
        )
    names = {row[0] for row in rows}
    assert {name for name in names if name.partition(".")[2] not in unverified} == set(TABLES)


async def test_a_database_at_rest_is_clean(filled: Filled) -> None:
    report = await verify.verify(verify.Place(filled.dsn), SERVICES)
    assert report.differences == []
    assert report.events > 300
    assert report.streams > 100
    assert report.projections == len(PROJECTIONS)


@pytest.mark.parametrize("name", TABLES)
async def test_every_column_is_guarded(filled: Filled, name: str) -> None:
    chance = random.Random(f"{SEED}/{name}")  # noqa: S311 - repeatable on purpose
    async with rolled_back(filled) as connection:
        table = await Table.of(connection, name)
        if not await table.rows():
            assert name in EMPTY
            return
        for column in chosen(table, chance):
            undo = connection.transaction()
            await undo.start()
            row, changed = await table.change(column, chance)
            differences = await found(connection)
            await undo.rollback()
            assert named(differences, table, row, changed), (
                SEED, column, row, changed, differences[:10],
            )  # fmt: skip


def chosen(table: Table, chance: random.Random) -> list[str]:
    """Return all columns of the tables that all services have, once, and some of the others."""
    columns = list(table.columns)
    if table.name in PROJECTIONS:
        return chance.sample(columns, min(len(columns), 6))
    same = table.short_name in COMMON and table.service != "intake"
    return chance.sample(columns, 2) if same else columns


@pytest.mark.parametrize("name", [name for name in TABLES if name not in EMPTY])
async def test_a_row_that_is_missing_or_too_many_is_found(filled: Filled, name: str) -> None:
    chance = random.Random(f"{SEED}/{name}/rows")  # noqa: S311 - as above
    async with rolled_back(filled) as connection:
        table = await Table.of(connection, name)
        row = chance.choice(await table.rows())
        undo = connection.transaction()
        await undo.start()
        await table.delete(row)
        deleted = await found(connection)
        await undo.rollback()
        assert named(deleted, table, row) or stands_for(deleted, table, row), (
            SEED, "deleted", row, deleted[:10],
        )  # fmt: skip
        copy = await table.add(row, chance)
        added = await found(connection)
        assert named(added, table, copy), (SEED, "added", copy, added[:10])


def named(differences: list[verify.Difference], table: Table, *rows: Row) -> bool:
    """Say whether a report names the table and one of the rows."""
    reported = PROJECTIONS.get(table.name, table.short_name)
    places = {(table.service, reported, table.name_of(row)) for row in rows}
    return any((d.service, d.table, d.key) in places for d in differences)


def stands_for(differences: list[verify.Difference], table: Table, row: Row) -> bool:
    """Say whether a report names what a deleted row has left behind.

    That is the end of a partition for its last record, and an event for its row in the outbox.
    """
    if table.short_name == "records":
        return ("partitions", str(row["partition"])) in {(d.table, d.key) for d in differences}
    return table.short_name == "outbox" and "position" in {d.column for d in differences}


@pytest.mark.parametrize(
    ("events", "log", "tables"),
    [
        (True, False, {"events", "streams"}),
        (False, True, {"events", "checkpoints", "cases"}),
        (True, True, {"streams", "checkpoints", "cases"}),
    ],
    ids=["events", "log", "both"],
)
@pytest.mark.parametrize("length", [1, 7])
async def test_a_tail_that_was_cut_off_is_found(
    filled: Filled, events: bool, log: bool, tables: set[str], length: int
) -> None:
    """From the events alone, from the log alone, from both with the head left."""
    async with rolled_back(filled) as connection:
        number = await connection.fetchval(
            "SELECT partition FROM log.records GROUP BY 1 HAVING count(*) > 7 ORDER BY 1 LIMIT 1"
        )
        records = await connection.fetch(
            'SELECT "offset", hash FROM log.records WHERE partition = $1 '
            'ORDER BY "offset" DESC LIMIT $2',
            number,
            length,
        )
        hashes = [row["hash"] for row in records]
        if events:
            for service in SERVICES:
                await connection.execute(
                    f"DELETE FROM {service.name}.events WHERE hash = ANY($1)", hashes
                )
        if log:
            await connection.execute("DELETE FROM log.records WHERE hash = ANY($1)", hashes)
            await connection.execute(
                "UPDATE log.partitions SET next_offset = $2 WHERE partition = $1",
                number,
                records[-1]["offset"],
            )
        differences = await found(connection)
    assert tables <= {d.table for d in differences}, differences


async def test_places_that_two_rows_exchanged_are_found(filled: Filled) -> None:
    """Each row is sound by itself."""
    swaps = {
        "intake.events": "position",
        "dispatch.streams": "state",
        "log.records": "offset",
        "intake.cases": "requester",
        "risk.checkpoints": "next_offset",
    }
    async with rolled_back(filled) as connection:
        for name, column in swaps.items():
            table = await Table.of(connection, name)
            undo = connection.transaction()
            await undo.start()
            rows = [row for row in await table.rows() if row[column] is not None]
            same_partition = [
                row for row in rows if row.get("partition") == rows[0].get("partition")
            ]
            first, second = different(same_partition if name == "log.records" else rows, column)
            await table.delete(first)
            await table.delete(second)
            await table.insert(first | {column: second[column]})
            await table.insert(second | {column: first[column]})
            differences = await found(connection)
            await undo.rollback()
            assert named(differences, table, first, second), (name, differences[:10])


@pytest.mark.parametrize("service", SERVICE_NAMES)
async def test_a_checkpoint_that_was_set_back_is_found(filled: Filled, service: str) -> None:
    """And named itself, rather than all that was applied after it."""
    async with rolled_back(filled) as connection:
        for back in ("next_offset - 1", "0"):
            undo = connection.transaction()
            await undo.start()
            number = await connection.fetchval(
                f"UPDATE {service}.checkpoints SET next_offset = {back} WHERE partition = "
                "(SELECT max(partition) FROM log.records) RETURNING partition"
            )
            differences = await found(connection)
            await undo.rollback()
            places = [(d.service, d.table, d.key) for d in differences]
            assert places == [(service, "checkpoints", f"live/{number}")]


def different(rows: list[Row], column: str) -> tuple[Row, Row]:
    """Return two rows with different values."""
    return rows[0], next(row for row in rows if row[column] != rows[0][column])


async def test_a_story_told_anew_with_its_chain_is_found(filled: Filled) -> None:
    """The last event and the head agree with each other, but not with the log."""
    async with rolled_back(filled) as connection:
        row = await connection.fetchrow(
            """SELECT e.stream, e.version, e.record, p.hash AS previous FROM intake.events e
            JOIN intake.streams s ON s.stream = e.stream AND s.version = e.version
            JOIN intake.events p ON p.stream = e.stream AND p.version = e.version - 1
            WHERE e.record LIKE '%"actor":"user:%' ORDER BY e.position LIMIT 1"""
        )
        record = row["record"].replace('"actor":"user:', '"actor":"user:not-')
        digest = chain(row["previous"], record)
        await connection.execute(
            "UPDATE intake.events SET record = $3, hash = $4 WHERE stream = $1 AND version = $2",
            row["stream"], row["version"], record, digest,
        )  # fmt: skip
        await connection.execute(
            "UPDATE intake.streams SET hash = $2 WHERE stream = $1", row["stream"], digest
        )
        differences = await found(connection)
    assert ("log", "records") in {(d.service, d.table) for d in differences}, differences


async def test_values_that_only_postgres_can_hold_are_differences(filled: Filled) -> None:
    """Not errors, after which nothing would be known."""
    statements = {
        "cases": "UPDATE dispatch.cases SET versions = '{\"a\": 1e400}'",
        "streams": "UPDATE dispatch.streams SET recordedtime = '294276-01-01'",
        "team_queue": "UPDATE dispatch.team_queue SET submitted_at = '-infinity'",
        "events": "UPDATE dispatch.events SET record = '[1]' WHERE version = 1",
        "records": "UPDATE log.records SET record = 'nonsense' WHERE \"offset\" = 0",
        "checkpoints": f"UPDATE dispatch.checkpoints SET next_offset = {2**63 - 1}",
        "projections": "UPDATE dispatch.projections SET generation = 2147483647",
    }
    async with rolled_back(filled) as connection:
        for table, statement in statements.items():
            undo = connection.transaction()
            await undo.start()
            assert await connection.execute(statement) != "UPDATE 0"
            tables = {d.table for d in await found(connection)}
            await undo.rollback()
            assert table in tables, (table, tables)


async def execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        assert await connection.execute(statement) == "UPDATE 1"
    finally:
        await connection.close()


async def test_several_processes_find_the_same(filled: Filled) -> None:
    place = verify.Place(filled.dsn)
    alone = await verify.verify(place, SERVICES)
    groups = (FIRST_HALF, frozenset(SERVICE_NAMES) - FIRST_HALF)
    statement = "UPDATE log.partitions SET next_offset = next_offset {} 1 WHERE partition = 3"
    await execute(filled.dsn, statement.format("+"))
    try:
        report = await verify_in_processes(place, services, groups)
    finally:
        await execute(filled.dsn, statement.format("-"))
    assert [(d.service, d.table, d.key) for d in report.differences] == [("log", "partitions", "3")]
    report.differences.clear()
    assert report == alone
