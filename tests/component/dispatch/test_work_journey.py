"""A request's work from its opening to its resolution, over HTTP."""

from datetime import timedelta
from uuid import uuid4

from casebook.dispatch.domain.matching import recompute
from casebook.events.request import RequestReopened
from casebook.events.work_order import AssignmentExplanation
from tests.component.dispatch.board import Board, Headers, types


async def test_work_is_assigned_done_and_taken_up_again(board: Board, li_na: Headers) -> None:
    await board.team("network", li_na=2)
    request = await board.submitted()
    await board.matched(request)

    seen = await board.read(f"/work-orders/{request}", li_na)
    assert seen.status_code == 200, seen.text
    order = seen.json()
    assert (order["status"], order["team"], order["agent"]) == ("assigned", "network", "li.na")
    assert recompute(AssignmentExplanation.model_validate(order["explanation"])) == "li.na"
    assert seen.headers["ETag"] == await board.etag(f"work-order/{request}")

    for name, body, status, code in (
        ("acceptance", None, "accepted", 200),
        ("start", None, "in-progress", 200),
        ("waits", {"reason": "customer", "note": "请提供日志"}, "waiting", 201),
        ("resumptions", None, "in-progress", 201),
        ("notes", {"text": "已更换"}, "in-progress", 201),
        ("resolution", {"code": "fixed", "summary": "已更换交换机"}, "resolved", 200),
    ):
        answer = await board.work(request, name, li_na, body)
        assert (answer.status_code, answer.json()["status"]) == (code, status), answer.text
    assert await board.load() == {"li.na": 0}
    detail = (await board.read(f"/work-orders/{request}", li_na)).json()
    assert detail["resolution_summary"] == "已更换交换机"
    assert (detail["number"], detail["priority"]) == ("REQ0000001", 3)

    await board.happened({f"request/{request}": [RequestReopened()]})
    await board.matched(request)
    assert types(await board.facts(request)) == [
        "opened",
        "assigned-to-team",
        "assigned-to-agent",
        "accepted",
        "started",
        "waiting-started",
        "waiting-ended",
        "resumed",
        "noted",
        "resolved",
        "reopened",
        "released",
        "assigned-to-agent",
    ]
    assert await board.load() == {"li.na": 1}


async def test_one_trace_leads_from_the_request_to_the_assignment(board: Board) -> None:
    await board.team("network", li_na=2)
    request = await board.submitted()
    await board.matched(request)
    facts = await board.facts(request)
    assert {fact.traceparent.split("-")[1] for fact in facts if fact.traceparent} == {
        "0af7651916cd43dd8448eb211c80319c"
    }
    assert facts[2].causationid == facts[1].id
    assert [fact.actor for fact in facts] == ["service:dispatch"] * 3


async def test_what_nobody_classified_goes_to_the_default_team(board: Board) -> None:
    await board.team("service-desk", li_na=2)
    request = await board.submitted(team=None)
    order = await board.matched(request)
    assert (order["team"], order["agent"], order["priority"]) == ("service-desk", "li.na", 3)


async def test_a_work_order_is_read_as_it_was(board: Board, li_na: Headers) -> None:
    await board.team("network", li_na=2)
    request = await board.submitted()
    await board.matched(request)
    before = board.clock.now().isoformat()
    await board.passed(timedelta(minutes=5))
    assert (await board.work(request, "acceptance", li_na)).status_code == 200
    now = (await board.read(f"/work-orders/{request}", li_na)).json()
    then = (await board.read(f"/work-orders/{request}", li_na, as_of=before)).json()
    assert (now["status"], then["status"]) == ("accepted", "assigned")
    unknown = await board.read(f"/work-orders/{request}", li_na, as_of="2001-01-01T00:00:00Z")
    assert unknown.status_code == 404
    assert (await board.read(f"/work-orders/{uuid4()}", li_na)).status_code == 404
