"""A running platform with one of everything, for tests that go through its whole interface."""

import contextlib
import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from casebook.events.definitions import CLOSURE_CONTROL
from casebook.platform.home import Home
from tests.support import command
from tests.support.command import CommandLine, Running, eventually
from tests.support.interface import SERVICES, Json, Operation, operations

ORGANISATION = "青岛分公司"
TEAM = "service-desk"
OBSERVED, LIVE = "history", "live-system"
"""Sources: one whose history is taken as it is, one that has to keep the rules."""

EVERYBODY = (
    "requester", "agent", "lead", "auditor", "risk-manager", "admin", "publisher", "operator",
)  # fmt: skip
QUIET_SECONDS_MAX = 30.0


@dataclass
class Person:
    """Somebody with a token."""

    client: httpx.Client
    headers: dict[str, str]

    def get(self, path: str, **parameters: str) -> httpx.Response:
        return self.client.get(path, params=parameters, headers=self.headers)

    def send(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Send a command that takes whatever version there is, with a key of its own."""
        given = {"Idempotency-Key": uuid.uuid4().hex, "If-Match": "*"} | headers
        content = None if body is None else json.dumps(body).encode()
        return self.raw(method, path, content, **given)

    def raw(self, method: str, path: str, content: bytes | None, **headers: str) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if content is not None:
            given = {"Content-Type": "application/json"} | given
        return self.client.request(
            method, path, content=content, headers=encoded(self.headers | given)
        )


@dataclass
class Stage:
    """The platform, and what is on it."""

    running: Running
    home: Home
    client: httpx.Client
    documents: dict[str, Json]
    values: dict[str, str] = field(default_factory=dict[str, str])
    """A value for every parameter in a path."""

    def person(
        self,
        subject: str,
        *roles: str,
        organisation: str | None = ORGANISATION,
        sources: Collection[str] = (),
    ) -> Person:
        token = self.home.signer().mint(
            subject, roles, organisation, sources, ttl=timedelta(hours=1)
        )
        return Person(self.client, {"Authorization": f"Bearer {token}"})

    @property
    def everybody(self) -> Person:
        """Return somebody who may do everything that a person may do to what is on the stage."""
        return self.person("wang", *EVERYBODY, sources=(OBSERVED, LIVE))

    @property
    def operations(self) -> list[Operation]:
        return operations(self.documents)

    def path(self, operation: Operation) -> str:
        """Return the path to what an operation is about, on this stage."""
        if operation.template.startswith(f"/{operation.service}/v1/projections/"):
            return operation.path({"name": "no-such-projection"})
        return operation.path(self.values)

    def quiet(self) -> None:
        """Wait until nothing is left to promote, to publish or to read."""

        def is_quiet() -> bool:
            for service in SERVICES:
                lag = self.everybody.get(f"/{service}/v1/lag").json()
                pending = self.everybody.get(f"/{service}/v1/ingress").json()["pending"]
                if lag["records"] or lag["outbox"] or pending:
                    return False
            return True

        eventually(is_quiet, "quiet", seconds_max=QUIET_SECONDS_MAX)

    def log(self) -> str:
        """Return everything that the platform has logged."""
        return self.running.log.read_text()


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Run a platform and set it up."""
    with pytest.MonkeyPatch.context() as patch:
        given = command.environment
        patch.setattr(
            command, "environment", lambda more: given({"CASEBOOK_LOG_LEVEL": "info", **more})
        )
        line = CommandLine(folder / "home")
        with line.up() as running, httpx.Client(base_url=running.url, timeout=30) as client:
            documents = {
                service: client.get(f"/{service}/openapi.json").json() for service in SERVICES
            }
            found = Stage(running, Home(line.home), client, documents)
            _set_up(found)
            yield found


def _set_up(stage: Stage) -> None:
    """Put one of everything on the stage."""
    wang = stage.everybody
    agent = {"team": TEAM, "capacity": 500, "skills": {"support": 3}, "name": "王伟"}
    for path, body in (
        (f"/dispatch/v1/teams/{TEAM}", {"name": "服务台"}),
        ("/dispatch/v1/agents/wang", agent),
        (f"/intake/v1/sources/{LIVE}", _source("live", "wang")),
        (f"/intake/v1/sources/{OBSERVED}", _source("observed", "importer")),
    ):
        done(wang.send("PUT", path, body))
    request = submitted(wang)
    risk = {"category": "supplier", "title": "备份供应商可能破产", "owner": "zhao.min"}
    risk_path = done(wang.send("POST", "/risk/v1/risks", risk)).headers["location"]
    stage.values = {
        "request_id": request,
        "risk_id": risk_path.rpartition("/")[2],
        "team": TEAM,
        "agent": "wang",
        "skill": "数据库",
        "name": LIVE,
        "control_id": CLOSURE_CONTROL.id,
        "nonconformity_id": str(uuid.uuid4()),
        "key": request,
        "row_id": str(uuid.uuid4()),
    }
    order = f"/dispatch/v1/work-orders/{request}"
    eventually(lambda: wang.get(order).json().get("agent") == "wang", "the assignment")
    stage.quiet()


def encoded(headers: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return headers as they travel, whatever they hold."""
    return {name.encode(): value.encode() for name, value in headers.items()}


def _source(mode: str, publisher: str) -> Json:
    types = ["casebook.request.submitted.v1", "casebook.request.commented.v1",
             "casebook.work-order.noted.v1"]  # fmt: skip
    return {"types": types, "mode": mode, "publisher": publisher}


def submitted(person: Person, **fields: Any) -> str:
    """Submit a request and return its id."""
    body = {"kind": "incident", "title": "打印机坏了 — 三楼", "description": "换了墨盒也没用。"}
    answer = done(person.send("POST", "/intake/v1/requests", body | fields))
    return str(answer.json()["id"])


def done(answer: httpx.Response) -> httpx.Response:
    """Return an answer that says that it was done."""
    assert answer.status_code < 300, (answer.request.url, answer.text)
    return answer
