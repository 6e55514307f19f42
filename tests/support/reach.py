"""Whether each cell of a matrix of rights is what the platform really answers."""

import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.cast import Case, Cast, Headers, agent_body, all_of, source_body, team_body
from tests.support.interface import PUBLISHING, SERVICES, Json, Operation

STATUS_OF = {"unauthenticated": 401, "forbidden": 403, "hidden": 404}
PASSED = 412
"""The policy let a command through, and the version that it names is wrong: nothing changes."""

NOTHING_THERE = {
    "retryQuarantined": "not-found",
    "discardQuarantined": "not-found",
    "rebuildProjection": "not-found",
    "getRiskEvidence": "no-evidence",
}
"""What there is none of; who may ask is told so, and everybody else is refused before."""

_LISTS: dict[str, Callable[[Case], tuple[str, ...]]] = {
    "intake.listRequests": lambda c: (c.ids["open"], c.ids["closed"], c.ids["observed"]),
    "intake.listSources": lambda c: (c.source,),
    "intake.listEvents": lambda c: (c.ids["open"],),
    "dispatch.listEvents": lambda c: (c.ids["open"],),
    "dispatch.listAgents": lambda c: (c.agent,),
    "dispatch.listTeams": lambda c: (c.team,),
    "monitoring.listServiceLevels": lambda c: (c.ids["open"],),
    "quality.listControlFindings": lambda c: (c.ids["closed"],),
    "quality.listNonconformities": lambda c: (c.ids["nonconformity"],),
    "risk.listRisks": lambda c: (c.ids["risk"],),
}
"""What stands in a list, if a case does."""

_PARTS: dict[tuple[str, str], Callable[[Case], tuple[str, ...]]] = {
    ("intake.listRequests", "publisher"): lambda c: (c.ids["observed"],),
    ("intake.listRequests", "risk-manager"): lambda c: (c.ids["open"],),
}
"""What of a case somebody sees who does not see all of it."""

_SHOWS: dict[str, Callable[[Case], tuple[str, ...]]] = {
    "dispatch.getTeamQueue": lambda c: (c.ids["open"],),
    "dispatch.getAgentLoad": lambda c: (c.ids["open"],),
}
COUNTS = frozenset(
    {
        "monitoring.listKpis",
        "quality.getSurveyResults",
        "quality.listControls",
        "risk.getRiskHeatMap",
        *(f"{service}.getIngressStatus" for service in SERVICES),
    }
)
LISTS = frozenset(_LISTS)
REQUESTS_OF_A_KIND = 3
_OWNED = {
    "intake": "request.submitted",
    "dispatch": "work-order.noted",
    "monitoring": "service-level.target-breached",
    "quality": "survey.sent",
    "risk": "risk.registered",
}


@dataclass(frozen=True)
class Cell:
    """One question: may this actor do this to a case that stands so to them?"""

    operation: Operation
    actor: str
    relation: str
    verdict: str
    refused_everywhere: bool
    """Whether the actor may do this to no case at all."""

    visible: frozenset[str] = frozenset()
    """The relations that the actor reaches with this operation."""

    @property
    def place(self) -> str:
        return f"{self.operation.name} by {self.actor} on {self.relation}"


async def wrong(cast: Cast, cells: Iterable[Cell]) -> list[str]:
    """Ask the platform about every cell; return those where it answers otherwise."""
    reading, writing = [], []
    for cell in cells:
        (reading if cell.operation.method == "GET" else writing).append(cell)
    found: list[str | None] = []
    for some in (reading, writing):  # figures are compared before anything is added
        found += await all_of(_judged(cast, cell) for cell in some)
    return [what for what in found if what is not None]


async def _judged(cast: Cast, cell: Cell) -> str | None:
    """Return what is wrong with the answer about a cell, if anything is."""
    who = cast.actor(cell.actor)
    answer = await asked(cast, cell, who)
    if cell.verdict == "allowed" and answer.is_success:
        cast.granted[cell.operation.name, cell.actor] += 1
    what = _difference(cast, cell, answer)
    if what is None and cell.verdict == "hidden" and answer.status_code == 404:
        what = await _told(cast, cell, who, answer)
    return None if what is None else f"{cell.place}: {what}"


async def asked(cast: Cast, cell: Cell, who: Headers) -> httpx.Response:
    """Call the operation; a command names a version that there never was."""
    operation, case = cell.operation, cast.cases[cell.relation]
    path = operation.path(cast.values(cell.relation, operation, cell.actor))
    if operation.method == "GET":
        named = {parameter["name"] for parameter in operation.parameters("query")}
        wanted = {"limit": "200", "source": case.source, "by": "team"}
        query = {name: value for name, value in wanted.items() if name in named}
        return await cast.ask("GET", path, params=query, headers=who)
    if operation.described["operationId"] == PUBLISHING:
        headers = who | {"Content-Type": "application/cloudevents+json"}
        event = quarantined_event(operation.service, case.source)
        return await cast.ask("POST", path, json=event, headers=headers)
    return await cast.send(who, operation.method, path, body_of(cell, case), If_Match='"0"')


def quarantined_event(service: str, source: str) -> Json:
    """Return an event that its owner quarantines: what is asked is who may send it."""
    return {
        "specversion": "1.0", "id": uuid.uuid4().hex, "source": source, "subject": "x",
        "type": f"casebook.{_OWNED[service]}.v99", "time": "2026-01-05T08:00:00Z",
        "data": {},
    }  # fmt: skip


