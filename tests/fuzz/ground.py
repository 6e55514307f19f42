"""A platform for hostile input: in a thread of this process, behind a real HTTP server.

Its log is the table of the embedded mode, or a topic on real Kafka, with another one for somebody
who publishes over Kafka.
"""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncGenerator, Coroutine, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvicorn

from casebook.events.catalog import EVENTS, publishable
from casebook.events.kafka import PARTITIONS
from casebook.kit.ingress import kafka as ingress_kafka
from casebook.platform import runner
from casebook.platform.front import Front
from tests.support.cast import Cast, cast
from tests.support.interface import SERVICES
from tests.support.kafka import create_topic, kafka_for_tests
from tests.support.stage import EVERYBODY
from tests.support.threaded import in_thread

READY_SECONDS_MAX = 600.0
QUIET_SECONDS_MAX = 600.0
PREDECESSOR_SECONDS_MAX = 30.0
SOURCES = ("fuzz-observed", "fuzz-live")
"""One that may tell any history, and one that has to keep the rules, of every type there is."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Topics:
    """Where records are read from: the log, and the topic of one publisher."""

    bootstrap: str
    log: str
    publisher: str

    @property
    def ingress(self) -> str:
        return f"{ingress_kafka.PREFIX}{self.publisher}"

    def settings(self) -> dict[str, Any]:
        """Return the settings of a platform that reads them, and waits for no unknown source."""
        return {
            "kafka_bootstrap": self.bootstrap,
            "kafka_topic": self.log,
            "predecessor_seconds_max": PREDECESSOR_SECONDS_MAX,
        }


@dataclass
class Ground:
    """The platform with its cases, and the loop that it runs in."""

    url: str
    cast: Cast
    loop: asyncio.AbstractEventLoop
    topics: Topics | None = None
    planted: set[str] = field(default_factory=set[str])
    """Cases that only records on the log know, which nobody of ours has written: these may be
    parked."""

    def do(self, work: Coroutine[Any, Any, Value]) -> Value:
        """Run work beside the platform, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    @property
    def everybody(self) -> dict[str, str]:
        """Return the headers of somebody who has every part, and speaks for every source."""
        return self.cast.person("wang", *EVERYBODY, "service", sources=SOURCES)

    @property
    def kafka(self) -> Topics:
        """Return the topics of a platform on Kafka."""
        assert self.topics is not None, "the log is a table"
        return self.topics

    async def rows(self, statement: str) -> list[Any]:
        """Return what a statement gives."""
        async with self.cast.desk.platform.runtime("intake").database.http() as connection:
            return list(await connection.fetch(statement))

    async def column(self, statement: str) -> list[Any]:
        """Return the first column of what a statement gives."""
        return [row[0] for row in await self.rows(statement)]

    async def quiet(self) -> None:
        """Wait until nothing is left to promote, to publish or to read."""
        async with asyncio.timeout(QUIET_SECONDS_MAX):
            while True:
                try:
                    await self.cast.desk.settled()
                    return
                except TimeoutError:
                    continue

    def unsound(self) -> list[str]:
        """Return what hostile input has left behind that it should not have, once all is quiet."""
        return self.do(self._unsound())

    async def _unsound(self) -> list[str]:
        await self.quiet()
        wrong: list[str] = []
        for service in SERVICES:
            runtime = self.cast.desk.platform.runtime(service)
            if runtime.reader.halted is not None:
                wrong.append(f"{service}: the reader has halted: {runtime.reader.halted}")
            wrong += [f"{service}: {task} has failed" for task in runtime.failed_tasks()]
            parked = await self.column(f"SELECT DISTINCT key FROM {service}.parked")
            wrong += [f"{service}: {key!r} is parked" for key in set(parked) - self.planted]
        return wrong + [
            line for line in self.cast.log.getvalue().splitlines() if self._is_bad(line)
        ]

    def _is_bad(self, line: str) -> bool:
        """Say whether a line of the log tells of a defect: a planted case may be parked."""
        if '"level":"error"' not in line and '"level":"critical"' not in line:
            return False
        fields = json.loads(line)
        return fields["event"] != "case.parked" or fields["key"] not in self.planted


@contextlib.contextmanager
def ground(folder: Path, *, kafka: bool = False) -> Iterator[Ground]:
    """Run a platform until the end of the block."""
    opened = partial(_served, folder, kafka=kafka)
    with in_thread(opened, ready_seconds_max=READY_SECONDS_MAX) as made:
        yield made


@contextlib.asynccontextmanager
async def _served(folder: Path, *, kafka: bool) -> AsyncGenerator[Ground]:
    """Run it in the loop of the caller."""
    topics = await _new_topics() if kafka else None
    with runner.listen(0) as listener, pytest.MonkeyPatch.context() as patch:
        if topics is not None:  # the topics of other tests on the same Kafka are theirs
            patch.setattr(ingress_kafka, "PATTERN", f"^{topics.ingress}$")
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with cast(folder, {} if topics is None else topics.settings()) as made:
            await _register(made, "wang" if topics is None else topics.publisher)
            config = uvicorn.Config(Front(made.desk.platform.apps), lifespan="off", log_config=None)
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            yield Ground(url, made, asyncio.get_running_loop(), topics)
            server.should_exit = True
            await serving


async def _new_topics() -> Topics:
    """Create topics that nobody else uses."""
    name = uuid.uuid4().hex
    topics = Topics(kafka_for_tests(), f"casebook.events.{name}", f"fuzz-{name}")
    await create_topic(topics.bootstrap, topics.log, PARTITIONS)
    await create_topic(topics.bootstrap, topics.ingress, 3)
    return topics


async def _register(cast: Cast, publisher: str) -> None:
    """Let somebody publish everything that anybody may."""
    types = [event.type for event in EVENTS.values() if publishable(event)]
    for name in SOURCES:
        body = {"types": types, "mode": name.removeprefix("fuzz-"), "publisher": publisher}
        await cast.done(cast.person("root", "admin"), "PUT", f"/intake/v1/sources/{name}", body)
    await cast.desk.settled()
