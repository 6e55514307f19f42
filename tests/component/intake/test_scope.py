"""Nobody sees or changes what is not theirs, in single reads, lists and commands alike."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from casebook.events.definitions import BREACH_RATE_RULE
from casebook.events.risk import RiskCandidateRaised
from casebook.events.service_level import ServiceLevelTargetBreached
from casebook.events.work_order import WorkOrderAssignedToTeam
from casebook.events.workforce import AgentRegistered
from casebook.intake.api import statements
from casebook.intake.policy import POLICY
from casebook.kit.access.identity import Principal
from casebook.kit.postgres.database import compiled
from tests.component.intake.desk import Desk, Headers, Json, problem
from tests.support.crowd import SOME_ID, multiply

CLASSIFICATION = {"problem_type": "other"}
PRIORITY = {"impact": 1, "urgency": 1}
COMMANDS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("PUT", "classification", CLASSIFICATION),
    ("PUT", "priority", PRIORITY),
    ("POST", "comments", {"body": "a"}),
    ("POST", "internal-comments", {"body": "a"}),
    ("PUT", "confirmation", None),
    ("POST", "reopenings", {}),
    ("PUT", "cancellation", {}),
    ("PUT", "closure", {"reason": "a"}),
]


async def of_team(desk: Desk, request: Json, team: str, *people: str) -> None:
    """Let a request lie with a team that these people work in."""
    assigned = WorkOrderAssignedToTeam(team=team, initial=True)
    await desk.happened(f"work-order/{request['id']}", assigned)
    for person in people:
        member = AgentRegistered(agent=person, team=team, capacity=5)
        await desk.happened(f"agent/{person}", member, key=person)


async def test_a_stranger_finds_nothing(desk: Desk, requester: Headers, stranger: Headers) -> None:
    request = await desk.submitted(requester)
    foreign, nowhere = request["id"], uuid4()
    for path in ("", "/timeline"):
        found = [
            (await desk.read(f"/requests/{each}{path}", stranger)) for each in (foreign, nowhere)
        ]
        assert [problem(each) for each in found] == [(404, "not-found")] * 2
        assert found[0].json()["detail"] == found[1].json()["detail"]
    assert (await desk.read("/requests", stranger)).json() == {"items": [], "next_cursor": None}


async def test_no_command_reaches_a_foreign_request(desk: Desk, requester: Headers) -> None:
    request = await desk.submitted(requester)
    await of_team(desk, request, "mail", "li.na")
    await of_team(desk, await desk.submitted(requester), "network", "chen.bo")
    foreigners = [
        desk.person("sun.li", "requester", organisation="别的公司"),
        desk.person("chen.bo", "agent"),
        desk.person("chen.bo", "lead"),
        desk.person("nobody", "agent", "lead", "requester"),
    ]
    for method, name, body in COMMANDS:
        for who in foreigners:
            answers = [
                problem(await desk.send(method, f"/requests/{each}/{name}", who, body, match='"2"'))
                for each in (request["id"], uuid4())
            ]
            assert answers[0] == answers[1], name
            assert answers[0][0] in {403, 404}, name
    assert await desk.etag(request) == '"2"'


async def test_who_only_reads_is_told_so(desk: Desk, requester: Headers) -> None:
    request = await desk.submitted(requester)
    readers = [
        desk.person("zhao.min", "requester", organisation="青岛分公司"),
        desk.person("qian.yu", "auditor"),
        desk.person("admin", "admin"),
    ]
    for who in readers:
        assert (await desk.read(f"/requests/{request['id']}", who)).status_code == 200
        for method, name, body in COMMANDS:
            path = f"/requests/{request['id']}/{name}"
            response = await desk.send(method, path, who, body, match='"2"')
            assert problem(response) == (403, "forbidden"), name


async def test_an_agent_acts_on_what_lies_with_their_team(
    desk: Desk, requester: Headers, agent: Headers
) -> None:
    request = await desk.submitted(requester)
    path = f"/requests/{request['id']}"
    assert problem(await desk.read(path, agent)) == (404, "not-found")
    await of_team(desk, request, "mail", "li.na")
    assert (await desk.read(path, agent)).status_code == 200
    assert len((await desk.read("/requests", agent, team="mail")).json()["items"]) == 1
    await desk.happened(
        f"work-order/{request['id']}", WorkOrderAssignedToTeam(team="network", initial=False)
    )
    assert problem(await desk.read(path, agent)) == (404, "not-found")
    assert (await desk.read("/requests", agent)).json()["items"] == []


async def test_an_agent_who_asked_for_something_reads_it_as_a_customer(
    desk: Desk,
) -> None:
    both = desk.person("li.na", "agent", "requester", organisation="青岛分公司")
    request = await desk.submitted(both)
    await of_team(desk, request, "network", "chen.bo")
    chen = desk.person("chen.bo", "agent")
    path = f"/requests/{request['id']}"
    note = await desk.send("POST", f"{path}/internal-comments", chen, {"body": "内部"})
    assert note.status_code == 201
    await desk.settled()
    audiences = {
        item["audience"] for item in (await desk.read(f"{path}/timeline", both)).json()["items"]
    }
    assert audiences == {"customer"}


async def test_a_risk_manager_reads_what_is_evidence_of_a_risk(
    desk: Desk, requester: Headers
) -> None:
    manager = desk.person("zhao.min", "risk-manager")
    request, other = await desk.submitted(requester), await desk.submitted(requester)
    path = f"/requests/{request['id']}"
    now = desk.clock.now()
    breach = ServiceLevelTargetBreached(
        clock="resolution", priority=4, target_seconds=60, due_at=now, fired_at=now
    )
    for each in (request, other):
        await desk.happened(f"service-level/{each['id']}", breach)
    assert problem(await desk.read(path, manager)) == (404, "not-found")
    assert (await desk.read("/requests", manager)).json()["items"] == []
    async with desk.runtime.database.background() as connection:
        fact = await connection.fetchval(
            "SELECT id FROM timeline WHERE request = $1 AND type = $2", request["id"], breach.type
        )
    candidate = RiskCandidateRaised(
        rule=BREACH_RATE_RULE.reference, category="service-level", service="mail",
        window_start=now - timedelta(days=28), window_end=now, measured=20, evidence=(fact,),
        lower_bound_millionths=200_000, tolerance_millionths=100_000,
    )  # fmt: skip
    await desk.happened(f"risk/{uuid4()}", candidate)
    assert [item["id"] for item in (await desk.read("/requests", manager)).json()["items"]] == [
        request["id"]
    ]
    assert (await desk.read(path, manager)).status_code == 200
    assert breach.type.split(".")[2] in (await desk.read(f"{path}/timeline", manager)).text
    assert problem(await desk.read(f"/requests/{other['id']}", manager)) == (404, "not-found")
    comment = await desk.send("POST", f"{path}/comments", manager, {"body": "a"})
    assert problem(comment) == (403, "forbidden")


async def test_a_list_is_filtered_and_in_pages(desk: Desk, requester: Headers) -> None:
    kinds = ["incident", "question", "incident", "complaint", "incident"]
    numbers = [(await desk.submitted(requester, kind=kind))["number"] for kind in kinds]
    urgent = await desk.submitted(requester, impact=1, urgency=1)
    listed = (await desk.read("/requests", requester)).json()["items"]
    assert [item["number"] for item in listed] == [urgent["number"], *reversed(numbers)]
    incidents = (await desk.read("/requests", requester, kind="incident")).json()["items"]
    assert len(incidents) == 4
    assert [
        item["number"]
        for item in (await desk.read("/requests", requester, priority=1)).json()["items"]
    ] == [urgent["number"]]
    assert (await desk.read("/requests", requester, status="closed")).json()["items"] == []
    paged: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await desk.read("/requests", requester, limit=2, **cursor)).json()
        paged += [item["number"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert paged == [item["number"] for item in listed]


async def test_foreign_rows_never_push_ones_own_from_the_page(
    desk: Desk, requester: Headers, stranger: Headers
) -> None:
    mine = {(await desk.submitted(requester))["number"] for _ in range(30)}
    desk.clock.pass_(timedelta(seconds=1))
    foreign = await desk.submitted(stranger)
    where = f"stream = 'request/{foreign['id']}'"
    await multiply(desk.runtime, "streams", where, stream=f"'request/' || {SOME_ID}")
    auditor = desk.person("qian.yu", "auditor")
    first = (await desk.read("/requests", auditor, limit=200)).json()["items"]
    assert {item["number"] for item in first} == {foreign["number"]}, "they come first"
    page = (await desk.read("/requests", requester, limit=25)).json()
    assert {item["number"] for item in page["items"]} <= mine
    assert len(page["items"]) == 25
    assert page["next_cursor"] is not None


def test_the_scope_of_a_publisher_and_of_a_risk_manager_is_in_the_statement() -> None:
    def where(role: str) -> str:
        who = Principal("monitor", frozenset({role}), sources=frozenset({"shop"}))
        scope = POLICY.predicate(who, "request.read", statements.ACCESS)
        sql, _ = compiled(statements.requests(scope, filters={}, team=None, after=None, limit=25))
        return sql.partition("WHERE")[2].partition("ORDER BY")[0]

    assert "request_sources.source IN" in where("publisher")
    assert "risk_evidence" in where("risk-manager")


def test_the_scope_is_in_the_statement() -> None:
    principal = Principal("wang.fang", frozenset({"requester"}), "青岛分公司")
    scope = POLICY.predicate(principal, "request.read", statements.ACCESS)
    sql, arguments = compiled(
        statements.requests(scope, filters={}, team=None, after=None, limit=25)
    )
    where = sql.partition("WHERE")[2].partition("ORDER BY")[0]
    assert "(state->>'requester')" in where
    assert "(state->>'organisation')" in where
    assert {"wang.fang", "青岛分公司"} <= set(arguments)
