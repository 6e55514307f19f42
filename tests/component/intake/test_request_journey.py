"""A request from submission to closure over HTTP, while dispatch speaks through the log."""

import asyncio
from datetime import timedelta

import pytest

from casebook.events.values import DefinitionReference
from casebook.events.work_order import (
    AssignmentExplanation,
    Candidate,
    WorkOrderAccepted,
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderOpened,
    WorkOrderResolved,
    WorkOrderStarted,
    WorkOrderWaitingStarted,
)
from casebook.events.workforce import AgentRegistered
from tests.component.intake.desk import Desk, Headers, Json, problem, types

MAIL_TEAM = WorkOrderAssignedToTeam(team="mail", initial=True)
EXPLAINED = WorkOrderAssignedToAgent(
    agent="li.na",
    explanation=AssignmentExplanation(
        policy=DefinitionReference(id="assignment", version=1),
        considered=2,
        excluded={"full": 1},
        candidates=(
            Candidate(
                agent="li.na", open_items=1, capacity=5, load_thousandths=200, surplus_level=0
            ),
        ),
    ),
)


@pytest.fixture
async def staffed(desk: Desk) -> None:
    """Li Na and He Jun work in the mail team."""
    for person in ("li.na", "he.jun"):
        registered = AgentRegistered(agent=person, team="mail", capacity=5)
        await desk.happened(f"agent/{person}", registered, key=person)


@pytest.fixture
async def assigned(desk: Desk, requester: Headers, staffed: None) -> Json:
    """A request that lies with Li Na."""
    request = await desk.submitted(
        requester,
        description="从今天早上开始，\n所有发出的邮件都被退回。",
        service="mail",
        impact=2,
        urgency=1,
    )
    await desk.happened(f"work-order/{request['id']}", WorkOrderOpened(), MAIL_TEAM, EXPLAINED)
    return request


async def resolve(desk: Desk, request: Json) -> str:
    await desk.happened(
        f"work-order/{request['id']}",
        WorkOrderAccepted(agent="li.na"),
        WorkOrderStarted(),
        WorkOrderResolved(summary="已更换证书"),
    )
    return await desk.etag(request)


async def test_a_request_is_submitted_and_read_in_its_own_words(
    desk: Desk, requester: Headers
) -> None:
    body = {
        "kind": "incident",
        "title": "邮件无法发送 — e\u0301",
        "description": "从今天早上开始，\n所有邮件都被退回。",
        "service": "mail",
        "classification": {"problem_type": "data-processing", "category": "邮件"},
    }
    response = await desk.send("POST", "/requests", requester, body)
    receipt = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/intake/v1/requests/{receipt['id']}"
    assert response.headers["Casebook-Version"] == f"request/{receipt['id']}@3"
    assert receipt["number"].startswith("REQ")
    assert (receipt["status"], receipt["priority"]) == ("open", 3)

    read = await desk.read(f"/requests/{receipt['id']}", requester)
    assert read.status_code == 200
    assert read.headers["ETag"] == response.headers["ETag"] == '"3"'
    detail = read.json()
    assert detail["title"] == "邮件无法发送 — é"  # normalised to NFC
    assert detail["description"] == "从今天早上开始，\n所有邮件都被退回。"
    assert detail["requester"] == detail["opened_by"] == "wang.fang"
    assert detail["organisation"] == "青岛分公司"
    assert detail["channel"] == "self-service"
    assert detail["category"] == "邮件"
    assert detail["work"] is None
    assert detail["configuration_item"] is None


async def test_text_is_nowhere_in_the_database(desk: Desk, requester: Headers) -> None:
    request = await desk.submitted(requester, description="机密内容")
    await desk.send("POST", f"/requests/{request['id']}/comments", requester, {"body": "机密内容"})
    await desk.settled()
    async with desk.runtime.database.background() as connection:
        for table in ("events", "streams", "timeline", "idempotency", "outbox", "cases"):
            found = await connection.fetchval(
                f"SELECT count(*) FROM {table} AS t WHERE t::text LIKE '%机密%'"
            )
            assert found == 0, table


async def test_numbers_are_never_given_twice(desk: Desk, requester: Headers) -> None:
    numbers = [(await desk.submitted(requester))["number"] for _ in range(3)]
    assert len(set(numbers)) == 3
    assert numbers == sorted(numbers)