def body_of(cell: Cell, case: Case) -> Json | None:
    """Return a body that names what the cell is about."""
    match cell.operation.described["operationId"]:
        case "submitRequest" if cell.relation == "own":
            return {"kind": "incident", "title": "自己的"}
        case "submitRequest":
            named = {"requester": case.requester, "organisation": case.organisation}
            return {"kind": "incident", "title": "替别人的", **named}
        case "createTeam":
            return team_body(case)
        case "registerAgent":
            return agent_body(case)
        case "registerSource":
            return source_body(case)
        case _:
            return None if cell.operation.schema is None else cell.operation.example()


def _difference(cast: Cast, cell: Cell, answer: httpx.Response) -> str | None:
    """Return how an answer differs from the verdict."""
    said = f"{answer.status_code} {answer.text[:120]}"
    name, operation = cell.operation.name, cell.operation.described["operationId"]
    partly = cell.actor != "anonymous" and not cell.refused_everywhere
    if partly and name in LISTS | COUNTS:
        if answer.status_code != 200:
            return said
        return _count(cast, cell, answer.json()) if name in COUNTS else _entry(cast, cell, answer)
    if cell.verdict == "allowed":
        return _lacking(cast, cell, answer)
    if partly and operation == PUBLISHING:  # a batch is taken, and each event judged
        results = answer.json().get("results", [{}])
        return None if results[0].get("code") == "foreign-source" else said
    return None if answer.status_code == STATUS_OF[cell.verdict] else said


def _lacking(cast: Cast, cell: Cell, answer: httpx.Response) -> str | None:
    """Return what an answer lacks that should be given."""
    said = f"{answer.status_code} {answer.text[:120]}"
    expected = NOTHING_THERE.get(cell.operation.described["operationId"])
    if expected is not None and answer.status_code == 404:
        return None if answer.json()["code"] == expected else said
    if answer.status_code >= 300 and answer.status_code != PASSED:
        return said
    shown = _SHOWS.get(cell.operation.name, lambda _: ())(cast.cases[cell.relation])
    return None if all(marker in answer.text for marker in shown) else f"without {shown}"


def _entry(cast: Cast, cell: Cell, answer: httpx.Response) -> str | None:
    """Return what is wrong with a list: a case that is missing, or should be."""
    markers = _LISTS[cell.operation.name](cast.cases[cell.relation])
    if answer.json() and isinstance(answer.json(), dict) and answer.json().get("next_cursor"):
        return "not the whole list"
    text = json.dumps(json.loads(answer.text), ensure_ascii=False)
    listed = [f'"{marker}"' in text or f"/{marker}" in text for marker in markers]
    part = _PARTS.get((cell.operation.name, cell.actor), lambda _: markers)
    seen = part(cast.cases[cell.relation]) if cell.verdict == "allowed" else ()
    expected = [marker in seen for marker in markers]
    return None if listed == expected else f"listed: {listed}"


def _count(cast: Cast, cell: Cell, found: Any) -> str | None:
    """Return what is wrong with a figure: it counts what is hidden, or not what is visible."""
    visible = [cast.cases[relation] for relation in sorted(cell.visible)]
    if cell.operation.name == "quality.getSurveyResults":
        return None if found["sent"] == len(visible) else f"counts {found['sent']}"
    if cell.operation.described["operationId"] == "getIngressStatus":
        kept = 1 if cell.verdict == "allowed" and cell.operation.service == "intake" else 0
        return None if found["quarantined"] == kept else f"counts {found['quarantined']}"
    if cell.operation.name == "quality.listControls":
        [control] = found["items"]
        total = control["checked"]["live"], control["findings"]["live"], control["nonconformities"]
        return None if set(total) == {len(visible)} else f"counts {total}"
    if cell.operation.name == "risk.getRiskHeatMap":
        total = found["unassessed"] + sum(cell["risks"] for cell in found["cells"])
        return None if total == len(visible) else f"counts {total}"
    opened = {
        json.dumps(row["dims"]): row["n"] for row in found["kpis"] if row["id"] == "requests_opened"
    }
    expected = {"{}": REQUESTS_OF_A_KIND * len(visible), json.dumps({"team": None}): 0}
    for case in visible:
        team = json.dumps({"team": case.team})
        expected[team] = expected.get(team, 0) + REQUESTS_OF_A_KIND
    return None if opened == expected else f"counts {opened}"


async def _told(cast: Cast, cell: Cell, who: Headers, hidden: httpx.Response) -> str | None:
    """Return how what is hidden differs from what does not exist."""
    nowhere = str(uuid.uuid4())
    values = dict.fromkeys(cast.values(cell.relation, cell.operation), nowhere)
    path = cell.operation.path(dict(cast.values(cell.relation, cell.operation)) | values)
    if cell.operation.method == "GET":
        missing = await cast.ask("GET", path, headers=who)
    else:
        body = body_of(cell, cast.cases[cell.relation])
        missing = await cast.send(who, cell.operation.method, path, body, If_Match='"0"')
    same = _without_trace(hidden) == _without_trace(missing)
    return None if same else f"unlike what does not exist: {hidden.text} {missing.text}"


def _without_trace(answer: httpx.Response) -> tuple[int, Json, list[str]]:
    """Return an answer without what differs between any two."""
    document = {name: value for name, value in answer.json().items() if name != "trace_id"}
    return answer.status_code, document, sorted(answer.headers)
