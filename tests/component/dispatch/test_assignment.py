"""Matching gives work to agents in order of urgency, never more than they can hold."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest

from casebook.dispatch import matcher as matching_work
from casebook.dispatch.domain.matching import recompute
from casebook.events.request import RequestReclassified
from casebook.events.work_order import AssignmentExplanation
from casebook.kit.postgres.database import Database
from tests.component.dispatch.board import (
    Board,
    Headers,
    matcher_of,
    problem,
    submission,
    types,
)

CROWD = 500


async def test_what_nobody_can_take_is_queued_with_its_reason_once(board: Board) -> None:
    await board.team("network", li_na=1, wang_wei=1)
    await board.change("wang.wei", "availability", {"available": False})
    first = await board.submitted()
    assert (await board.matched(first))["agent"] == "li.na"
    second = await board.submitted()
    await board.quiet()
    await board.quiet()
    assert types(await board.facts(second)) == ["opened", "assigned-to-team", "queued"]
    order = (await board.read(f"/work-orders/{second}", board.admin)).json()
    assert order["excluded"] == {"at-capacity": 1, "unavailable": 1}

    assert (await board.change("li.na", "capacity", {"capacity": 2})).status_code == 200
    assert (await board.matched(second))["agent"] == "li.na"


async def test_a_team_without_agents_has_a_queue(board: Board) -> None:
    await board.team("network")
    request = await board.submitted()
    await board.quiet()
    order = await board.state(f"work-order/{request}")
    assert (order["status"], order["excluded"]) == ("queued", {})
    await board.team("network", li_na=1)
    assert (await board.matched(request))["agent"] == "li.na"


async def test_a_granted_skill_makes_somebody_eligible(board: Board) -> None:
    await board.team("network", li_na=1)
    body = {"team": "network", "capacity": 1, "skills": {"infrastructure": 1, "数据库": 5}}
    await board.send("PUT", "/agents/wang.wei", board.admin, body)
    await board.matched(await board.submitted())
    request = await board.submitted()
    await board.quiet()
    order = await board.state(f"work-order/{request}")
    assert order["excluded"] == {"at-capacity": 1, "skill-level": 1}
    answer = await board.change("wang.wei", "skills/infrastructure", {"level": 2})
    assert answer.json()["skills"] == {"infrastructure": 2, "数据库": 5}
    assert (await board.matched(request))["agent"] == "wang.wei"


async def test_the_most_urgent_comes_first_when_somebody_gets_free(
    board: Board, li_na: Headers
) -> None:
    await board.team("network", li_na=1)
    held = await board.submitted()
    await board.matched(held)
    late, urgent = await board.submitted(priority=4), await board.submitted(priority=1)
    for name, body in (("acceptance", None), ("start", None), ("resolution", {})):
        assert (await board.work(held, name, li_na, body)).status_code == 200
    assert (await board.matched(urgent))["agent"] == "li.na"
    await board.quiet()
    assert (await board.state(f"work-order/{late}"))["status"] == "queued"


async def test_work_that_nobody_can_take_never_starves_other_work(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching_work, "LOOK_MAX", 3)
    await board.team("network")
    await board.team("security", chen_bo=2)
    body = {"team": "security", "capacity": 9, "skills": {}}
    assert (await board.send("PUT", "/agents/ma.li", board.admin, body)).status_code == 200
    await _submitted(board, "network", 5, priority=1)
    await board.quiet()
    mine = await _submitted(board, "security", 5, priority=4)
    await board.quiet()
    orders = [await board.state(f"work-order/{request}") for request in mine]
    taken = [order for order in orders if order["status"] == "assigned"]
    assert [order["agent"] for order in taken] == ["chen.bo"] * 2
    for order in orders:  # the others are looked at too, although they cannot be taken either
        if order not in taken:
            assert order["excluded"] == {"at-capacity": 1, "skill-missing": 1}
    await board.change("chen.bo", "capacity", {"capacity": 5})
    for request in mine:
        assert (await board.matched(request))["agent"] == "chen.bo"


async def _submitted(board: Board, team: str, number: int, *, priority: int) -> Sequence[UUID]:
    """Let several requests come in, one after the other."""
    return [await board.submitted(team, priority=priority) for _ in range(number)]


async def test_a_corrected_classification_moves_the_work(board: Board) -> None:
    await board.team("network", li_na=1)
    await board.team("security", chen_bo=1)
    request = await board.submitted()
    await board.matched(request)
    correction = RequestReclassified(problem_type="security-policy")
    await board.happened({f"request/{request}": [correction]})
    await board.quiet()
    order = await board.state(f"work-order/{request}")
    assert (order["team"], order["agent"]) == ("security", "chen.bo")
    assert await board.load() == {"li.na": 0, "chen.bo": 1}


async def test_work_given_back_and_changed_hands_keeps_the_load_right(
    board: Board, li_na: Headers, lead: Headers
) -> None:
    await board.team("network", li_na=1, wang_wei=1, he_jun=1)
    await board.team("security", chen_bo=1)
    await board.change("wang.wei", "availability", {"available": False})
    await board.change("he.jun", "availability", {"available": False})
    request = await board.submitted()
    await board.matched(request)
    to_wei = {"agent": "wang.wei", "reason": "熟悉该客户"}
    assert (await board.work(request, "assignments", lead, to_wei)).json()["agent"] == "wang.wei"
    assert await board.load() == {"li.na": 0, "wang.wei": 1, "he.jun": 0, "chen.bo": 0}
    wang_wei = board.person("wang.wei", "agent")
    released = await board.work(request, "releases", wang_wei)
    assert released.json()["status"] == "queued"
    assert (await board.matched(request))["agent"] == "li.na"
    moved = await board.work(request, "assignments", lead, {"team": "security", "reason": "攻击"})
    assert moved.json()["team"] == "security"
    assert (await board.matched(request))["agent"] == "chen.bo"
    assert await board.load() == {"li.na": 0, "wang.wei": 0, "he.jun": 0, "chen.bo": 1}
    assert (await board.work(request, "acceptance", li_na)).status_code == 404


async def test_the_guard_refuses_what_an_agent_cannot_have(
    board: Board, li_na: Headers, lead: Headers, admin: Headers
) -> None:
    await board.team("network", li_na=1, he_jun=1, wang_wei=1)
    await board.team("security", chen_bo=1)
    for agent in ("he.jun", "wang.wei"):
        await board.change(agent, "availability", {"available": False})
    held, waiting = await board.submitted(), await board.submitted()
    await board.quiet()
    assert (await board.state(f"work-order/{held}"))["agent"] == "li.na"

    assert problem(await board.work(waiting, "acceptance", li_na)) == (409, "agent-at-capacity")
    for who, code in (
        ("li.na", "agent-at-capacity"),
        ("chen.bo", "agent-unknown"),
        ("nobody", "agent-unknown"),
    ):
        refused = await board.work(waiting, "assignments", lead, {"agent": who, "reason": "a"})
        assert problem(refused) == (409, code)
    nowhere = {"team": "nowhere", "reason": "a"}
    assert problem(await board.work(waiting, "assignments", admin, nowhere)) == (
        409,
        "team-unknown",
    )
    moved = await board.change("li.na", "team", {"team": "security"})
    assert problem(moved) == (409, "agent-has-open-work")
    assert (await board.change("wang.wei", "team", {"team": "security"})).status_code == 200
    lost = await board.send("PUT", "/agents/x", admin, {"team": "nowhere", "capacity": 1})
    assert problem(lost) == (409, "team-unknown")
    assert await board.load() == await board.counted() | {"he.jun": 0, "wang.wei": 0, "chen.bo": 0}


async def test_two_dispatchers_and_five_hundred_requests(board: Board) -> None:
    capacities = {f"agent_{number:02}": 1 + number % 40 for number in range(30)}
    await board.team("network", **capacities)
    async with AsyncExitStack() as stack:
        matchers = [board.matcher]
        for _ in range(2):
            database = Database(
                board.runtime.settings.database_url, "dispatch", http=1, background=2
            )
            await database.open()
            stack.push_async_callback(database.close)
            matchers.append(matcher_of(board.runtime, database))
        stop = asyncio.Event()

        async def dispatch(matcher: object) -> None:
            while not stop.is_set():
                await matchers[matchers.index(matcher)].match()  # type: ignore[arg-type]
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(dispatch(each)) for each in matchers[1:]]
        requests = [uuid4() for _ in range(CROWD)]
        await board.happened({f"request/{each}": submission("network") for each in requests})
        await board.quiet()
        stop.set()
        await asyncio.gather(*tasks)

    counted = await board.counted()
    allowed = {agent.replace("_", "."): limit for agent, limit in capacities.items()}
    assert sum(counted.values()) == min(CROWD, sum(allowed.values()))
    assert all(counted[agent] <= allowed[agent] for agent in counted)
    load = await board.load()
    assert {agent: held for agent, held in load.items() if held} == counted
    for request in requests:
        facts = [fact for fact in await board.facts(request) if "agent" in fact.data]
        assert len(facts) <= 1
        for fact in facts:
            explanation = AssignmentExplanation.model_validate(fact.data["explanation"])
            assert recompute(explanation) == fact.data["agent"]
