"""The database roles of services, made by who may and refused to who may not."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from casebook.kit.setup.migrations import migrate
from casebook.kit.setup.roles import Role, prepare_roles
from casebook.kit.starting import StartRefused
from tests.support.postgres import (
    DatabaseServer,
    fresh_database,
    postgres_15_for_tests,
    postgres_for_tests,
)
from tests.support.toy import intake

TOY = intake()
PATIENCE_SECONDS = 20.0
SERVERS = {"15": postgres_15_for_tests, "newest": postgres_for_tests}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    return SERVERS[request.param]()


async def run(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def owner(server: DatabaseServer) -> AsyncIterator[str]:
    """Somebody who owns a database and may create roles, and is no superuser."""
    async with fresh_database(server) as dsn:
        database = urlsplit(dsn).path.lstrip("/")
        name = f"owner_{secrets.token_hex(8)}"
        await run(
            dsn,
            f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'owner'",
            f"ALTER DATABASE {database} OWNER TO {name}",
        )
        parts = urlsplit(dsn)
        yield parts._replace(netloc=f"{name}:owner@{parts.netloc.rpartition('@')[2]}").geturl()
        role = f"{database}_{TOY.name}"
        await run(
            dsn,
            f"DO $$ BEGIN IF to_regrole('{role}') IS NOT NULL THEN "
            f"EXECUTE 'DROP OWNED BY {role}'; END IF; END $$",
            f"DROP ROLE IF EXISTS {role}",
            f"REASSIGN OWNED BY {name} TO CURRENT_USER",
            f"DROP OWNED BY {name}",
            f"DROP ROLE {name}",
        )


async def prepared(owner: str, folder: Path) -> str:
    """Migrate and make the role, as the owner; return the role's address."""
    connection = await asyncpg.connect(owner)
    try:
        await migrate(connection, TOY)
    finally:
        await connection.close()
    await prepare_roles(owner, [TOY], folder)
    return (folder / f"{TOY.name}.url").read_text().strip()


async def test_who_owns_the_database_and_may_create_roles_prepares_them(
    owner: str, tmp_path: Path
) -> None:
    url = await prepared(owner, tmp_path / "roles")
    assert await prepared(owner, tmp_path / "roles") == url
    await run(url, f"SELECT FROM {TOY.name}.events", f"CREATE TABLE {TOY.name}.mine (x integer)")
    for statement in ("DELETE FROM {}.events", "TRUNCATE {}.events", "DROP TABLE {}.events"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await run(url, statement.format(TOY.name))


async def test_running_services_are_in_nobodys_way(owner: str, tmp_path: Path) -> None:
    """A service that reads, and an ``init`` that waits for it with locks, would be a deadlock."""
    url = await prepared(owner, tmp_path)
    (projection,) = TOY.projections
    reading = await asyncpg.connect(url)
    try:
        async with reading.transaction():
            await reading.execute(f"SELECT FROM {TOY.name}.{projection.name}")
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await prepared(owner, tmp_path) == url
    finally:
        await reading.close()


async def test_a_lost_address_is_made_anew_and_a_changed_one_is_mended(
    owner: str, tmp_path: Path
) -> None:
    old = await prepared(owner, tmp_path / "first")
    new = await prepared(owner, tmp_path / "second")
    assert old != new
    await run(new, "SELECT 1")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await run(old, "SELECT 1")
    file = tmp_path / "second" / f"{TOY.name}.url"
    file.write_text(new.replace("@", "@elsewhere", 1))
    assert await prepared(owner, tmp_path / "second") == new


async def test_who_may_not_create_roles_is_told_so_unless_they_are_there(
    server: DatabaseServer, owner: str, tmp_path: Path
) -> None:
    name = urlsplit(owner).username
    await run(server.dsn, f"ALTER ROLE {name} NOCREATEROLE")
    with pytest.raises(StartRefused, match="a role with CREATEROLE"):
        await prepared(owner, tmp_path)
    await run(server.dsn, f"ALTER ROLE {name} CREATEROLE")
    url = await prepared(owner, tmp_path)
    await run(server.dsn, f"ALTER ROLE {name} NOCREATEROLE")
    assert await prepared(owner, tmp_path) == url


@pytest.mark.parametrize(
    ("dsn", "scheme", "rest"),
    [
        ("postgresql://a:b@db:5432/casebook", "postgresql", "db:5432/casebook"),
        ("postgresql://db/other", "postgresql", "db/casebook"),
        ("postgresql:///x?host=/run&user=a&password=b", "postgresql", "/casebook?host=%2Frun"),
        ("postgres://a@[::1]/x?sslmode=require", "postgres", "[::1]/casebook?sslmode=require"),
    ],
)
def test_a_role_connects_where_its_maker_did(
    tmp_path: Path, dsn: str, scheme: str, rest: str
) -> None:
    role = Role.of(dsn, "casebook", "intake", tmp_path / "none.url")
    assert role.name == "casebook_intake"
    assert role.url == f"{scheme}://casebook_intake:{role.password}@{rest}"
    assert role.password not in role.verifier()
