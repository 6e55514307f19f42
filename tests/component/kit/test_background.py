"""Long work of a service, beside which people are answered (ADR 0070)."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from casebook.events.ingress import Published, to_batch
from casebook.kit.background import BackgroundLoop
from casebook.kit.decider import Fact
from casebook.kit.ids import new_id
from casebook.kit.ingress.inbox import Inbox, Result
from casebook.kit.postgres.pool import Connection
from casebook.kit.read_models.projections import Row
from tests.support.pump import SOURCE, event, inbox_size, log_of, register
from tests.support.service import Bench, Headers, Served, until
from tests.support.toy import Tally, intake, router, submitted

ANSWERED_SECONDS_MAX = 20.0
SUBMISSION = {"title": "打印机不出纸"}


@pytest.fixture
def ann(bench: Bench) -> Headers:
    return bench.person("ann", "requester")


async def submit(served: Served, ann: Headers) -> httpx.Response:
    """Submit a request."""
    return await served.send("PUT", f"/requests/{new_id()}", ann, SUBMISSION)


class Held:
    """Holds its thread until somebody else was answered; that stands for long computing."""

    def __init__(self) -> None:
        self.begun, self.answered = threading.Event(), threading.Event()
        self.in_time: list[bool] = []

    def compute(self) -> None:
        self.begun.set()
        self.in_time.append(self.answered.wait(ANSWERED_SECONDS_MAX))

    async def check_that_people_are_answered(self, served: Served, ann: Headers) -> None:
        """Submit and read once it has begun."""
        while not self.begun.is_set():  # noqa: ASYNC110 - it is set in another thread
            await asyncio.sleep(0.01)
        written = await submit(served, ann)
        assert written.status_code == 201, written.text
        read = await served.read(written.request.url.path.removeprefix("/intake/v1"), ann)
        assert read.status_code == 200, read.text
        self.answered.set()
        await until(self._is_done)
        assert all(self.in_time)

    async def _is_done(self) -> bool:
        return bool(self.in_time)


class HeldTally(Tally):
    """A read model that is slow to fold."""

    def __init__(self, held: Held) -> None:
        super().__init__()
        self._held = held

    def fold(self, row: Row | None, fact: Fact) -> Row:
        self._held.compute()
        return super().fold(row, fact)


async def test_people_are_answered_while_the_reader_folds(bench: Bench, ann: Headers) -> None:
    held = Held()
    service = intake(HeldTally(held))
    async with bench.serving(service, router, background=BackgroundLoop()) as served:
        assert (await submit(served, ann)).status_code == 201
        await held.check_that_people_are_answered(served, ann)


async def test_people_are_answered_while_published_events_are_read(
    bench: Bench, ann: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, accept = Held(), Inbox.accept

    async def slow(
        inbox: Inbox, connection: Connection, events: Sequence[Published], **how: Any
    ) -> tuple[list[Result], set[str]]:
        held.compute()
        return await accept(inbox, connection, events, **how)

    monkeypatch.setattr(Inbox, "accept", slow)
    pump = bench.person("pump", "publisher", sources=[SOURCE])
    headers = pump | {"Content-Type": "application/cloudevents-batch+json"}
    async with bench.serving(intake(), router, background=BackgroundLoop()) as served:
        body = to_batch([event("S", submitted(), 1)])
        publishing = asyncio.create_task(
            served.client.post("/intake/v1/events", content=body, headers=headers)
        )
        await held.check_that_people_are_answered(served, ann)
        assert (await publishing).json()["accepted"] == 1


async def test_what_is_accepted_is_promoted_and_applied_there(bench: Bench) -> None:
    """From the request that publishes to the read model, with all that wakes who comes next."""
    pump = bench.person("pump", "publisher", sources=[SOURCE])
    headers = pump | {"Content-Type": "application/cloudevents-batch+json"}
    tally = Tally()
    service = intake(tally)
    async with bench.running(service) as runtime:
        await register(runtime)
    async with bench.serving(
        service, router, background=BackgroundLoop(), poll_seconds=60.0
    ) as served:
        body = to_batch([event(f"S{number}", submitted(), 1) for number in range(50)])
        answer = await served.client.post("/intake/v1/events", content=body, headers=headers)
        assert answer.json()["accepted"] == 50, answer.text

        async def applied() -> bool:
            return await bench.value("SELECT count(*) FROM tally") == 50

        await until(applied)
        assert await inbox_size(bench) == 0
        assert len(await log_of(bench, "S49")) == 1
