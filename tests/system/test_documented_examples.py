"""Every body that the five OpenAPI documents show is sent to a running platform, which takes it.

Each is sent as it stands, by somebody who may, about a case that was brought to where it applies.
That answers are as documented is held by the client, as everywhere.
"""

import json
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support.cast import Cast, Headers, agent_body, cast
from tests.support.interface import PUBLISHING, SERVICES, Json, Operation

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELPDESK = {
    "types": [
        "casebook.request.submitted.v1", "casebook.work-order.noted.v1",
        "casebook.service-level.source-result-recorded.v1",
        "casebook.request-link.knowledge-linked.v1",
    ],
    "organisation": "青岛分公司", "mode": "observed", "publisher": "importer",
}  # fmt: skip
"""The source that the examples of events name."""

QUARANTINED = {"risk": "not-publishable"}
"""Services that take none of the events of their own example, and what they say of it."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator["Scene"]:
    async with cast(tmp_path_factory.mktemp("examples")) as found:
        yield Scene(found)


class Scene:
    """The platform with its cases, and which examples it has taken."""

    def __init__(self, made: Cast) -> None:
        self.cast = made
        self.operations = {operation.name: operation for operation in made.operations}
        self.taken: set[tuple[str, str]] = set()
        self.admin = made.person("root", "admin")

    @property
    def documented(self) -> set[tuple[str, str]]:
        """Return all operations with a body, with the media types that they take."""
        return {(name, media) for name, found in self.operations.items() for media in bodies(found)}

    async def send(self, name: str, who: Headers, /, **values: str) -> list[httpx.Response]:
        """Send every body that an operation shows, and wait for what follows."""
        operation = self.operations[name]
        answers: list[httpx.Response] = []
        for media, body in bodies(operation).items():
            headers = {"Idempotency-Key": uuid.uuid4().hex, "If-Match": "*", "Content-Type": media}
            answer = await self.cast.ask(
                operation.method,
                operation.path(values),
                content=json.dumps(body).encode(),
                headers=headers | attributes(operation, media) | who,
            )
            successes = {status for status in operation.described["responses"] if status[0] == "2"}
            assert str(answer.status_code) in successes, (name, media, answer.text)
            self.taken.add((name, media))
            answers.append(answer)
        await self.cast.desk.settled()
        return answers

    async def done(self, who: Headers, method: str, path: str, body: object = None) -> None:
        """Bring a case to where an example applies."""
        await self.cast.done(who, method, path, body)
        await self.cast.desk.settled()


def bodies(operation: Operation) -> Mapping[str, Any]:
    """Return the examples of an operation's body, by media type."""
    content: Json = operation.described.get("requestBody", {}).get("content", {})
    return {media: described["example"] for media, described in content.items()}


def attributes(operation: Operation, media: str) -> Headers:
    """Return the headers with which a body that is only an event's data is an event."""
    if operation.described["operationId"] != PUBLISHING or media != "application/json":
        return {}
    return {
        parameter["name"]: str(parameter["example"])
        for parameter in operation.parameters("header")
        if parameter["name"].startswith("ce-")
    }


async def test_people_and_sources(scene: Scene) -> None:
    await scene.send("dispatch.createTeam", scene.admin, team="security")
    await scene.send("dispatch.registerAgent", scene.admin, agent="li.na")
    await scene.send("dispatch.grantSkill", scene.admin, agent="li.na", skill="networking")
    for name in ("changeCapacity", "changeTeam", "changeAvailability"):
        await scene.send(f"dispatch.{name}", scene.admin, agent="li.na")
    await scene.send("intake.registerSource", scene.admin, name="legacy")


async def test_requests_and_work(scene: Scene) -> None:
    own = scene.cast.cases["own"]
    requester, staff = scene.cast.actor("requester"), scene.cast.person(own.agent, "agent", "lead")
    await scene.send("intake.submitRequest", requester)
    case, order = {"request_id": own.ids["open"]}, f"/dispatch/v1/work-orders/{own.ids['open']}"
    await scene.send("intake.commentRequest", requester, **case)
    for name in ("intake.commentRequestInternally", "intake.prioritiseRequest",
                 "dispatch.noteOnWorkOrder", "dispatch.waitWithWorkOrder"):  # fmt: skip
        await scene.send(name, staff, **case)
    await scene.done(staff, "POST", f"{order}/resumptions")
    await scene.send("dispatch.resolveWorkOrder", staff, **case)
    await scene.send("intake.reopenRequest", requester, **case)
    colleague = agent_body(own)
    await scene.done(scene.admin, "PUT", "/dispatch/v1/agents/wang.wei", colleague)
    await scene.send("dispatch.reassignWorkOrder", staff, **case)
    await scene.send("intake.classifyRequest", staff, **case)


