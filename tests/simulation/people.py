"""What people do in a seed: requesters, agents, leads and administrators, each with their rights.

A command is chosen at random among all, so that most rules are also met by what they refuse.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args
from uuid import UUID

import orjson

from casebook.dispatch.api import handling, workforce
from casebook.dispatch.api.bodies import (
    AgentBody,
    AssignmentBody,
    AvailabilityBody,
    CapacityBody,
    NoteBody,
    ResolutionBody,
    TeamBody,
    WaitBody,
)
from casebook.intake.api import commands as requests
from casebook.intake.api import sources
from casebook.intake.api.bodies import (
    ClassificationBody,
    CommentBody,
    OptionalReason,
    PriorityBody,
    Reason,
    SourceBody,
    Submission,
)
from casebook.kit.access.identity import Principal
from casebook.kit.http.exchange import Exchange
from casebook.quality.api import surveys
from casebook.quality.api.bodies import Answer
from casebook.risk.api import commands as risks
from casebook.risk.api.bodies import (
    AssessmentBody,
    ClosureBody,
    CompletionBody,
    Registration,
    TreatmentBody,
)
from casebook.risk.domain.register import Stage, Strategy
from tests.simulation.calls import Call, Endpoint

if TYPE_CHECKING:
    from tests.simulation.world import World

AGENTS = {"ann": "service-desk", "ben": "network", "cyn": "applications", "dan": "applications"}
"""Agents with their team."""
ADMIN = Principal("ada", frozenset({"admin"}))
RISK_MANAGERS = [Principal(name, frozenset({"risk-manager"})) for name in ("rosa", "remy")]
"""The first owns what the second judges."""
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
REQUESTERS = {
    name: Principal(name, frozenset({"requester"}), organisation="acme") for name in ("rita", "ron")
}
STAFF = {name: Principal(name, frozenset({"lead", "agent"})) for name in AGENTS}
PROBLEMS = (
    ("infrastructure-maintenance", "network"),
    ("application-development", None),
    ("data-processing", None),
)
SUBMIT_SHARE = 0.12
SENSIBLE_SHARE = 0.65
UNCONDITIONAL = frozenset({"request.comment", "work-order.note"})
"""Commands that do not depend on what their caller has seen."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command on one request: where it runs, who gives it, and what it says."""

    service: str
    operation: str
    run: Callable[..., Awaitable[Any]]
    by: str
    body: Callable[[random.Random], Any] = lambda rng: None
    weight: int = 2

    @property
    def family(self) -> str:
        """Return the stream family that it appends to."""
        return {
            "intake": "request", "dispatch": "work-order", "quality": "survey", "risk": "risk",
        }[self.service]  # fmt: skip


def _classification(rng: random.Random) -> ClassificationBody:
    problem, category = rng.choice(PROBLEMS)
    return ClassificationBody.model_construct(problem_type=problem, category=category)


def _priority(rng: random.Random) -> PriorityBody:
    return PriorityBody(impact=rng.randint(1, 3), urgency=rng.randint(1, 3))


def _wait(rng: random.Random) -> WaitBody:
    return WaitBody(reason=rng.choice(("customer", "supplier")))


def _assignment(rng: random.Random) -> AssignmentBody:
    if rng.random() < 0.5:
        return AssignmentBody(agent=rng.choice(list(AGENTS)), reason="knows it")
    return AssignmentBody(team=rng.choice(list(AGENTS.values())), reason="theirs")


def _answer(rng: random.Random) -> Answer:
    return Answer(satisfaction=rng.randint(1, 5))


def _assessment(rng: random.Random, stage: Stage = "inherent") -> AssessmentBody:
    return AssessmentBody(stage=stage, likelihood=rng.randint(1, 5), impact=rng.randint(1, 5))


def _plan(rng: random.Random) -> TreatmentBody:
    return TreatmentBody(strategy=rng.choice(STRATEGIES), owner=RISK_MANAGERS[0].subject, plan="x")


