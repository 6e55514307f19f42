"""Nobody sees or changes work that is not theirs."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.component.dispatch.board import Board, Headers, problem
from tests.support.crowd import SOME_ID, multiply

COMMANDS: list[tuple[str, dict[str, Any] | None]] = [
    ("acceptance", None),
    ("start", None),
    ("waits", {"reason": "customer"}),
    ("resumptions", None),
    ("assignments", {"agent": "li.na", "reason": "a"}),
    ("releases", None),
    ("resolution", {}),
    ("notes", {"text": "a"}),
]
OF_THE_ASSIGNED = {"start", "waits", "resumptions", "releases", "resolution"}


@pytest.mark.parametrize(("name", "body"), COMMANDS)
async def test_commands_reach_as_far_as_the_policy_says(
    board: Board, wang_wei: Headers, name: str, body: dict[str, Any] | None
) -> None:
    await board.team("network", li_na=1, wang_wei=1)
    await board.team("security", chen_bo=1)
    await board.change("wang.wei", "availability", {"available": False})
    request = await board.submitted()
    await board.matched(request)
    for stranger in (board.person("chen.bo", "agent"), board.person("chen.bo", "lead")):
        answers = [await board.work(request, name, stranger, body)]
        match = await board.etag(f"work-order/{request}")
        method = "PUT" if name in {"acceptance", "start", "resolution"} else "POST"
        nowhere = f"/work-orders/{uuid4()}/{name}"
        answers.append(await board.send(method, nowhere, stranger, body, match=match))
        expected = (404, "not-found")
        if name == "assignments" and answers[0].status_code == 403:
            expected = (403, "forbidden")
        assert [problem(answer) for answer in answers] == [expected] * 2
    for role in ("requester", "auditor", "risk-manager", "operator", "publisher"):
        answer = await board.work(request, name, board.person("li.na", role), body)
        assert problem(answer) == (403, "forbidden")
    if name != "assignments":
        assert (await board.work(request, name, board.admin, body)).status_code == 403
    if name in OF_THE_ASSIGNED | {"assignments"}:
        assert problem(await board.work(request, name, wang_wei, body)) == (403, "forbidden")


async def test_work_and_queues_are_read_by_the_team(
    board: Board, li_na: Headers, wang_wei: Headers
) -> None:
    await board.team("network", li_na=1, wang_wei=1)
    await board.team("security", chen_bo=1)
    request = await board.submitted()
    await board.matched(request)
    stranger = board.person("chen.bo", "agent", "lead")
    auditor = board.person("qian.yu", "auditor")
    for path in (f"/work-orders/{request}", "/queues/network"):
        for who in (li_na, wang_wei, auditor, board.admin):
            assert (await board.read(path, who)).status_code == 200
        assert problem(await board.read(path, stranger)) == (404, "not-found")
        assert problem(await board.read(path, board.person("x", "requester"))) == (
            403,
            "forbidden",
        )
    assert (await board.read("/queues/nowhere", stranger)).status_code == 404


async def test_teams_count_while_the_reader_is_at_most_a_minute_behind(
    board: Board, wang_wei: Headers, lead: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> dict[int, int]:
        raise ConnectionError("the log is away")

    async def seen() -> list[int]:
        people = (wang_wei, lead, board.person("qian.yu", "auditor"))
        return [(await board.read(path, who)).status_code for who in people]

    await board.team("network", li_na=1, wang_wei=1, he_jun=1)
    request = await board.submitted()
    await board.matched(request)
    path = f"/work-orders/{request}"
    await board.passed(timedelta(0))
    with monkeypatch.context() as patch:
        patch.setattr(board.runtime.log, "heads", away)
        board.clock.pass_(timedelta(seconds=60))
        assert await seen() == [200, 200, 200]
        board.clock.pass_(timedelta(seconds=1))
        assert await seen() == [404, 404, 200]
    await board.passed(timedelta(0))
    assert await seen() == [200, 200, 200]


async def test_a_thousand_of_another_team_do_not_hide_ones_own(
    board: Board, li_na: Headers, lead: Headers
) -> None:
    """Neither in the team's queue, nor in what an agent holds who came from another team."""
    await board.team("network", li_na=5, he_jun=1)
    for agent in ("li.na", "he.jun"):
        await board.change(agent, "availability", {"available": False})
    queued = await board.submitted(priority=4)
    held = await board.submitted(priority=4)
    await board.quiet()
    given = await board.work(held, "assignments", lead, {"agent": "li.na", "reason": "a"})
    assert given.status_code < 300, given.text
    await board.settled()
    elsewhere = {"key": SOME_ID, "team": "'security'", "agent": "'li.na'", "priority": "1"}
    await multiply(board.runtime, "team_queue", f"key = '{held}'", **elsewhere)
    queue = (await board.read("/queues/network", li_na)).json()["items"]
    assert {item["request_id"] for item in queue} == {str(queued), str(held)}
    load = "/agents/li.na/load"
    assert str(held) not in (await board.read(load, board.admin)).text, "they come first"
    work = (await board.read(load, lead)).json()["work"]
    assert [item["request_id"] for item in work] == [str(held)]


async def test_load_is_ones_own_or_ones_teams(
    board: Board, li_na: Headers, wang_wei: Headers, lead: Headers
) -> None:
    await board.team("network", li_na=1, wang_wei=1, he_jun=1)
    await board.team("security", chen_bo=1)
    for who in (li_na, lead, board.admin):
        assert (await board.read("/agents/li.na/load", who)).status_code == 200
    for who, agent in ((wang_wei, "li.na"), (lead, "chen.bo"), (board.admin, "nobody")):
        assert problem(await board.read(f"/agents/{agent}/load", who)) == (404, "not-found")
    seen = (await board.read("/agents", li_na)).json()["items"]
    assert [each["agent"] for each in seen] == ["he.jun", "li.na", "wang.wei"]
    assert {each["name"] for each in seen} == {"李娜"}
    assert len((await board.read("/agents", board.admin)).json()["items"]) == 4


async def test_only_administrators_change_teams_and_agents(board: Board, lead: Headers) -> None:
    await board.team("network", li_na=1, he_jun=1)
    for who in (lead, board.person("op", "operator"), board.person("a", "auditor")):
        for path, body in (
            ("/teams/mail", {"name": "邮件组"}),
            ("/agents/x", {"team": "network", "capacity": 1}),
            ("/agents/li.na/capacity", {"capacity": 9}),
            ("/agents/li.na/skills/sql", {"level": 5}),
            ("/agents/li.na/team", {"team": "network"}),
            ("/agents/li.na/availability", {"available": True}),
        ):
            answer = await board.send("PUT", path, who, body, match='"1"')
            assert problem(answer) == (403, "forbidden")
