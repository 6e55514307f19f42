"""Two people, or two services, want different things at the same time."""

import asyncio

from casebook.events.request import RequestCancelled
from tests.component.dispatch.board import Board, Headers, problem, types


async def in_progress(board: Board, li_na: Headers):
    await board.team("network", li_na=2, he_jun=2)
    await board.change("he.jun", "availability", {"available": False})
    request = await board.submitted()
    await board.matched(request)
    for name in ("acceptance", "start"):
        assert (await board.work(request, name, li_na)).status_code == 200
    return request


async def test_of_two_people_who_take_one_work_order_one_wins(
    board: Board, li_na: Headers, wang_wei: Headers
) -> None:
    await board.team("network", li_na=1, wang_wei=1)
    for agent in ("li.na", "wang.wei"):
        await board.change(agent, "availability", {"available": False})
    request = await board.submitted()
    await board.quiet()
    match = await board.etag(f"work-order/{request}")
    path = f"/work-orders/{request}/acceptance"
    answers = await asyncio.gather(
        *(board.send("PUT", path, who, match=match) for who in (li_na, wang_wei))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    loser = (li_na, wang_wei)[[answer.status_code for answer in answers].index(412)]
    assert problem(await board.work(request, "acceptance", loser)) == (409, "already-accepted")
    assert sum((await board.load()).values()) == 1
    assert types(await board.facts(request))[-2:] == ["assigned-to-agent", "accepted"]


async def test_an_assigned_work_order_is_its_agents(
    board: Board, li_na: Headers, wang_wei: Headers
) -> None:
    await board.team("network", li_na=1, wang_wei=1)
    await board.change("wang.wei", "availability", {"available": False})
    request = await board.submitted()
    await board.matched(request)
    assert problem(await board.work(request, "acceptance", wang_wei)) == (
        409,
        "assigned-to-another",
    )
    assert (await board.work(request, "acceptance", li_na)).status_code == 200
    assert (await board.work(request, "acceptance", li_na)).status_code == 200


async def test_what_was_seen_must_still_hold(board: Board, li_na: Headers) -> None:
    request = await in_progress(board, li_na)
    path = f"/work-orders/{request}/resolution"
    assert problem(await board.send("PUT", path, li_na, {})) == (428, "if-match-required")
    stale = await board.send("PUT", path, li_na, {}, match='"1"')
    assert problem(stale) == (412, "version-mismatch")


async def test_a_retry_gets_the_first_answer(board: Board, li_na: Headers) -> None:
    request = await in_progress(board, li_na)
    match = await board.etag(f"work-order/{request}")
    path, body = f"/work-orders/{request}/waits", {"reason": "customer"}
    first = await board.send("POST", path, li_na, body, match=match, key="once")
    again = await board.send("POST", path, li_na, body, match=match, key="once")
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert types(await board.facts(request)).count("waiting-started") == 1


async def test_a_cancellation_that_comes_first_wins(board: Board, li_na: Headers) -> None:
    request = await in_progress(board, li_na)
    await board.happened({f"request/{request}": [RequestCancelled()]})
    assert problem(await board.work(request, "resolution", li_na, {})) == (
        409,
        "work-order-cancelled",
    )
    assert types(await board.facts(request))[-1] == "cancelled"
    assert await board.load() == {"li.na": 0, "he.jun": 0}


async def test_a_resolution_that_comes_first_wins(board: Board, li_na: Headers) -> None:
    request = await in_progress(board, li_na)
    assert (await board.work(request, "resolution", li_na, {})).status_code == 200
    await board.happened({f"request/{request}": [RequestCancelled()]})
    assert types(await board.facts(request))[-1] == "resolved"
    assert problem(await board.work(request, "resolution", li_na, {"code": "x"})) == (
        409,
        "already-resolved",
    )


async def test_steps_out_of_order_are_refused(board: Board, li_na: Headers, lead: Headers) -> None:
    await board.team("network", li_na=2, he_jun=1)
    await board.change("he.jun", "availability", {"available": False})
    request = await board.submitted()
    await board.matched(request)
    customer = {"reason": "customer"}
    assert problem(await board.work(request, "start", li_na)) == (409, "not-accepted")
    await board.work(request, "acceptance", li_na)
    assert problem(await board.work(request, "waits", li_na, customer)) == (409, "not-started")
    assert problem(await board.work(request, "resumptions", lead)) == (409, "not-started")
    await board.work(request, "start", li_na)
    await board.work(request, "waits", li_na, customer)
    other = {"reason": "supplier"}
    assert problem(await board.work(request, "waits", li_na, other)) == (409, "already-waiting")
    assert problem(await board.work(request, "start", li_na)) == (409, "already-waiting")
