"""Platforms for system tests, which talk to them through sockets only; their clock can be moved.

``embedded`` and ``kafka`` are the five applications of one process behind one real HTTP server,
in a thread of its own, with the log table or real Kafka. ``processes`` is what production runs: a
process for each service and the console, each with its own database role, on real Kafka; and
``processes-15`` is the same on the oldest PostgreSQL that is supported.
"""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest
import uvicorn

from casebook.kit import runtime as kit_runtime
from casebook.kit.settings import Settings
from casebook.platform import runner
from casebook.platform.front import Front
from casebook.platform.home import Home
from tests.support.conformance import watch
from tests.support.kafka import create_topic, kafka_for_tests
from tests.support.postgres import (
    DatabaseServer,
    fresh_database,
    postgres_15_for_tests,
    postgres_for_tests,
)
from tests.support.production import FileClock, new_production
from tests.support.threaded import in_thread

READY_SECONDS_MAX = 120.0
EVENTUALLY_SECONDS_MAX = 60.0


class MovableClock:
    """The machine's clock, and how far tests have moved it."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        """Return the moved time."""
        return datetime.now(UTC) + self.ahead


@dataclass
class RunningPlatform:
    """A platform under test."""

    url: str
    home: Home
    clock: MovableClock | FileClock
    settings: Settings
    people: dict[str, "Person"] = field(default_factory=dict)

    def person(
        self,
        subject: str,
        role: str,
        organisation: str | None = None,
        sources: tuple[str, ...] = (),
    ) -> "Person":
        """Return somebody with a token; the same person for the same name."""
        if subject not in self.people:
            token = self.home.signer().mint(
                subject, [role], organisation, sources, ttl=timedelta(days=30)
            )
            self.people[subject] = Person(self.url, token)
        return self.people[subject]


class Person:
    """Somebody who uses the APIs: sends their token, idempotency keys, and what they have seen."""

    def __init__(self, url: str, token: str) -> None:
        self.token = token
        self.client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=20,
            event_hooks={"response": [watch]},  # whatever is answered is what is documented
        )

    def get(self, path: str, **parameters: object) -> httpx.Response:
        """Read a resource."""
        return self.client.get(path, params={k: str(v) for k, v in parameters.items()})

    def send(
        self, method: str, path: str, body: object = None, *, etag: str | None = None,
        key: str | None = None,
    ) -> httpx.Response:  # fmt: skip
        """Send a command with an idempotency key of its own, and the ETag if one was seen."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        if etag is not None:
            headers["If-Match"] = etag
        return self.client.request(method, path, json=body, headers=headers)

    def change(self, method: str, resource: str, path: str, body: object = None) -> httpx.Response:
        """Read a resource's ETag, then send a command about it."""
        seen = self.get(resource)
        assert seen.status_code == 200, seen.text
        return self.send(method, f"{resource}{path}", body, etag=seen.headers["etag"])


@contextlib.contextmanager
def running_platform(kind: str, folder: Path) -> Iterator[RunningPlatform]:
    """Run a platform of ``kind``: ``embedded``, ``kafka``, ``processes`` or ``processes-15``."""
    match kind:
        case "processes":
            run = _processes(folder, postgres_for_tests())
        case "processes-15":
            run = _processes(folder, postgres_15_for_tests())
        case _:
            run = _one_process(kind, folder)
    with run as running:
        try:
            yield running
        finally:
            for person in running.people.values():
                person.client.close()


@contextlib.contextmanager
def _processes(folder: Path, server: DatabaseServer) -> Iterator[RunningPlatform]:
    """Run a process for each service, and the console."""
    file = folder / "clock"
    clock = {"CASEBOOK_TESTING": "1", "CASEBOOK_CLOCK_FILE": str(file)}
    with new_production(folder, server=server, **clock) as production:
        production.init()
        settings = production.home.settings(production.dsn, production.url)
        log = {"kafka_bootstrap": production.bootstrap, "kafka_topic": production.topic}
        with production.running():
            yield RunningPlatform(
                production.url,
                production.home,
                FileClock(file),
                settings.model_copy(update=log),
            )


@contextlib.contextmanager
def _one_process(kind: str, folder: Path) -> Iterator[RunningPlatform]:
    """Run the services in a thread, on the log table or on Kafka."""
    clock = MovableClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kit_runtime, "SystemClock", lambda: clock)
        opened = partial(_open, kind, folder, clock)
        with in_thread(opened, ready_seconds_max=READY_SECONDS_MAX) as platform:
            yield platform


@contextlib.asynccontextmanager
async def _open(kind: str, folder: Path, clock: MovableClock) -> AsyncGenerator[RunningPlatform]:
    """Run them in the loop of the caller."""
    home = Home(folder)
    home.prepare()
    with runner.listen(0) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with fresh_database(postgres_for_tests()) as dsn:
            settings = home.settings(dsn, url)
            if kind == "kafka":
                settings = await _on_kafka(settings)
            await runner.initialise(settings)
            async with runner.running(settings, url) as platform, _served(platform, listener):
                yield RunningPlatform(url, home, clock, settings)


async def _on_kafka(settings: Settings) -> Settings:
    """Return the settings with a topic of their own on real Kafka."""
    bootstrap = kafka_for_tests()
    topic = f"casebook.events.{uuid.uuid4().hex}"
    await create_topic(bootstrap, topic, 12)
    return settings.model_copy(update={"kafka_bootstrap": bootstrap, "kafka_topic": topic})


@contextlib.asynccontextmanager
async def _served(platform: runner.Platform, listener: socket.socket) -> AsyncIterator[None]:
    """Answer requests to a platform of this process."""
    config = uvicorn.Config(Front(platform.apps), lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event
        await asyncio.sleep(0.01)
    yield
    server.should_exit = True
    await task
