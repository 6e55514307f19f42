"""The embedded PostgreSQL starts fast, guards its home, and is never left behind."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from casebook.kit.postgres import embedded_host as embedded_postgres_host
from casebook.kit.postgres.embedded import (
    EmbeddedPostgresError,
    HomeInUse,
    Server,
    dsn_of,
    running,
    start,
)
from casebook.kit.postgres.embedded_host import (
    cluster_name,
    cluster_processes,
    find_programs,
    read_postmaster,
)
from tests.support.postgres import (
    DatabaseServer,
    fresh_database,
    postgres_15_binaries,
    postgres_15_for_tests,
    postgres_for_tests,
)

OWNER = """
import sys
from pathlib import Path
from casebook.kit.postgres.embedded import start
server = start(Path(sys.argv[1]))
print(server.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that has been started once, below a folder whose path is too long for a socket."""
    folder = tmp_path_factory.mktemp("long-" + "x" * 100) / "home"
    began = time.monotonic()
    start(folder).stop()
    seconds = time.monotonic() - began
    print(f"first start and stop: {seconds:.2f} s")  # noqa: T201 - a timing for people
    return folder


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    began = time.monotonic()
    with start(home) as server:
        print(f"warm start: {time.monotonic() - began:.3f} s")  # noqa: T201 - a timing for people
        yield server


async def test_it_answers_and_keeps_what_it_acknowledges(server: Server) -> None:
    settings = [await ask(server.dsn, f"SHOW {name}") for name in (
        "fsync", "full_page_writes", "synchronous_commit", "data_checksums", "listen_addresses",
        "server_encoding", "timezone")]  # fmt: skip
    assert settings == ["on", "on", "on", "on", "", "UTF8", "UTC"]
    assert await ask(server.dsn, "SELECT current_user || '@' || current_database()") == (
        "casebook@casebook"
    )


def test_a_warm_start_takes_a_moment(home: Path) -> None:
    began = time.monotonic()
    with start(home):
        taken = time.monotonic() - began
    assert taken < 10.0  # 0.3 s where nobody else is at work


def test_a_stop_leaves_nothing(home: Path) -> None:
    server = start(home)
    server.stop()
    server.stop()
    assert processes_of(home) == []
    assert not server.socket_folder.exists()
    assert read_postmaster(server.data) is None
    assert dsn_of(home) is None


def test_secrets_and_socket_are_private(server: Server, home: Path) -> None:
    folder = home / "postgres"
    assert mode(home) == 0o700
    assert mode(folder / "password") == 0o600
    assert mode(server.data) == 0o700
    assert mode(server.socket_folder) == 0o700
    assert len(str(server.socket_folder / ".s.PGSQL.5432")) <= 107
    assert server.data.stat().st_uid != 0, "the server must not run as root"
    arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes()
    assert (folder / "password").read_bytes() not in arguments


async def test_a_wrong_password_is_refused(server: Server) -> None:
    parts = urlsplit(server.dsn)
    wrong = parts._replace(netloc="casebook:guess@").geturl()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await ask(wrong, "SELECT 1")


async def test_no_password_is_refused(server: Server, tmp_path: Path) -> None:
    nameless = urlsplit(server.dsn)._replace(netloc="casebook@").geturl()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(nameless, passfile=str(tmp_path / "none"))


def test_a_second_starter_is_refused(server: Server, home: Path) -> None:
    with pytest.raises(HomeInUse, match=f"process {os.getpid()}"):
        start(home)
    refused = subprocess.run(
        [sys.executable, "-c", OWNER, str(home)], capture_output=True, text=True, check=False
    )
    assert "HomeInUse" in refused.stderr
    assert server.exit_status() is None


async def test_others_find_the_address_of_a_running_server(server: Server, home: Path) -> None:
    assert dsn_of(home) == server.dsn


async def test_a_server_left_by_a_killed_owner_is_taken_over(home: Path) -> None:
    orphan = owner_killed(home)
    assert orphan in processes_of(home)
    async with running(home) as server:
        assert server.pid != orphan
        assert orphan not in processes_of(home)
        assert await ask(server.dsn, "SELECT 1") == 1
    assert processes_of(home) == []


async def test_a_home_recovers_when_owner_and_server_were_killed(home: Path) -> None:
    orphan = owner_killed(home)
    os.kill(orphan, signal.SIGKILL)
    async with running(home) as server:
        assert await ask(server.dsn, "SELECT 1") == 1
    assert processes_of(home) == []


async def test_an_acknowledged_row_survives_a_killed_server(server: Server) -> None:
    await ask(server.dsn, "CREATE TABLE kept (n int)")
    await ask(server.dsn, "INSERT INTO kept VALUES (1)")
    server.kill()
    assert server.exit_status() == -signal.SIGKILL
    server.launch()
    assert await ask(server.dsn, "SELECT n FROM kept") == 1


def test_a_setting_that_is_no_setting_says_so(home: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="no_such_setting"):
        start(home, settings={"no_such_setting": "1"})
    assert processes_of(home) == []
    start(home).stop()


def test_data_of_another_version_are_refused(home: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="written by PostgreSQL 18"):
        start(home, binaries=postgres_15_binaries())


def test_a_start_that_was_cut_short_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data.new" / "base").mkdir(parents=True)
    with start(tmp_path) as server:
        assert server.exit_status() is None


def test_programs_below_a_private_folder_are_copied_within_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = os.geteuid() == 0  # only root runs the server under another account, with a copy
    package = find_programs(None, tmp_path / "none").folder.parents[1]
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, tmp_path / "private" / folder.name)
    (tmp_path / "private").chmod(0o700)
    with tempfile.TemporaryDirectory() as cache:
        Path(cache).chmod(0o755)
        monkeypatch.setattr(embedded_postgres_host, "PROGRAM_CACHE", Path(cache) / "programs")
        binaries = tmp_path / "private" / package.name / "pginstall" / "bin"
        for _ in range(2):
            with start(tmp_path / "home", binaries=binaries) as server:
                command = Path(f"/proc/{server.pid}/cmdline").read_text()
                assert command.startswith(f"{cache}/programs/" if root else str(binaries))
        assert not root or len(list(Path(cache, "programs").iterdir())) == 1


@pytest.mark.parametrize("of_session", [postgres_for_tests, postgres_15_for_tests])
async def test_each_test_gets_an_empty_database(of_session: Callable[[], DatabaseServer]) -> None:
    server = of_session()
    async with fresh_database(server) as dsn:
        version = await ask(dsn, "SHOW server_version_num")
        await ask(dsn, "CREATE TABLE mine (n int)")
        async with fresh_database(server) as other:
            assert await ask(other, "SELECT to_regclass('mine')") is None
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await ask(dsn, "SELECT 1")
    assert isinstance(version, str)
    assert int(version) >= 150000


async def ask(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def processes_of(home: Path) -> list[int]:
    return cluster_processes(cluster_name(home / "postgres" / "data"))


def owner_killed(home: Path) -> int:
    """Start the server from another process, kill that process, return the id of the server."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout
        server = int(owner.stdout.readline())
        owner.kill()
    return server


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
