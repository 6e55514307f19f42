"""Runs the embedded platform: PostgreSQL, migrations, five applications, one HTTP server."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import uvicorn
from fastapi import FastAPI

from casebook.dispatch.app import create_app as create_dispatch
from casebook.intake.app import create_app as create_intake
from casebook.kit.background import BackgroundLoop
from casebook.kit.child_process import collect_garbage_rarely, when_parent_ends
from casebook.kit.postgres import embedded as embedded_postgres
from casebook.kit.postgres.embedded import HomeInUse
from casebook.kit.runtime import Runtime
from casebook.kit.settings import Settings
from casebook.kit.setup.migrations import migrate, migrate_log
from casebook.kit.setup.roles import prepare_roles
from casebook.kit.signals import Signal
from casebook.monitoring.app import create_app as create_monitoring
from casebook.platform.front import Front
from casebook.platform.home import Home
from casebook.quality.app import create_app as create_quality
from casebook.risk.app import create_app as create_risk

LOOPBACK = "127.0.0.1"

APPS: dict[str, Callable[[Settings | None], FastAPI]] = {
    "intake": create_intake,
    "dispatch": create_dispatch,
    "monitoring": create_monitoring,
    "quality": create_quality,
    "risk": create_risk,
}


@dataclass(slots=True)
class Platform:
    """The five running services of this process."""

    url: str
    settings: Settings
    apps: dict[str, FastAPI]

    def runtime(self, service: str) -> Runtime:
        """Return the runtime of a service."""
        runtime: Runtime = self.apps[service].state.runtime
        return runtime


def create_apps(settings: Settings) -> dict[str, FastAPI]:
    """Return the five applications, waking each other's readers."""
    log_signal = Signal()
    background = BackgroundLoop()
    apps = {name: create(settings) for name, create in APPS.items()}
    for app in apps.values():
        app.state.runtime.share(log_signal, background)
    return apps


async def initialise(settings: Settings) -> None:
    """Create or check every schema, under one lock."""
    connection = await asyncpg.connect(settings.database_url)
    try:
        if not settings.kafka_bootstrap:
            await migrate_log(connection)
        for app in create_apps(settings).values():
            await migrate(connection, app.state.runtime.service)
    finally:
        await connection.close()


async def prepare_service_roles(settings: Settings, folder: Path) -> None:
    """Give every service a database role of its own; ``folder`` gets their addresses."""
    services = [app.state.runtime.service for app in create_apps(settings).values()]
    await prepare_roles(settings.database_url, services, folder)


@asynccontextmanager
async def running(settings: Settings, url: str) -> AsyncGenerator[Platform]:
    """Start the five services; stop them in reverse order at the end."""
    apps = create_apps(settings)
    async with AsyncExitStack() as stack:
        for app in apps.values():
            await stack.enter_async_context(app.router.lifespan_context(app))
        yield Platform(url, settings, apps)


async def serve(home: Home, port: int, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Run the platform of a home until SIGINT, SIGTERM or SIGHUP, also while it is starting.

    ``port`` 0 takes a free one. Binds loopback only.

    :raises HomeInUse: when another process runs this home.
    :raises OSError: when the port is taken.
    """
    url = home.running_url()
    if url is not None:
        raise HomeInUse(f"{home.path} runs already on {url}")
    serving = asyncio.create_task(_serve(home, port, on_ready))
    told = False

    def stop() -> None:
        nonlocal told
        told = True
        serving.cancel()

    with _at_signals(stop):
        try:
            await serving
        except asyncio.CancelledError:
            if not told:
                raise


async def _serve(home: Home, port: int, on_ready: Callable[[str], None] | None) -> None:
    """Run the platform of a home until cancelled; then answer what was asked, and stop."""
    with listen(port) as listener:
        url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        home.prepare()
        async with embedded_postgres.running(home.path) as postgres:
            settings = home.settings(postgres.dsn, url)
            await initialise(settings)
            async with running(settings, url) as platform:
                server = _Server(_server_config(platform))
                answering = asyncio.create_task(server.serve(sockets=[listener]))
                try:
                    await server.until_started(answering)
                    collect_garbage_rarely()
                    home.announce(url)
                    if on_ready is not None:
                        on_ready(url)
                    await asyncio.shield(answering)
                finally:
                    home.retract()
                    server.should_exit = True
                    await answering


def _server_config(platform: Platform) -> uvicorn.Config:
    """Return how the platform's one HTTP server is run."""
    return uvicorn.Config(
        Front(platform.apps),
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        server_header=False,
    )


class _Server(uvicorn.Server):
    """A server that leaves signals to us, so that PostgreSQL is stopped after it."""

    async def until_started(self, serving: "asyncio.Task[None]") -> None:
        """Wait until requests are answered, or the server has ended."""
        while not self.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.01)

    @contextlib.contextmanager
    def capture_signals(self):
        """Capture none."""
        yield


@contextlib.contextmanager
def _at_signals(stop: Callable[[], None]) -> Generator[None]:
    """Call ``stop`` when this process is told to end; what it was told to ignore stays ignored."""
    loop = asyncio.get_running_loop()
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) != signal.SIG_IGN
    ]
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def listen(port: int) -> socket.socket:
    """Return a listening socket on loopback."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen(512)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise
        taken = f"port {port} is taken; name another one with --port, or 0 for any free one"
        raise OSError(error.errno, taken) from error
    return listener


def exit_with_parent() -> None:
    """Send this process SIGTERM when standard input ends: the starter has gone, however."""
    when_parent_ends(lambda: os.kill(os.getpid(), signal.SIGTERM))
