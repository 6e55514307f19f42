"""Casebook as production runs it: a process for each service and the console, prepared by ``init``.

The processes are started the way the documentation says, on real PostgreSQL and real Kafka, each
with its own database role. What is started here ends with the tests, however these end.
"""

import asyncio
import contextlib
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx

from casebook.platform.home import Home
from tests.support.command import CommandLine, Done, environment
from tests.support.kafka import kafka_for_tests
from tests.support.ports import free_port
from tests.support.postgres import DatabaseServer, postgres_for_tests
from tests.support.watchdog import Watchdog

SERVICES = ("intake", "dispatch", "monitoring", "quality", "risk")
CONSOLE = "console"
READY_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 60.0
RUN_SECONDS_MAX = 300.0


class FileClock:
    """A clock of other processes: ``ahead`` is how far it is moved."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ahead = timedelta(0)

    @property
    def ahead(self) -> timedelta:
        """Return how far the clock is moved."""
        return self._ahead

    @ahead.setter
    def ahead(self, ahead: timedelta) -> None:
        self._ahead = ahead
        draft = self._file.with_suffix(".draft")
        draft.write_text(str(ahead.total_seconds()))
        draft.replace(self._file)


@dataclass
class Process:
    """One running process of a deployment."""

    name: str
    url: str
    child: "subprocess.Popen[bytes]"
    log: Path
    watchdog: Watchdog

    def is_ready(self) -> bool:
        """Say whether it says so."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def wait_until_ready(self) -> None:
        """Wait until it is ready."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self.is_ready():
            assert self.child.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def terminate(self) -> None:
        """Ask it to end."""
        self.child.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for its end, and return its status."""
        try:
            return self.child.wait(STOP_SECONDS_MAX)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        self.child.kill()
        self.child.wait()
        self.watchdog.cancel()


@dataclass
class Production:
    """A deployment: a database, a Kafka, a folder for keys and addresses, and processes."""

    folder: Path
    dsn: str
    bootstrap: str
    topic: str = field(default_factory=lambda: f"casebook.events.{secrets.token_hex(8)}")
    publisher: str = field(default_factory=lambda: f"shop-monitor-{secrets.token_hex(4)}")
    settings: dict[str, str] = field(default_factory=dict[str, str])
    reach: Callable[[str], str] = str
    """How the services reach the database, where something stands between."""
    processes: list[Process] = field(default_factory=list[Process])

    def __post_init__(self) -> None:
        """Choose where everything listens."""
        self.home = Home(self.folder)
        self.urls = {name: f"http://127.0.0.1:{free_port()}" for name in (*SERVICES, CONSOLE)}

    @property
    def url(self) -> str:
        """Return the address of the console."""
        return self.urls[CONSOLE]

    @property
    def environment(self) -> dict[str, str]:
        """Return the settings that all processes share."""
        return {
            "CASEBOOK_DATABASE_URL": self.dsn,
            "CASEBOOK_KAFKA_BOOTSTRAP": self.bootstrap,
            "CASEBOOK_KAFKA_TOPIC": self.topic,
            "CASEBOOK_JWKS": str(self.home.jwks),
            "CASEBOOK_SIGNING_KEY": str(self.home.signing_key),
            "CASEBOOK_MASTER_KEY_FILE": str(self.home.master_key),
            "CASEBOOK_DRAIN_SECONDS": "0.1",
            **{f"CASEBOOK_{name.upper()}_URL": self.urls[name] for name in SERVICES},
            **self.settings,
        }

    def role_url(self, service: str) -> str:
        """Return the address that a service connects to the database with."""
        return (self.folder / "roles" / f"{service}.url").read_text().strip()

    def run(self, *arguments: str | Path, **variables: str) -> Done:
        """Run a ``casebook`` command beside the deployment."""
        return CommandLine(self.folder).run(
            *arguments, seconds_max=RUN_SECONDS_MAX, **{**self.environment, **variables}
        )

    def init(self, *options: str) -> Done:
        """Prepare database, roles, keys and topics."""
        done = self.run("init", *options)
        assert done.status == 0, done.err
        return done

    def start(
        self, name: str, *, url: str | None = None, variables: Mapping[str, str] | None = None
    ) -> Process:
        """Start one process, without waiting for it."""
        settings = self.environment
        roles = self.folder / "roles" / f"{name}.url"
        if roles.exists():
            settings["CASEBOOK_DATABASE_URL"] = self.reach(self.role_url(name))
        address = url or self.urls[name]
        log = self.folder / f"{name}-{address.rpartition(':')[2]}.log"
        with log.open("ab") as output:
            child = subprocess.Popen(
                uvicorn(name, address),
                env=environment({**settings, **(variables or {})}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is for the tests alone
            )
        watchdog = Watchdog("sh", "-c", 'kill -9 "$0"', str(child.pid))
        process = Process(name, address, child, log, watchdog)
        self.processes.append(process)
        return process

    def start_all(self, *names: str) -> None:
        """Start processes, all if none is named, and wait until every one is ready."""
        started = [self.start(name) for name in names or (*SERVICES, CONSOLE)]
        for process in started:
            process.wait_until_ready()

    def stop(self) -> list[int]:
        """Stop all processes in good order; return their statuses."""
        living = [process for process in self.processes if process.child.poll() is None]
        for process in living:
            process.terminate()
        statuses = [process.wait() for process in living]
        self.processes.clear()
        return statuses

    @contextlib.contextmanager
    def running(self, *names: str) -> Iterator["Production"]:
        """Run processes; they are stopped at the end of the block, and must end well."""
        try:
            self.start_all(*names)
            yield self
        except BaseException:
            for process in self.processes:
                process.kill()
            raise
        statuses = self.stop()
        assert set(statuses) <= {0}, statuses


def uvicorn(name: str, url: str) -> list[str]:
    """Return the command that runs a service or the console at an address."""
    port = url.rpartition(":")[2]
    words = [f"casebook.{name}.app:create_app", "--factory", "--port", port, "--no-access-log"]
    return [sys.executable, "-m", "uvicorn", *words]


@contextlib.contextmanager
def new_production(
    folder: Path, *, server: DatabaseServer | None = None, bootstrap: str = "", **settings: str
) -> Iterator[Production]:
    """Create a database for a deployment; drop it with its roles at the end."""
    dsn_of_server = (server or postgres_for_tests()).dsn
    name = f"test_{secrets.token_hex(8)}"
    roles = ", ".join(f"{name}_{service}" for service in SERVICES)
    execute(dsn_of_server, f"CREATE DATABASE {name}")
    try:
        dsn = urlsplit(dsn_of_server)._replace(path=f"/{name}").geturl()
        yield Production(folder, dsn, bootstrap or kafka_for_tests(), settings=settings)
    finally:
        execute(dsn_of_server, f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE IF EXISTS {roles}")


def execute(dsn: str, *statements: str) -> list[Any]:
    """Run statements one by one; return what the last one found."""

    async def work() -> list[Any]:
        connection = await asyncpg.connect(dsn)
        try:
            found: list[Any] = []
            for statement in statements:
                found = await connection.fetch(statement)
            return found
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as pool:  # the loop of an asynchronous test stays its own
        return pool.submit(asyncio.run, work()).result()
