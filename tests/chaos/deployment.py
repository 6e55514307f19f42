"""What is killed: five processes with a PostgreSQL and a Kafka of their own, all restartable.

PostgreSQL is a direct child and is waited for before it is started again: a server that finds the
id of its dead predecessor refuses to start. kill -9 loses no page that the kernel has, so what
this proves is recovery, not fsync; that durability is switched on is checked at the start.
"""

import contextlib
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import httpx

from casebook.kit.postgres.embedded import start
from tests.chaos.snapshot import Place
from tests.support.kafka import KafkaServer, new_nodes
from tests.support.production import SERVICES, FileClock, Process, Production, execute
from tests.support.proxy import Proxy, through, to_database, to_port
from tests.support.watchdog import Watchdog

DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
READY_SECONDS_MAX = 300.0
_HIT = re.compile(rb'"failpoint.hit", "failpoint": "([a-z-]+)"')


class Database:
    """A PostgreSQL that may be killed; it ends with the tests, however these end."""

    def __init__(self, home: Path) -> None:
        self._server = start(home)
        self.dsn = self._server.dsn
        self._watchdog = self._watched()

    def kill(self) -> None:
        """End it at once with all its connections, and let it recover."""
        self.crash()
        self.recover()

    def crash(self) -> None:
        """End it at once with all its connections."""
        self._server.kill()
        self._watchdog.cancel()

    def recover(self) -> None:
        """Start it again after a crash, and wait until it answers."""
        self._server.launch()
        self._watchdog = self._watched()

    def stop(self) -> None:
        """Stop it in good order."""
        self._server.stop()
        self._watchdog.cancel()

    def _watched(self) -> Watchdog:
        folder = str(self._server.socket_folder)
        end = 'kill -INT "$0"; sleep 2; rm -rf -- "$1"'
        return Watchdog("sh", "-c", end, str(self._server.pid), folder)


@dataclass
class Deployment:
    """Everything that runs.

    ``doors`` are what services reach ``postgres`` and ``kafka`` through, where they can be shut;
    without ``kafka`` somebody else runs the brokers. ``armed`` are the services with failpoints,
    ``hits`` counts those that processes died at.
    """

    production: Production
    postgres: Database
    kafka: KafkaServer | None
    clock: FileClock
    doors: dict[str, Proxy] = field(default_factory=dict[str, Proxy])
    running: dict[str, Process] = field(default_factory=dict[str, Process])
    armed: set[str] = field(default_factory=set[str])
    hits: Counter[str] = field(default_factory=Counter[str])
    _read: dict[Path, int] = field(default_factory=dict[Path, int])

    @property
    def urls(self) -> dict[str, str]:
        """Return the addresses of the services."""
        return {name: self.production.urls[name] for name in SERVICES}

    @property
    def place(self) -> Place:
        """Return where the deployment keeps what it knows."""
        return Place(
            self.production.dsn, self.production.bootstrap, self.production.topic,
            ahead=self.clock.ahead,
        )  # fmt: skip

    def start(self, name: str, *, failpoints: str = "") -> None:
        """Start a service, without waiting for it; ``failpoints`` say where it dies."""
        variables = {"CASEBOOK_FAILPOINTS": failpoints} if failpoints else None
        (self.armed.add if failpoints else self.armed.discard)(name)
        self.running[name] = self.production.start(name, variables=variables)

    def kill(self, name: str) -> None:
        """Kill a service, ``postgres`` or ``kafka`` at once; bring the latter two back."""
        if name == "postgres":
            self.postgres.kill()
        elif name == "kafka":
            assert self.kafka is not None
            self.kafka.kill()
            self.kafka.start()
        else:
            self.running[name].kill()

    def died(self, name: str) -> bool:
        """Say whether a service has ended, and count the failpoint that did it."""
        process = self.running[name]
        if process.child.poll() is None:
            return False
        process.kill()  # ends its watchdog
        self._count_hits(process.log)
        return True

    def is_ready(self, name: str) -> bool:
        """Say whether a service answers that it is ready."""
        try:
            return httpx.get(f"{self.urls[name]}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def heal(self) -> None:
        """Start what does not run, disarm all failpoints, and wait until everything is ready.

        :raises TimeoutError: with the end of the log of what is not.
        """
        for name in SERVICES:
            if name in self.armed and not self.died(name):
                self.kill(name)
            if name not in self.running or self.died(name):
                self.start(name)
        deadline = time.monotonic() + READY_SECONDS_MAX
        for name in SERVICES:
            while not self.is_ready(name):
                log = self.running[name].log
                if time.monotonic() > deadline or self.running[name].child.poll() is not None:
                    raise TimeoutError(f"{name} is not ready:\n{log.read_text()[-3000:]}")
                time.sleep(0.1)

    def _count_hits(self, log: Path) -> None:
        """Count the hits that a log got since it was last read."""
        with log.open("rb") as file:
            file.seek(self._read.get(log, 0))
            self.hits.update(name.decode() for name in _HIT.findall(file.read()))
            self._read[log] = file.tell()


@contextlib.contextmanager
def new_deployment(*, bootstrap: str = "", doors: bool = False) -> Iterator[Deployment]:
    """Prepare a deployment, and run its services for the length of the block.

    Its Kafka is one broker of its own unless ``bootstrap`` names another; with ``doors``, what
    the services reach broker and database through can be shut.
    """
    folder = Path(tempfile.mkdtemp(prefix="casebook-chaos-"))
    try:
        with contextlib.ExitStack() as stack:
            postgres = Database(folder / "server")
            stack.callback(postgres.stop)
            for name in DURABLE:
                [[value]] = execute(postgres.dsn, f"SHOW {name}")
                assert value == "on", f"{name} is {value}: a crash would lose what was committed"
            clock = FileClock(folder / "clock")
            settings = {"CASEBOOK_TESTING": "1", "CASEBOOK_CLOCK_FILE": str(folder / "clock")}
            home = folder / "home"
            home.mkdir()
            production = Production(home, postgres.dsn, bootstrap, settings=settings)
            deployment = Deployment(production, postgres, None, clock)
            if doors:
                door = stack.enter_context(Proxy(to_database(postgres.dsn)).running())
                production.reach = partial(through, door)
                deployment.doors["postgres"] = door
            if not bootstrap:
                _run_kafka(deployment, stack, door=doors)
            production.init()
            try:
                deployment.heal()
                yield deployment
            finally:
                for process in production.processes:
                    process.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_kafka(deployment: Deployment, stack: contextlib.ExitStack, *, door: bool) -> None:
    """Run a broker of the deployment's own, behind a door if asked."""
    [node] = new_nodes(1)
    if door:
        proxy = stack.enter_context(Proxy(to_port(node.port)).running())
        node = replace(node, door=proxy.port)
        deployment.doors["kafka"] = proxy
    deployment.kafka = stack.enter_context(KafkaServer(node, [node]))
    deployment.production.bootstrap = f"127.0.0.1:{node.door or node.port}"
