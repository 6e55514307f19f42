"""A database that the five services have filled: something in every table that `verify` reads.

Imported history, live work to every end that it can have, what a source may not publish, cases
that wait for an operator, and events that no relay has published yet.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import httpx
import pytest

from casebook.console.importing.run import run_import
from casebook.kit import runtime as kit_runtime
from casebook.kit.store.relay import Relay
from casebook.platform import runner
from casebook.platform.front import Front
from casebook.platform.home import Home
from casebook.quality.projections.closure_control import ClosureControl
from tests.support.candidates import count_as_evidence

SAMPLE = Path("console/casebook/console/samples/servicenow-audit-900.csv.gz")
SERVICES = ("intake", "dispatch", "monitoring", "quality", "risk")
URL = "http://127.0.0.1:8080"
PATIENCE_SECONDS = 60.0
NO_KAFKA: Mapping[str, str] = MappingProxyType({})
_PUBLISHED = " AND ".join(
    f"NOT EXISTS (SELECT FROM {service}.outbox) AND NOT EXISTS (SELECT FROM {service}.inbox)"
    for service in SERVICES
)
_READ = " + ".join(
    f"(SELECT coalesce(sum(next_offset), 0) FROM {service}.checkpoints WHERE subscription = 'live')"
    for service in SERVICES
)


class Clock:
    """The machine's clock, and how far it was moved."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Desk:
    """A running platform and the people around it."""

    platform: runner.Platform
    client: httpx.AsyncClient
    home: Home
    clock: Clock
    poisonous: set[str] = field(default_factory=set[str])

    def headers(self, subject: str, role: str, *sources: str) -> dict[str, str]:
        organisation = "青岛分公司" if role == "requester" else None
        token = self.home.signer().mint(
            subject, [role], organisation, sources, ttl=timedelta(days=90)
        )
        return {"Authorization": f"Bearer {token}"}

    async def send(
        self, who: tuple[str, str], method: str, path: str, body: object = None,
        about: str | None = None,
    ) -> httpx.Response:  # fmt: skip
        """Send a command; ``about`` is the resource whose ETag it needs."""
        headers = self.headers(*who) | {"Idempotency-Key": uuid.uuid4().hex}
        if about is not None:
            seen = await self.client.get(about, headers=self.headers(*who))
            headers["If-Match"] = seen.headers["etag"]
        answer = await self.client.request(method, path, json=body, headers=headers)
        assert answer.status_code < 300, (path, answer.text)
        return answer

    async def value(self, statement: str) -> Any:
        async with self.platform.runtime("intake").database.http() as connection:
            return await connection.fetchval(statement)

    async def until(self, statement: str) -> Any:
        """Wait until a statement's value is true, and return it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (found := await self.value(statement)):  # noqa: ASYNC110 - a table
                await asyncio.sleep(0.02)
        return found

    async def settled(self) -> None:
        """Wait until all is promoted, published and read."""
        heads = self.platform.runtime("intake").heads
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                records = sum((await heads()).values())
                settled = f"SELECT {_PUBLISHED} AND {_READ} >= {len(SERVICES) * records}"
                if await self.value(settled) and sum((await heads()).values()) == records:
                    return
                await asyncio.sleep(0.02)


@asynccontextmanager
async def desk(
    dsn: str, folder: Path, given: Mapping[str, Any], *, relay: bool = True
) -> AsyncGenerator[Desk]:
    """Run a platform on a database, without its relays if that is asked for.

    ``given`` are settings; unless they name a topic, the log is a table.
    """
    home, clock = Home(folder), Clock()
    home.prepare()
    settings = home.settings(dsn, URL).model_copy(update={"poll_seconds": 0.1, **given})
    await runner.initialise(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kit_runtime, "SystemClock", lambda: clock)
        if not relay:
            patch.setattr(Relay, "run", _idle)
        async with runner.running(settings, URL) as platform:
            transport = httpx.ASGITransport(Front(platform.apps))
            async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
                found = Desk(platform, client, home, clock)
                fold = ClosureControl.fold
                patch.setattr(ClosureControl, "fold", _poisoned(fold, found.poisonous))
                yield found


async def fill(
    dsn: str, folder: Path, *, requests: int, kafka: Mapping[str, str] = NO_KAFKA
) -> None:
    """Fill a database; it is at rest afterwards, and no platform runs on it."""
    async with desk(dsn, folder, kafka) as open_desk:
        await _history(open_desk, requests)
        await _people(open_desk)
        await _refused(open_desk)
        await _work(open_desk)
        await _risk(open_desk)
        await open_desk.settled()
        await _time_passes(open_desk)
    async with desk(dsn, folder, kafka, relay=False) as closed_desk:
        await _submit(closed_desk)
        await closed_desk.until("SELECT count(*) FROM intake.outbox")


async def _idle(relay: Relay) -> None:
    await asyncio.Event().wait()


def _poisoned(fold: Callable[..., Any], cases: set[str]) -> Callable[..., Any]:
    """Return the fold, but failing for some cases."""

    def failing(self: ClosureControl, row: Any, fact: Any) -> Any:
        if fact.case in cases:
            raise RuntimeError("planted by a test")
        return fold(self, row, fact)

    return failing


async def _history(desk: Desk, requests: int) -> None:
    """Import some of the real log."""
    token = desk.home.signer().mint(
        "uci498", ["admin", "publisher"], None, ("uci498",), ttl=timedelta(hours=1)
    )
    summary = await run_import(
        SAMPLE, url=URL, token=token, limit=requests,
        transport=httpx.ASGITransport(Front(desk.platform.apps)),
    )  # fmt: skip
    assert summary.quarantined == 0, summary


ADMIN, LEAD, LI = ("admin", "admin"), ("chen", "lead"), ("li", "requester")


async def _people(desk: Desk) -> None:
    """Create a team of two agents with their lead."""
    await desk.send(ADMIN, "PUT", "/dispatch/v1/teams/service-desk", {"name": "服务台"})
    for name, available in (("wang", True), ("zhao", True), ("chen", False)):
        body = {"team": "service-desk", "capacity": 50, "skills": {"support": 3},
                "available": available, "name": f"{name} 先生"}  # fmt: skip
        await desk.send(ADMIN, "PUT", f"/dispatch/v1/agents/{name}", body)


async def _refused(desk: Desk) -> None:
    """Let a source publish what it may not: it is skipped, and its place is taken."""
    body = {"types": ["casebook.request.submitted.v1"], "mode": "live", "publisher": "legacy"}
    await desk.send(ADMIN, "PUT", "/intake/v1/sources/legacy", body)
    event = {
        "specversion": "1.0", "id": "e-1", "source": "legacy", "subject": "工单-1",
        "type": "casebook.work-order.noted.v1", "time": "2026-01-05T08:00:00Z",
        "sourcesequence": 1, "data": {},
    }  # fmt: skip
    headers = desk.headers("legacy", "publisher", "legacy")
    answer = await desk.client.post(
        "/dispatch/v1/events", json=event,
        headers=headers | {"Content-Type": "application/cloudevents+json"},
    )  # fmt: skip
    assert answer.status_code == 202, answer.text
    await desk.until("SELECT count(*) FROM dispatch.streams WHERE stream ~ '^ingress-dispatch/'")


async def _submit(desk: Desk, **fields: object) -> str:
    body = {"kind": "incident", "title": "打印机坏了 — 三楼", "description": "换了墨盒也没用。"}
    answer = await desk.send(LI, "POST", "/intake/v1/requests", body | fields)
    return str(answer.json()["id"])


async def _resolved(desk: Desk, **fields: object) -> str:
    """Take a new request to its resolution."""
    request = await _submit(desk, **fields)
    order = f"/dispatch/v1/work-orders/{request}"
    agent = await desk.until(
        f"SELECT state->>'agent' FROM dispatch.streams WHERE stream = 'work-order/{request}'"
    )
    who = (str(agent), "agent")
    await desk.until(
        f"SELECT count(*) FROM dispatch.cases WHERE key = '{request}' AND team IS NOT NULL"
    )
    await desk.send(who, "PUT", f"{order}/acceptance", about=order)
    await desk.send(who, "PUT", f"{order}/start", about=order)
    await desk.send(who, "POST", f"{order}/notes", {"text": "已联系供应商"})
    await desk.send(who, "PUT", f"{order}/resolution", {"summary": "更换了定影器"}, about=order)
    await desk.until(
        "SELECT count(*) FROM intake.streams "
        f"WHERE stream = 'request/{request}' AND state->>'status' = 'resolved'"
    )
    return request


async def _work(desk: Desk) -> None:
    """Take requests to their ends: confirmed, closed by a lead, cancelled, parked."""
    confirmed, closed, parked, discarded = [await _resolved(desk) for _ in range(4)]
    cancelled = await _submit(desk)
    desk.poisonous |= {parked, discarded}
    for request in (confirmed, parked, discarded):
        path = f"/intake/v1/requests/{request}"
        await desk.send(LI, "PUT", f"{path}/confirmation", about=path)
    path = f"/intake/v1/requests/{closed}"
    await desk.send(LEAD, "PUT", f"{path}/closure", {"reason": "客户电话确认"}, about=path)
    path = f"/intake/v1/requests/{cancelled}"
    await desk.send(LI, "PUT", f"{path}/cancellation", {"reason": "不需要了"}, about=path)
    survey = f"/quality/v1/surveys/{confirmed}"
    await desk.until(f"SELECT count(*) FROM quality.streams WHERE stream = 'survey/{confirmed}'")
    await desk.send(LI, "PUT", f"{survey}/answer", {"satisfaction": 5}, about=survey)
    await desk.until("SELECT count(*) = 2 FROM (SELECT DISTINCT key FROM quality.parked) AS p")
    await desk.send(
        ("op", "operator"), "POST", f"/quality/v1/parked/{discarded}/discards", {"reason": "毒"}
    )
    await desk.until("SELECT count(*) FROM quality.streams WHERE stream ~ '^nonconformity/'")


async def _risk(desk: Desk) -> None:
    """Register a risk and assess it."""
    who = ("sun", "risk-manager")
    body = {"category": "supplier", "title": "备份供应商可能破产", "owner": "zhao.min"}
    answer = await desk.send(who, "POST", "/risk/v1/risks", body)
    path = answer.headers["location"]
    body = {"stage": "inherent", "likelihood": 3, "impact": 4}
    await desk.send(who, "POST", f"{path}/assessments", body, about=path)


async def _time_passes(desk: Desk) -> None:
    """Leave one request so long that its targets are breached."""
    request = await _submit(desk, impact=1, urgency=1, service="mail")
    await desk.until(
        f"SELECT count(*) FROM monitoring.streams WHERE stream = 'service-level/{request}'"
    )
    await desk.settled()
    desk.clock.ahead += timedelta(hours=5)
    breach = await desk.until("SELECT min(breach::text) FROM risk.resolution_breaches")
    await desk.settled()
    await count_as_evidence(desk.platform.runtime("risk"), UUID(breach))
    await desk.settled()
