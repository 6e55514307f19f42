"""Observed history is shown, and leads to nothing until somebody reopens it."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from casebook.events.event import Event
from casebook.events.request import RequestClosed, RequestReopened, SourceRegistered
from casebook.events.work_order import (
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderReassignedToTeam,
    WorkOrderResolved,
    WorkOrderStarted,
)
from tests.component.dispatch.board import (
    PATIENCE_SECONDS,
    Board,
    Headers,
    problem,
    submission,
    types,
)


async def test_observed_requests_open_no_work(board: Board) -> None:
    await board.team("network", li_na=1)
    request = await board.submitted(origin="observed")
    await board.quiet()
    assert await board.facts(request) == []
    assert await board.load() == {"li.na": 0}


async def test_observed_history_that_is_reopened_is_worked_on_here(
    board: Board, admin: Headers
) -> None:
    await board.team("service-desk", li_na=1)
    request = uuid4()
    history = [*submission("network"), RequestClosed(basis="observed")]
    await board.happened({f"request/{request}": history}, origin="observed")
    await board.happened({f"request/{request}": [RequestReopened()]})
    order = await board.matched(request)
    assert (order["origin"], order["team"], order["agent"]) == ("live", "service-desk", "li.na")
    assert problem(await board.read(f"/work-orders/{uuid4()}", admin)) == (404, "not-found")


HISTORY: Sequence[Event] = (
    WorkOrderAssignedToTeam(team="network", initial=True),
    WorkOrderAssignedToAgent(agent="Resolver 1"),
    WorkOrderStarted(),
)
MOVED = WorkOrderReassignedToTeam(team="security")


async def registered(board: Board, mode: str) -> None:
    """Let intake have registered a source of this mode."""
    source = SourceRegistered(
        source="uci498",
        types=tuple(event.type for event in (*HISTORY, MOVED, WorkOrderResolved())),
        mode=mode,
        publisher="importer",
    )
    await board.happened({"definition/source/uci498": [source]}, key="uci498")


async def promoted(board: Board, *expected: int) -> None:
    """Wait until so many facts are promoted or skipped."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            async with board.runtime.database.background() as connection:
                found = await connection.fetchval(
                    "SELECT count(*) FROM events WHERE record LIKE '%\"originid\"%'"
                )
            if found in expected:
                break
            await asyncio.sleep(0.02)
    await board.settled()


async def test_observed_work_takes_up_nobody_and_may_deviate(board: Board, admin: Headers) -> None:
    await board.team("network", li_na=1)
    await registered(board, "observed")
    request = await board.published("uci498", "INC1", *HISTORY, WorkOrderResolved(code="a"))
    await promoted(board, 4)
    await board.quiet()
    order = (await board.read(f"/work-orders/{request}", admin)).json()
    assert (order["status"], order["origin"], order["agent"]) == (
        "resolved",
        "observed",
        "Resolver 1",
    )
    assert await board.load() == {"li.na": 0}
    async with board.runtime.database.background() as connection:
        rules = await connection.fetch("SELECT rule, count FROM deviations")
    assert {row[0]: row[1] for row in rules} == {"not-accepted": 1}

    await board.happened({f"request/{request}": [RequestReopened()]})
    reopened = await board.matched(request)
    assert (reopened["origin"], reopened["team"], reopened["agent"]) == (
        "live",
        "network",
        "li.na",
    )
    assert types(await board.facts(request))[-3:] == ["reopened", "released", "assigned-to-agent"]
    assert await board.load() == {"li.na": 1, "Resolver 1": 0}


async def test_people_leave_observed_work_alone(board: Board, lead: Headers) -> None:
    await board.team("network", li_na=1, he_jun=1)
    await registered(board, "observed")
    request = await board.published("uci498", "INC1", *HISTORY)
    await promoted(board, 3)
    for name, body in (
        ("acceptance", None),
        ("resolution", {}),
        ("assignments", {"agent": "li.na", "reason": "a"}),
        ("notes", {"text": "a"}),
    ):
        refused = await board.work(request, name, lead, body)
        assert problem(refused) == (409, "observed-history")
    queue = (await board.read("/queues/network", lead)).json()["items"]
    assert [(each["request_id"], each["origin"]) for each in queue] == [(str(request), "observed")]


async def test_a_live_source_keeps_the_rules_and_its_people_count(board: Board) -> None:
    await board.team("network", li_na=1)
    await registered(board, "live")
    request = await board.published("uci498", "INC1", *HISTORY)
    await promoted(board, 3)
    # Work that nobody accepted does not begin: the place of the fact is kept, the fact is not.
    assert types(await board.facts(request)) == ["assigned-to-team", "assigned-to-agent"]
    assert await board.load() == {"li.na": 0, "Resolver 1": 1}
    assert await board.counted() == {"Resolver 1": 1}


async def test_the_load_shows_only_work_that_one_may_see(
    board: Board, li_na: Headers, lead: Headers, admin: Headers
) -> None:
    """Another system's word can leave an agent with work of a team that is not theirs."""
    await board.team("network", li_na=2, he_jun=1)
    await board.change("he.jun", "availability", {"available": False})
    await registered(board, "live")
    seen = await board.submitted()
    await board.matched(seen)
    given = WorkOrderAssignedToAgent(agent="li.na")
    moved = await board.published("uci498", "INC1", HISTORY[0], given, MOVED)
    await promoted(board, 3)
    shown: dict[str, set[str]] = {}
    for name, who in (("own", li_na), ("lead", lead), ("admin", admin)):
        answer = (await board.read("/agents/li.na/load", who)).json()
        assert answer["open_items"] == 2
        shown[name] = {row["request_id"] for row in answer["work"]}
    everything = {str(seen), str(moved)}
    assert shown == {"own": everything, "lead": {str(seen)}, "admin": everything}
