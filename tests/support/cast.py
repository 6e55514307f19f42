"""A platform in this process with cases of three kinds, and people who have a part in one of them.

To the actors, cases are their own, those of a colleague (of the same organisation, in the same
team), and those of strangers (of another organisation, with another team). Of each kind there is
an open request, one that was closed against the rules, one of another system's history, and a
risk. A breach of the open request that is one's own is evidence of a risk.
"""

import asyncio
import io
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import httpx
import structlog

from casebook.events.definitions import CLOSURE_CONTROL
from casebook.events.service_level import ServiceLevelTargetBreached
from casebook.kit.store.store import Cause
from casebook.platform.front import Front
from tests.support.candidates import count_as_evidence
from tests.support.conformance import watch_async
from tests.support.filled import URL, Desk, desk
from tests.support.interface import Json, Operation, operations
from tests.support.postgres import fresh_database, postgres_for_tests
from tests.support.service import append

KINDS = ("own", "same", "foreign")
HOME_TEAM, OTHER_TEAM = "service-desk", "network"
HOME, ELSEWHERE = "青岛分公司", "别的公司"
NETWORK = {"problem_type": "infrastructure-maintenance", "category": "network"}
AT_ONCE = 4
"""How many calls are under way at a time: as many as a service has connections for them."""

BUSY = frozenset({"unavailable", "busy", "not-caught-up", "rebuilding"})
PATIENCE_TRIES = 200

Headers = dict[str, str]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Case:
    """What there is of one kind: who it belongs to, and its ids."""

    requester: str
    organisation: str
    team: str
    agent: str
    source: str
    publisher: str
    ids: dict[str, str] = field(default_factory=dict[str, str])
    """``open``, ``closed`` and ``observed`` requests, a ``risk``, a ``nonconformity``."""


@dataclass
class Cast:
    """The platform, its cases, and whoever is needed."""

    desk: Desk
    client: httpx.AsyncClient
    cases: dict[str, Case]
    documents: dict[str, Json]
    log: io.StringIO
    """Everything that the platform has logged."""
    granted: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """How often an operation answered 2xx to whom it is permitted, by its name and the role."""
    _tokens: dict[tuple[Any, ...], Headers] = field(default_factory=dict[tuple[Any, ...], Headers])

    @property
    def operations(self) -> list[Operation]:
        """Return what the five services offer."""
        return operations(self.documents)

    def person(
        self,
        subject: str,
        *roles: str,
        organisation: str | None = HOME,
        sources: Iterable[str] = (),
    ) -> Headers:
        """Return the headers of somebody; the same token for the same person."""
        key = (subject, roles, organisation, tuple(sources))
        if key not in self._tokens:
            token = self.desk.home.signer().mint(
                subject, roles, organisation, tuple(sources), ttl=timedelta(days=30)
            )
            self._tokens[key] = {"Authorization": f"Bearer {token}"}
        return self._tokens[key]

    def actor(self, role: str) -> Headers:
        """Return who plays a role: somebody to whom the ``own`` case is their own."""
        case = self.cases["own"]
        match role:
            case "anonymous":
                return {}
            case "requester":
                return self.person(case.requester, role)
            case "publisher":
                return self.person(case.publisher, role, sources=(case.source,))
            case _:
                return self.person(case.agent, role)

    async def send(
        self, who: Headers, method: str, path: str, body: object = None, **headers: str
    ) -> httpx.Response:
        """Send a command with a key of its own; it takes any version unless told otherwise."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"Idempotency-Key": uuid.uuid4().hex, "If-Match": "*"} | who | named
        return await self.ask(method, path, json=body, headers=given)

    async def ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Send a request, again where a busy machine asks for that, as any client would."""
        for _ in range(PATIENCE_TRIES):
            answer = await self.client.request(method, path, **content)
            if answer.status_code != 503 or answer.json()["code"] not in BUSY:
                return answer
            await asyncio.sleep(0.2)
        raise AssertionError(f"{method} {path}: busy for ever")

    async def done(self, who: Headers, method: str, path: str, body: object = None) -> Any:
        """Send a command that must succeed; return its answer."""
        answer = await self.send(who, method, path, body)
        assert answer.status_code < 300, (method, path, answer.text)
        return answer.json()

    def values(
        self, kind: str, operation: Operation, actor: str | None = None
    ) -> Mapping[str, str]:
        """Return the parameters in the path of an operation for what there is of a kind."""
        case = self.cases[kind]
        if operation.service == "quality" and "/surveys/" in operation.template:
            request = case.ids["closed"]
        elif actor == "publisher" or "/request-links/" in operation.template:
            request = case.ids["observed"]
        else:
            request = case.ids["open"]
        return {
            "request_id": request,
            "risk_id": case.ids["risk"],
            "nonconformity_id": case.ids["nonconformity"],
            "team": case.team,
            "agent": case.agent,
            "skill": "support",
            "control_id": CLOSURE_CONTROL.id,
            "key": case.ids["open"],
            "row_id": case.ids["open"],
            "name": case.source if operation.template.endswith("/sources/{name}") else "nothing",
        }


