"""Every operation done to its end by every role that may, so that each was answered with a 2xx.

The matrix of rights proves most commands by a version that there never was: the policy lets them
through, and nothing changes. Here the same people act on cases of their own that stand as the
command needs them: one case for each command and role, brought there all at once.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from casebook.kit.store.store import Cause
from casebook.risk.domain.breach_rate import Measurement, Rate, window_start
from casebook.risk.domain.register import raise_candidate
from casebook.risk.domain.risk import Risk
from tests.support.cast import OTHER_TEAM, Cast, agent_body, all_of
from tests.support.interface import PUBLISHING, Json, Operation
from tests.support.reach import Cell, asked, body_of, quarantined_event
from tests.support.service import append

WORK = ("submitted", "assigned", "accepted", "started", "waiting")
DONE = ("submitted", "assigned", "accepted", "started", "resolved", "confirmed")
_NEEDS = {
    "classifyRequest": WORK[:2],
    "prioritiseRequest": WORK[:2],
    "commentRequest": WORK[:2],
    "commentRequestInternally": WORK[:2],
    "cancelRequest": WORK[:2],
    "confirmResolution": DONE[:5],
    "reopenRequest": DONE[:5],
    "closeRequest": DONE[:5],
    "noteOnWorkOrder": WORK[:2],
    "reassignWorkOrder": WORK[:2],
    "acceptWorkOrder": WORK[:2],
    "startWorkOrder": WORK[:3],
    "releaseWorkOrder": WORK[:3],
    "waitWithWorkOrder": WORK[:4],
    "resolveWorkOrder": WORK[:4],
    "resumeWorkOrder": WORK,
    "answerSurvey": DONE,
}
"""What has to have happened to a request before a command can do something to it."""

RISK = ("registered", "assessed", "planned", "completed")
_RISK_NEEDS = {
    "assessRisk": RISK[:1],
    "planRiskTreatment": RISK[:2],
    "completeRiskTreatment": RISK[:3],
    "closeRisk": RISK,
}
_AGENTS = frozenset({"grantSkill", "changeCapacity", "changeTeam", "changeAvailability"})
_QUARANTINED = frozenset({"retryQuarantined", "discardQuarantined"})


@dataclass
class Deed:
    """A command or a question by somebody who may, and the case that it is about."""

    operation: Operation
    actor: str
    values: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def id(self) -> str:
        return str(self.operation.described["operationId"])

    @property
    def place(self) -> str:
        return f"{self.operation.name} by {self.actor}"


async def failed(cast: Cast, permitted: Iterable[tuple[Operation, str]]) -> list[str]:
    """Let everybody do what they may, and count it; return what was not answered with a 2xx."""
    deeds = [Deed(operation, actor) for operation, actor in permitted]
    await prepare(cast, deeds)
    answers = await all_of(_done(cast, deed) for deed in deeds)
    return [
        f"{deed.place}: {answer.status_code} {answer.text[:200]}"
        for deed, answer in zip(deeds, answers, strict=True)
        if not answer.is_success
    ]


async def prepare(cast: Cast, deeds: Sequence[Deed]) -> None:
    """Bring a case of its own for each deed to where it has to stand."""
    await _requests(cast, [deed for deed in deeds if deed.id in _NEEDS])
    await _risks(cast, [deed for deed in deeds if deed.id in _RISK_NEEDS])
    await _others(cast, deeds)


def body(cast: Cast, deed: Deed) -> Json | None:
    """Return a body that names people and teams that there are."""
    case = cast.cases["own"]
    if deed.id == "reassignWorkOrder":
        return {"agent": cast.cases["same"].agent, "reason": "他更熟悉"}
    if deed.id == "changeTeam":
        return {"team": OTHER_TEAM}
    return body_of(
        Cell(deed.operation, deed.actor, "own", "allowed", refused_everywhere=False), case
    )


async def _done(cast: Cast, deed: Deed) -> httpx.Response:
    """Do it; a command takes whatever version there is."""
    operation, who = deed.operation, cast.actor(deed.actor)
    cell = Cell(operation, deed.actor, "own", "allowed", refused_everywhere=False)
    values = dict(cast.values("own", operation)) | deed.values
    if deed.id == PUBLISHING or (operation.method == "GET" and not deed.values):
        answer = await asked(cast, cell, who)
    elif operation.method == "GET":
        answer = await cast.ask("GET", operation.path(values), headers=who)
    else:
        answer = await cast.send(who, operation.method, operation.path(values), body(cast, deed))
    cast.granted[operation.name, deed.actor] += answer.is_success
    return answer


# --- what has to be there ------------------------------------------------------------------------


async def _requests(cast: Cast, deeds: Sequence[Deed]) -> None:
    """Bring a request of its own for each deed to where it has to stand, step by step."""
    case = cast.cases["own"]
    admin = cast.person("root", "admin")
    requester, staff = cast.actor("requester"), cast.person(case.agent, "agent", "lead")
    steps: dict[str, tuple[Any, str, str, Json | None]] = {
        "submitted": (requester, "POST", "/intake/v1/requests",
                      {"kind": "incident", "title": "为了试一试"}),
        "assigned": (admin, "POST", "/dispatch/v1/work-orders/{request_id}/assignments",
                     {"agent": case.agent, "reason": "就是他"}),
        "accepted": (staff, "PUT", "/dispatch/v1/work-orders/{request_id}/acceptance", None),
        "started": (staff, "PUT", "/dispatch/v1/work-orders/{request_id}/start", None),
        "waiting": (staff, "POST", "/dispatch/v1/work-orders/{request_id}/waits",
                    {"reason": "customer"}),
        "resolved": (staff, "PUT", "/dispatch/v1/work-orders/{request_id}/resolution",
                     {"summary": "换了一台"}),
        "confirmed": (requester, "PUT", "/intake/v1/requests/{request_id}/confirmation", None),
    }  # fmt: skip
    for step, (who, method, path, body) in steps.items():
        due = [deed for deed in deeds if step in _NEEDS[deed.id]]
        answers = await all_of(
            cast.done(who, method, path.format_map(deed.values), body) for deed in due
        )
        if step == "submitted":
            for deed, answer in zip(due, answers, strict=True):
                deed.values["request_id"] = answer["id"]
        await cast.desk.settled()


async def _risks(cast: Cast, deeds: Sequence[Deed]) -> None:
    """Bring a risk of its own for each deed to where it has to stand."""
    manager = cast.actor("risk-manager")
    operations = {operation.described["operationId"]: operation for operation in cast.operations}
    made_by = dict(zip(RISK[1:], _RISK_NEEDS, strict=False))
    for deed in deeds:
        body = operations["registerRisk"].example()
        answer = await cast.done(manager, "POST", "/risk/v1/risks", body)
        deed.values["risk_id"] = answer["id"]
        for step in _RISK_NEEDS[deed.id][1:]:
            operation = operations[made_by[step]]
            path = operation.path(deed.values)
            await cast.done(manager, operation.method, path, operation.example())


async def _others(cast: Cast, deeds: Sequence[Deed]) -> None:
    """Put there what else some deeds need: an agent, quarantined events, a measured risk."""
    for deed in deeds:
        fresh = uuid.uuid4().hex
        if deed.id in {"createTeam", "registerAgent", "registerSource"}:
            deed.values |= {"team": f"t{fresh}", "agent": f"a{fresh}", "name": f"s{fresh}"}
        elif deed.id in _AGENTS:
            deed.values["agent"] = f"a{fresh}"
            path = f"/dispatch/v1/agents/{deed.values['agent']}"
            body = agent_body(cast.cases["own"])
            await cast.done(cast.person("root", "admin"), "PUT", path, body)
        elif deed.id == "rebuildProjection":
            [first, *_] = cast.desk.platform.runtime(deed.operation.service).service.projections
            deed.values["name"] = first.name
        elif deed.id == "getRiskEvidence":
            deed.values["risk_id"] = await _candidate(cast)
        elif deed.id in _QUARANTINED:
            deed.values["row_id"] = await _quarantined(cast, deed.operation.service)


async def _quarantined(cast: Cast, service: str) -> str:
    """Publish what cannot become a fact; return its row."""
    event = quarantined_event(service, cast.cases["own"].source)
    headers = cast.actor("publisher") | {"Content-Type": "application/cloudevents+json"}
    await cast.ask("POST", f"/{service}/v1/events", json=event, headers=headers)
    return str(
        await cast.desk.until(
            f"SELECT id FROM {service}.quarantine WHERE source_event = '{event['id']}'"
        )
    )


async def _candidate(cast: Cast) -> str:
    """Raise a risk that is measured, as the service does; return its id."""
    found, now = str(uuid.uuid4()), datetime.now(UTC)
    measurement = Measurement(
        window_start(now), now, Rate(measured=20, breached=1), (uuid.uuid4(),)
    )
    [event] = raise_candidate(Risk(), service="mail", measurement=measurement)
    runtime = cast.desk.platform.runtime("risk")
    cause = Cause(actor="service:risk")
    await runtime.beside(append(runtime, f"risk/{found}", event, cause=cause))
    return found