async def test_from_submission_to_confirmation(
    desk: Desk, requester: Headers, agent: Headers, assigned: Json
) -> None:
    path = f"/requests/{assigned['id']}"
    network = {"problem_type": "data-processing", "category": "mail"}
    classified = await desk.send(
        "PUT", f"{path}/classification", agent, network, match=assigned["etag"]
    )
    assert classified.status_code == 200
    raised = {"impact": 1, "urgency": 1, "reason": "整个部门受影响"}
    prioritised = await desk.send(
        "PUT", f"{path}/priority", agent, raised, match=classified.headers["ETag"]
    )
    assert prioritised.json()["priority"] == 1
    asked = await desk.send("POST", f"{path}/comments", requester, {"body": "已经好了吗？"})
    noted = await desk.send("POST", f"{path}/internal-comments", agent, {"body": "同上次"})
    assert (asked.status_code, noted.status_code) == (201, 201)

    etag = await resolve(desk, assigned)
    resolved = (await desk.read(path, requester)).json()
    assert resolved["status"] == "resolved"
    assert resolved["work"] == resolved["work"] | {"status": "resolved", "agent": "li.na"}
    confirmed = await desk.send("PUT", f"{path}/confirmation", requester, match=etag)
    assert confirmed.status_code == 200
    assert confirmed.json()["status"] == "closed"
    assert confirmed.json()["closed_basis"] == "confirmed"
    again = await desk.send(
        "PUT", f"{path}/confirmation", requester, match=confirmed.headers["ETag"]
    )
    assert again.status_code == 200
    assert again.headers["ETag"] == confirmed.headers["ETag"]


async def test_the_timeline_tells_the_customer_what_is_for_customers(
    desk: Desk, requester: Headers, agent: Headers, auditor: Headers, assigned: Json
) -> None:
    path = f"/requests/{assigned['id']}"
    await desk.send("POST", f"{path}/comments", requester, {"body": "已经好了吗？"})
    await desk.send("POST", f"{path}/internal-comments", agent, {"body": "同上次"})
    etag = await resolve(desk, assigned)
    await desk.send("PUT", f"{path}/confirmation", requester, match=etag)
    await desk.settled()
    for_customers = [
        "request.submitted",
        "request.prioritised",
        "work-order.assigned-to-team",
        "work-order.assigned-to-agent",
        "request.commented",
        "work-order.accepted",
        "work-order.started",
        "work-order.resolved",
        "request.resolution-proposed",
        "request.resolution-confirmed",
        "request.closed",
    ]
    seen = await desk.read(f"{path}/timeline", requester)
    assert types(seen) == for_customers
    items = {item["type"]: item for item in seen.json()["items"]}
    assert items["casebook.request.commented.v1"]["data"] == {"body": "已经好了吗？"}
    assert "explanation" not in items["casebook.work-order.assigned-to-agent.v1"]["data"]
    assert items["casebook.request.closed.v1"]["actor"] == "user:wang.fang"

    for staff in (agent, auditor):
        seen = await desk.read(f"{path}/timeline", staff)
        assert types(seen) == [
            *for_customers[:2],
            "work-order.opened",
            *for_customers[2:5],
            "request.internally-commented",
            *for_customers[5:],
        ]
        items = {item["type"]: item for item in seen.json()["items"]}
        internal = items["casebook.request.internally-commented.v1"]
        assert internal["data"] == {"body": "同上次"}
        assert items["casebook.work-order.assigned-to-agent.v1"]["data"]["explanation"]


async def test_one_reads_what_one_has_just_written(desk: Desk, requester: Headers) -> None:
    request = await desk.submitted(requester)
    path = f"/requests/{request['id']}"
    for body in ("一", "二", "三"):
        written = await desk.send("POST", f"{path}/comments", requester, {"body": body})
        seen = await desk.read(
            f"{path}/timeline",
            requester | {"Casebook-Min-Version": written.headers["Casebook-Version"]},
        )
        assert seen.json()["items"][-1]["data"] == {"body": body}


async def test_a_timeline_has_pages(desk: Desk, requester: Headers, assigned: Json) -> None:
    path = f"/requests/{assigned['id']}/timeline"
    whole = types(await desk.read(path, requester))
    found: list[str] = []
    page = await desk.read(path, requester, limit=1)
    found += types(page)
    while page.json()["next_cursor"] is not None:
        page = await desk.read(path, requester, limit=1, cursor=page.json()["next_cursor"])
        found += types(page)
    assert found == whole
    assert len(whole) == 4


async def test_a_request_is_read_as_it_was(desk: Desk, requester: Headers, assigned: Json) -> None:
    path = f"/requests/{assigned['id']}"
    before = desk.clock.now()
    desk.clock.pass_(timedelta(hours=2))
    await resolve(desk, assigned)
    assert (await desk.read(path, requester)).json()["status"] == "resolved"
    then = (await desk.read(path, requester, as_of=before.isoformat())).json()
    assert then["status"] == "open"
    assert then["work"] is None
    told = await desk.read(f"{path}/timeline", requester, as_of=before.isoformat())
    assert "work-order.resolved" not in types(told)
    earlier = (before - timedelta(days=1)).isoformat()
    assert problem(await desk.read(path, requester, as_of=earlier)) == (404, "not-found")


async def test_a_resolution_that_does_not_hold_is_reopened(
    desk: Desk, requester: Headers, assigned: Json
) -> None:
    path = f"/requests/{assigned['id']}"
    etag = await resolve(desk, assigned)
    reopened = await desk.send(
        "POST", f"{path}/reopenings", requester, {"reason": "问题又出现了"}, match=etag
    )
    assert reopened.status_code == 201
    assert (reopened.json()["status"], reopened.json()["reopenings"]) == ("open", 1)