async def test_requests_that_end(scene: Scene) -> None:
    same, foreign = scene.cast.cases["same"], scene.cast.cases["foreign"]
    requester = scene.cast.person(same.requester, "requester")
    await scene.send("intake.cancelRequest", requester, request_id=same.ids["open"])
    staff, request = scene.cast.person(foreign.agent, "agent", "lead"), foreign.ids["open"]
    resolution = f"/dispatch/v1/work-orders/{request}/resolution"
    await scene.done(staff, "PUT", resolution, {"code": "fixed"})
    await scene.send("intake.closeRequest", staff, request_id=request)
    own = scene.cast.cases["own"].ids["closed"]
    await scene.send("quality.answerSurvey", scene.cast.actor("requester"), request_id=own)


async def test_risks(scene: Scene) -> None:
    manager = scene.cast.person("sun.li", "risk-manager")
    await scene.send("risk.registerRisk", manager)
    risk = scene.cast.cases["own"].ids["risk"]
    for name in ("assessRisk", "planRiskTreatment", "completeRiskTreatment"):
        await scene.send(f"risk.{name}", manager, risk_id=risk)
    judge = scene.cast.person("zhao.min", "risk-manager")
    residual = {"stage": "residual", "likelihood": 1, "impact": 2, "reason": "合同已签"}
    await scene.done(judge, "POST", f"/risk/v1/risks/{risk}/assessments", residual)
    await scene.send("risk.closeRisk", judge, risk_id=risk)


async def test_events_of_other_systems(scene: Scene) -> None:
    await scene.done(scene.admin, "PUT", "/intake/v1/sources/helpdesk", HELPDESK)
    publisher = scene.cast.person("importer", "publisher", sources=("helpdesk",))
    for service in SERVICES:
        answers = await scene.send(f"{service}.publishEvents", publisher)
        results = [result for answer in answers for result in answer.json()["results"]]
        assert len(results) == 3
        if service in QUARANTINED:
            assert {result["code"] for result in results} == {QUARANTINED[service]}
        else:  # in each form it is the same event
            outcomes = [result["outcome"] for result in results]
            assert outcomes == ["accepted", "duplicate", "duplicate"], (service, results)


async def test_what_operators_do(scene: Scene) -> None:
    operator, cases = scene.cast.person("op", "operator"), scene.cast.cases
    for service in SERVICES:
        value = scene.cast.desk.value
        for name, kind in (("retry", "own"), ("discard", "foreign")):
            key = cases[kind].ids["closed"]
            await value(PARK.format(service=service, key=key))
            await scene.send(f"{service}.{name}ParkedCase", operator, key=key)
            row_id = await quarantined(scene, service, cases[kind].source, cases[kind].publisher)
            await scene.send(f"{service}.{name}Quarantined", operator, row_id=row_id)
        projection = await value(f"SELECT name FROM {service}.projections ORDER BY name LIMIT 1")
        await scene.send(f"{service}.rebuildProjection", operator, name=projection)
        await scene.send(f"{service}.readKeys", scene.cast.person("monitoring", "service"))


PARK = """
INSERT INTO {service}.parked
    (subscription, key, partition, "offset", record, hash, error, attempts, parked_at)
SELECT 'live', key, partition, "offset", record, hash, 'for an operator', 3, now()
FROM log.records WHERE key = '{key}' ORDER BY "offset" LIMIT 1 RETURNING key
"""


async def quarantined(scene: Scene, service: str, source: str, publisher: str) -> str:
    """Publish an event that the service keeps for an operator; return the id of its row."""
    who = scene.cast.person(publisher, "publisher", sources=(source,))
    example = bodies(scene.operations[f"{service}.publishEvents"])["application/cloudevents+json"]
    event = example | {"id": uuid.uuid4().hex, "source": source, "type": example["type"] + "9"}
    headers = who | {"Content-Type": "application/cloudevents+json"}
    path = f"/{service}/v1/events"
    answer = await scene.cast.ask("POST", path, content=json.dumps(event), headers=headers)
    assert answer.json()["quarantined"] == 1, answer.text
    return str(
        await scene.cast.desk.value(
            f"SELECT id FROM {service}.quarantine WHERE source_event = '{event['id']}'"
        )
    )


async def test_there_is_no_other_example(scene: Scene) -> None:
    assert scene.taken == scene.documented