async def all_of(calls: Iterable[Awaitable[Value]]) -> list[Value]:
    """Await calls, several at a time."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(call: Awaitable[Value]) -> Value:
        async with places:
            return await call

    return await asyncio.gather(*(one(call) for call in calls))


@asynccontextmanager
async def cast(
    folder: Path, settings: Mapping[str, Any] = MappingProxyType({})
) -> AsyncGenerator[Cast]:
    """Run a platform with its cases; ``settings`` are those that differ from the embedded ones."""
    log = io.StringIO()
    async with AsyncExitStack() as stack:
        stack.enter_context(_logged(log))
        dsn = await stack.enter_async_context(fresh_database(postgres_for_tests()))
        found = await stack.enter_async_context(desk(dsn, folder, settings))
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(Front(found.platform.apps)),
            base_url=URL,
            event_hooks={"response": [watch_async]},  # whatever is answered is documented
        )
        await stack.enter_async_context(client)
        documents = {name: app.openapi() for name, app in found.platform.apps.items()}
        made = Cast(found, client, _cases(), documents, log)
        await _people(made)
        await asyncio.gather(*(_story(made, case) for case in made.cases.values()))
        await found.settled()
        await _evidence(made, made.cases["own"])
        await found.settled()
        yield made


@contextmanager
def _logged(log: io.StringIO) -> Iterator[None]:
    """Write what is logged here."""
    before = structlog.get_config()
    structlog.configure(logger_factory=lambda *_: structlog.WriteLogger(log))
    try:
        yield
    finally:
        structlog.configure(**before)


def _cases() -> dict[str, Case]:
    return {
        "own": Case("li", HOME, HOME_TEAM, "wang", "own-system", "erp"),
        "same": Case("zhang", HOME, HOME_TEAM, "zhao", "sister-system", "erp-2"),
        "foreign": Case("zhou", ELSEWHERE, OTHER_TEAM, "hu", "foreign-system", "foreign-erp"),
    }


def team_body(case: Case) -> Json:
    return {"name": f"{case.team} 组"}


def agent_body(case: Case) -> Json:
    """Return the registration of a case's agent, which takes no work by itself."""
    skills = {"support": 3, "networking": 3}
    return {"team": case.team, "capacity": 90, "skills": skills, "available": False}


def source_body(case: Case) -> Json:
    """Return the registration of a case's source."""
    types = ("request.submitted", "work-order.assigned-to-team", "work-order.assigned-to-agent",
             "request-link.knowledge-linked")  # fmt: skip
    return {
        "types": [f"casebook.{type_}.v1" for type_ in types],
        "organisation": case.organisation,
        "mode": "observed",
        "publisher": case.publisher,
    }


async def _people(cast: Cast) -> None:
    """Set up teams, agents and sources."""
    admin = cast.person("root", "admin")
    for case in cast.cases.values():
        await cast.done(admin, "PUT", f"/dispatch/v1/teams/{case.team}", team_body(case))
        await cast.done(admin, "PUT", f"/dispatch/v1/agents/{case.agent}", agent_body(case))
        await cast.done(admin, "PUT", f"/intake/v1/sources/{case.source}", source_body(case))
    await cast.desk.settled()


async def _story(cast: Cast, case: Case) -> None:
    """Let everything happen that there is of a kind."""
    await _live(cast, case)
    await _observed(cast, case)
    await _nonconformity(cast, case)