COMMANDS = (
    Command("intake", "request.classify", requests.classify_request, "staff", _classification),
    Command("intake", "request.prioritise", requests.prioritise_request, "staff", _priority),
    Command(
        "intake", "request.comment", requests.comment_request, "requester",
        lambda rng: CommentBody(body="any news?"), 1,
    ),
    Command("intake", "request.confirm", requests.confirm_resolution, "requester", weight=3),
    Command(
        "intake", "request.reopen", requests.reopen_request, "requester",
        lambda rng: OptionalReason(reason="again"), 2,
    ),
    Command(
        "intake", "request.cancel", requests.cancel_request, "requester",
        lambda rng: OptionalReason(reason="gone"), 1,
    ),
    Command(
        "intake", "request.close", requests.close_request, "staff",
        lambda rng: Reason(reason="duplicate"), 2,
    ),
    Command("dispatch", "work-order.accept", handling.accept_work_order, "staff", weight=6),
    Command("dispatch", "work-order.start", handling.start_work_order, "staff", weight=4),
    Command("dispatch", "work-order.wait", handling.wait_with_work_order, "staff", _wait),
    Command("dispatch", "work-order.resume", handling.resume_work_order, "staff", weight=3),
    Command(
        "dispatch", "work-order.reassign", handling.reassign_work_order, "admin", _assignment, 6,
    ),
    Command("dispatch", "work-order.release", handling.release_work_order, "staff", weight=1),
    Command(
        "dispatch", "work-order.resolve", handling.resolve_work_order, "staff",
        lambda rng: ResolutionBody(code="fixed"), 6,
    ),
    Command(
        "dispatch", "work-order.note", handling.note_on_work_order, "staff",
        lambda rng: NoteBody(text="looking"), 1,
    ),
    Command("quality", "survey.answer", surveys.answer_survey, "requester", _answer, 2),
)  # fmt: skip
RISK_COMMANDS = (
    Command("risk", "risk.assess", risks.assess_risk, "risk-manager", _assessment, 3),
    Command(
        "risk", "risk.assess-residual", risks.assess_risk, "risk-manager",
        lambda rng: _assessment(rng, "residual"), 3,
    ),
    Command("risk", "risk.plan-treatment", risks.plan_risk_treatment, "risk-manager", _plan, 4),
    Command(
        "risk", "risk.complete-treatment", risks.complete_risk_treatment, "risk-manager",
        lambda rng: CompletionBody(result="done"), 3,
    ),
    Command(
        "risk", "risk.close", risks.close_risk, "risk-manager",
        lambda rng: ClosureBody(reason="over"),
    ),
)  # fmt: skip
BY_NAME = {command.operation: command for command in (*COMMANDS, *RISK_COMMANDS)}
_NEXT = {
    "queued": ("work-order.accept",),
    "assigned": ("work-order.accept", "work-order.accept", "work-order.reassign"),
    "accepted": ("work-order.start", "work-order.start", "work-order.reassign"),
    "in-progress": ("work-order.resolve", "work-order.resolve", "work-order.wait"),
    "waiting": ("work-order.resume",),
    "resolved": ("request.confirm", "request.confirm", "request.close", "request.reopen"),
    "closed": ("survey.answer", "request.reopen"),
}
"""What people mostly do next, by how the work stands, or else the request."""
_WEIGHTS = [command.weight for command in COMMANDS]
_RISK_WEIGHTS = [command.weight for command in RISK_COMMANDS]


def next_call(world: "World", number: int, cases: list[UUID]) -> tuple[Call, str]:
    """Return a call, and the state that its case is in: ``command`` × ``state`` is counted."""
    rng = world.rng
    draw = rng.random()
    if not cases or draw < SUBMIT_SHARE:
        return submission(number, rng), "none"
    if draw > 0.97:
        return _workforce(world, number), "workforce"
    if draw > 0.82 and "risk" in world.services:
        return _on_risks(world, number)
    id_ = rng.choice(cases)
    command = _sensible(world, id_) if rng.random() < SENSIBLE_SHARE else None
    while command is None or command.service not in world.services:
        command = rng.choices(COMMANDS, _WEIGHTS)[0]
    return call_on(world, number, command, id_)


def _on_risks(world: "World", number: int) -> tuple[Call, str]:
    """Return a call about a risk: a new one, or one in the register."""
    rng = world.rng
    streams = [s for s in world.schemas["risk"].table("streams") if s.startswith("risk/")]
    if rng.random() < 0.15:
        return registration(number), "none"
    command = rng.choices(RISK_COMMANDS, _RISK_WEIGHTS)[0]
    return call_on(world, number, command, UUID(rng.choice(streams).partition("/")[2]))


def registration(number: int) -> Call:
    """Return the call that enters a risk into the register."""
    body = Registration(category="supplier", title="it may break", owner="rosa")
    endpoint = _bound(risks.register_risk, body)
    return Call(number, "risk", "risk.register", RISK_MANAGERS[0], endpoint)


def call_on(world: "World", number: int, command: Command, id_: UUID) -> tuple[Call, str]:
    """Return a call of a command on a request, and the state that this is in."""
    rng = world.rng
    head = world.schemas[command.service].table("streams").get(f"{command.family}/{id_}")
    state = "none" if head is None else orjson.loads(head["state"])
    principal = _who(command, id_, state, world)
    call = Call(number, command.service, command.operation, principal, _endpoint(command, id_, rng))
    if command.operation not in UNCONDITIONAL:
        call.if_match = _seen(head, rng)
    label = state if isinstance(state, str) else str(state.get("status", state.get("sent_count")))
    return call, label