async def test_of_two_answers_at_once_one_counts(
    desk: Desk, requester: Headers, assigned: Json
) -> None:
    path = f"/requests/{assigned['id']}"
    etag = await resolve(desk, assigned)
    answers = await asyncio.gather(
        desk.send("PUT", f"{path}/confirmation", requester, match=etag),
        desk.send("POST", f"{path}/reopenings", requester, {}, match=etag),
    )
    assert sorted(answer.status_code for answer in answers)[1] == 412
    assert await desk.status(assigned) == ("closed" if answers[0].is_success else "open")


async def test_a_closed_request_is_reopened_for_seven_days(
    desk: Desk, requester: Headers, assigned: Json
) -> None:
    path = f"/requests/{assigned['id']}"
    etag = await resolve(desk, assigned)
    closed = await desk.send("PUT", f"{path}/confirmation", requester, match=etag)
    desk.clock.pass_(timedelta(days=7, seconds=1))
    late = await desk.send(
        "POST", f"{path}/reopenings", requester, {}, match=closed.headers["ETag"]
    )
    assert problem(late) == (409, "reopen-window-over")


async def test_a_cancellation_crosses_a_resolution(
    desk: Desk, requester: Headers, assigned: Json
) -> None:
    path = f"/requests/{assigned['id']}"
    cancelled = await desk.send(
        "PUT", f"{path}/cancellation", requester, {"reason": "已自行解决"}, match=assigned["etag"]
    )
    assert cancelled.json()["status"] == "cancelled"
    etag = await resolve(desk, assigned)
    assert await desk.status(assigned) == "cancelled"
    assert etag == cancelled.headers["ETag"]


async def test_without_an_answer_the_closure_is_announced_and_done(
    desk: Desk, requester: Headers, assigned: Json
) -> None:
    await resolve(desk, assigned)
    await desk.passed(timedelta(days=3, hours=23))
    assert types(await desk.read(f"/requests/{assigned['id']}/timeline", requester))[-1] == (
        "request.resolution-proposed"
    )
    await desk.passed(timedelta(hours=1))
    read = (await desk.read(f"/requests/{assigned['id']}", requester)).json()
    assert (read["status"], read["closes_at"] is not None) == ("resolved", True)
    await desk.passed(timedelta(days=1))
    closed = (await desk.read(f"/requests/{assigned['id']}", requester)).json()
    assert (closed["status"], closed["closed_basis"]) == ("closed", "announced")
    told = await desk.read(f"/requests/{assigned['id']}/timeline", requester)
    assert types(told)[-2:] == ["request.closure-announced", "request.closed"]
    assert told.json()["items"][-1]["actor"] == "service:intake"


async def test_an_answer_in_time_leaves_no_timer(
    desk: Desk, requester: Headers, assigned: Json
) -> None:
    etag = await resolve(desk, assigned)
    await desk.passed(timedelta(days=4))
    etag = await desk.etag(assigned)
    await desk.send("PUT", f"/requests/{assigned['id']}/confirmation", requester, match=etag)
    await desk.passed(timedelta(days=3))
    read = (await desk.read(f"/requests/{assigned['id']}", requester)).json()
    assert read["closed_basis"] == "confirmed"


async def test_a_lead_closes_a_resolved_request_for_a_reason(
    desk: Desk, lead: Headers, agent: Headers, assigned: Json
) -> None:
    path = f"/requests/{assigned['id']}/closure"
    reason = {"reason": "客户已离职"}
    early = await desk.send("PUT", path, lead, reason, match=assigned["etag"])
    assert problem(early) == (409, "resolution-not-proposed")
    etag = await resolve(desk, assigned)
    assert problem(await desk.send("PUT", path, agent, reason, match=etag)) == (403, "forbidden")
    assert problem(await desk.send("PUT", path, lead, {}, match=etag)) == (422, "invalid-request")
    closed = await desk.send("PUT", path, lead, reason, match=etag)
    assert closed.json()["closed_basis"] == "direct"


async def test_staff_submit_on_behalf_of_a_requester(
    desk: Desk, agent: Headers, requester: Headers
) -> None:
    request = await desk.submitted(
        agent, requester="wang.fang", organisation="青岛分公司", channel="phone"
    )
    detail = (await desk.read(f"/requests/{request['id']}", requester)).json()
    assert detail["requester"] == "wang.fang"
    assert (detail["opened_by"], detail["channel"]) == ("li.na", "phone")


async def test_work_that_waits_says_for_what(
    desk: Desk, requester: Headers, assigned: Json
) -> None:
    await desk.happened(f"work-order/{assigned['id']}", WorkOrderWaitingStarted(reason="customer"))
    listed = (await desk.read("/requests", requester)).json()["items"]
    assert [item["work"]["waiting_reason"] for item in listed] == ["customer"]