async def _live(cast: Cast, case: Case) -> None:
    """Let a requester ask twice, an agent have both, and a lead close one; report a risk."""
    admin = cast.person("root", "admin")
    requester = cast.person(case.requester, "requester", organisation=case.organisation)
    staff = cast.person(case.agent, "agent", "lead")
    for name in ("open", "closed"):
        body: Json = {"kind": "incident", "title": f"{name} 打印机坏了"}
        if case.team == OTHER_TEAM:
            body["classification"] = NETWORK
        case.ids[name] = (await cast.done(requester, "POST", "/intake/v1/requests", body))["id"]
    await cast.desk.settled()
    for name in ("open", "closed"):
        order = f"/dispatch/v1/work-orders/{case.ids[name]}"
        given = {"agent": case.agent, "reason": "就是他"}
        await cast.done(admin, "POST", f"{order}/assignments", given)
        await cast.desk.settled()
        await cast.done(staff, "PUT", f"{order}/acceptance")
        await cast.done(staff, "PUT", f"{order}/start")
    request = f"/intake/v1/requests/{case.ids['open']}"
    await cast.done(staff, "POST", f"{request}/internal-comments", {"body": "只给同事看"})
    order = f"/dispatch/v1/work-orders/{case.ids['closed']}"
    await cast.done(staff, "PUT", f"{order}/resolution", {"summary": "换了一台"})
    await cast.desk.settled()
    request = f"/intake/v1/requests/{case.ids['closed']}"
    await cast.done(staff, "PUT", f"{request}/closure", {"reason": "电话里说好了"})
    risk = {"category": "supplier", "title": "供应商", "owner": case.agent}
    case.ids["risk"] = (await cast.done(staff, "POST", "/risk/v1/risks", risk))["id"]


async def _observed(cast: Cast, case: Case) -> None:
    """Let another system tell of a request, of who had it, and of what it is linked with."""
    publisher = cast.person(case.publisher, "publisher", sources=(case.source,))
    requester, number = case.requester, f"OLD-{case.source}"
    submitted = {"number": number, "kind": "incident", "requester": requester}
    for sequence, (service, type_, data) in enumerate(
        (
            ("intake", "request.submitted", submitted),
            ("dispatch", "work-order.assigned-to-team", {"team": case.team, "initial": True}),
            ("dispatch", "work-order.assigned-to-agent", {"agent": case.agent}),
            ("quality", "request-link.knowledge-linked", {"article": "KB-1"}),
            ("intake", "request.commented", {"body": "不许发布"}),  # of a type not allowed
        ),
        1,
    ):
        answer = await cast.ask(
            "POST",
            f"/{service}/v1/events",
            json={
                "specversion": "1.0", "id": f"{case.source}-{sequence}", "source": case.source,
                "type": f"casebook.{type_}.v1", "subject": number, "data": data,
                "time": "2026-01-05T08:00:00Z", "sourcesequence": sequence,
            },
            headers=publisher | {"Content-Type": "application/cloudevents+json"},
        )  # fmt: skip
        allowed = f"casebook.{type_}.v1" in source_body(case)["types"]
        assert answer.json().get("accepted") == allowed, answer.text
    await cast.desk.settled()
    case.ids["observed"] = await cast.desk.value(
        f"SELECT key FROM intake.cases WHERE requester = '{requester}' AND origin = 'observed'"
    )


async def _evidence(cast: Cast, case: Case) -> None:
    """Let a breach of the open request be evidence of a risk that has gone by since."""
    now, request = datetime.now(UTC), case.ids["open"]
    breach = ServiceLevelTargetBreached(
        clock="resolution", priority=4, target_seconds=60, due_at=now, fired_at=now
    )
    monitoring, risk = (cast.desk.platform.runtime(name) for name in ("monitoring", "risk"))
    cause = Cause(actor="service:monitoring")
    said = append(monitoring, f"service-level/{request}", breach, cause=cause)
    [fact] = await monitoring.beside(said)
    await count_as_evidence(risk, fact.id)


async def _nonconformity(cast: Cast, case: Case) -> None:
    """Wait for what is found of the request that was closed too early."""
    stream = await cast.desk.until(
        "SELECT stream FROM quality.streams WHERE stream LIKE 'nonconformity/%' "
        f"AND case_key = '{case.ids['closed']}'"
    )
    case.ids["nonconformity"] = stream.rpartition("/")[2]