def _sensible(world: "World", id_: UUID) -> Command | None:
    """Return what brings a request on."""
    status = None
    for service, stream in (("intake", f"request/{id_}"), ("dispatch", f"work-order/{id_}")):
        head = world.schemas[service].table("streams").get(stream)
        status = None if head is None else orjson.loads(head["state"])["status"]
        if service == "intake" and status in {"resolved", "closed"}:
            break
    names = _NEXT.get(status or "", ())
    return BY_NAME[world.rng.choice(names)] if names else None


def _endpoint(command: Command, id_: UUID, rng: random.Random) -> Endpoint:
    body = command.body(rng)
    if body is None:
        return lambda exchange: command.run(id_, exchange)
    return lambda exchange: command.run(id_, body, exchange)


def _seen(head: Any, rng: random.Random) -> str:
    """Return the version that the caller has seen: mostly the last one."""
    version = 1 if head is None else head["version"]
    return f'"{version - 1 if rng.random() < 0.05 else version}"'


def _who(command: Command, id_: UUID, state: Any, world: "World") -> Principal:
    """Return who gives a command: mostly somebody who may."""
    rng = world.rng
    if command.by == "admin":
        return ADMIN
    if command.by == "risk-manager":
        return rng.choice(RISK_MANAGERS)
    if command.by == "requester":
        head = world.schemas["intake"].table("streams").get(f"request/{id_}")
        name = None if head is None else orjson.loads(head["state"])["requester"]
        return REQUESTERS.get(name or "") or rng.choice(list(REQUESTERS.values()))
    holder = state.get("agent") if isinstance(state, dict) else None
    team = state.get("team") if isinstance(state, dict) else None
    mates = [name for name, of in AGENTS.items() if of == team]
    name = holder or (rng.choice(mates) if mates else rng.choice(list(STAFF)))
    return STAFF[name]


def submission(number: int, rng: random.Random) -> Call:
    principal = rng.choice(list(REQUESTERS.values()))
    body = Submission(
        kind=rng.choice(("incident", "service_request")),
        title="it does not work",
        service=rng.choice(("mail", "erp")),
        impact=rng.choice((None, 1, 3)),
        classification=_classification(rng) if rng.random() < 0.7 else None,
    )

    async def submit(exchange: Exchange) -> Any:
        return await requests.submit_request(body, exchange)

    return Call(number, "intake", "request.submit", principal, submit)


def _workforce(world: "World", number: int) -> Call:
    """Return a change of an agent's capacity or availability."""
    rng = world.rng
    agent = rng.choice(list(AGENTS))
    if rng.random() < 0.5:
        return capacity_change(world, number, agent, rng.randint(1, 3))
    available = AvailabilityBody(available=rng.random() < 0.7)
    endpoint = _bound(workforce.change_availability, agent, available)
    return Call(number, "dispatch", "agent.change", ADMIN, endpoint, _version(world, agent))


def capacity_change(world: "World", number: int, agent: str, capacity: int) -> Call:
    """Return the call that says how much an agent can hold."""
    endpoint = _bound(workforce.change_capacity, agent, CapacityBody(capacity=capacity))
    return Call(number, "dispatch", "agent.change", ADMIN, endpoint, _version(world, agent))


def _version(world: "World", agent: str) -> str:
    return f'"{world.schemas["dispatch"].table("streams")[f"agent/{agent}"]["version"]}"'


def setting_up() -> list[Call]:
    """Return the calls that every seed begins behind: teams, agents, sources."""
    calls: list[Call] = []

    def add(service: str, operation: str, endpoint: Endpoint) -> None:
        calls.append(Call(-1 - len(calls), service, operation, ADMIN, endpoint))

    for agent, team in AGENTS.items():
        body = TeamBody(name=team)
        add("dispatch", "team.create", _bound(workforce.create_team, team, body))
        member = AgentBody(
            team=team, capacity=6,
            skills={"networking": 4, "infrastructure": 4, "development": 4, "data": 4},
        )  # fmt: skip
        add("dispatch", "agent.register", _bound(workforce.register_agent, agent, member))
    for name, mode, types in _SOURCES:
        source = SourceBody(types=list(types), mode=mode, publisher=f"{name}-key")
        add("intake", "source.register", _bound(sources.register_source, name, source))
    return calls


def _bound(run: Callable[..., Awaitable[Any]], *arguments: Any) -> Endpoint:
    return lambda exchange: run(*arguments, exchange)


_SOURCES: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("crm", "live", ("casebook.request.submitted.v1", "casebook.request.prioritised.v1")),
    (
        "old-desk",
        "observed",
        (
            "casebook.request.submitted.v1",
            "casebook.request.prioritised.v1",
            "casebook.request.resolution-proposed.v1",
            "casebook.request.closed.v1",
            "casebook.work-order.assigned-to-team.v1",
            "casebook.work-order.accepted.v1",
            "casebook.work-order.resolved.v1",
        ),
    ),
)
