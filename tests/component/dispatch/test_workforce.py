"""Teams and agents over HTTP."""

import pytest

from tests.component.dispatch.board import Board, Headers, Json, problem


async def test_teams_are_created_once_and_listed(board: Board, admin: Headers) -> None:
    for name in ("网络组", "网络组"):
        answer = await board.send("PUT", "/teams/network", admin, {"name": name})
        assert (answer.status_code, answer.json()) == (200, {"team": "network", "name": "网络组"})
    other = await board.send("PUT", "/teams/network", admin, {"name": "x"})
    assert problem(other) == (409, "team-exists")
    await board.send("PUT", "/teams/applications", admin, {"name": "应用组"})
    first = (await board.read("/teams", admin, limit=1)).json()
    assert [each["team"] for each in first["items"]] == ["applications"]
    rest = (await board.read("/teams", admin, cursor=first["next_cursor"])).json()
    assert [each["team"] for each in rest["items"]] == ["network"]
    assert rest["next_cursor"] is None


async def test_agents_are_registered_changed_and_listed(board: Board, admin: Headers) -> None:
    await board.team("network", li_na=1, wang_wei=1)
    body: Json = {"team": "network", "capacity": 1, "skills": {"infrastructure": 3}}
    assert (await board.send("PUT", "/agents/li.na", admin, body)).status_code == 200
    changed = await board.send("PUT", "/agents/li.na", admin, body | {"capacity": 2})
    assert problem(changed) == (409, "agent-exists")
    assert (await board.change("li.na", "capacity", {"capacity": 7})).json()["capacity"] == 7
    first = (await board.read("/agents", admin, limit=1, team="network")).json()
    assert first["items"] == [
        {
            "agent": "li.na",
            "name": "李娜",
            "team": "network",
            "capacity": 7,
            "available": True,
            "skills": {"infrastructure": 3},
            "open_items": 0,
            "version": 3,
        }
    ]
    rest = (await board.read("/agents", admin, cursor=first["next_cursor"])).json()
    assert [each["agent"] for each in rest["items"]] == ["wang.wei"]
    missing = await board.send(
        "PUT", "/agents/nobody/capacity", admin, {"capacity": 1}, match='"1"'
    )
    assert problem(missing) == (404, "not-found")


async def test_an_agent_is_read_with_the_etag_that_changing_them_needs(
    board: Board, admin: Headers, li_na: Headers
) -> None:
    await board.team("network", li_na=3)
    await board.team("security", zhao_min=1)
    [listed] = (await board.read("/agents", admin, team="network")).json()["items"]
    seen = await board.read("/agents/li.na", li_na)
    assert (seen.status_code, seen.json()) == (200, listed)
    assert seen.headers["ETag"] == f'"{listed["version"]}"'
    assert seen.headers["Casebook-Version"] == f"agent/li.na@{listed['version']}"
    capacity = "/agents/li.na/capacity"
    changed = await board.send("PUT", capacity, admin, {"capacity": 2}, match=seen.headers["ETag"])
    assert changed.status_code == 200
    again = await board.read("/agents/li.na", admin)
    assert again.headers["ETag"] == changed.headers["ETag"] != seen.headers["ETag"]
    assert again.json()["capacity"] == 2
    stale = await board.send("PUT", capacity, admin, {"capacity": 5}, match=seen.headers["ETag"])
    assert problem(stale) == (412, "version-mismatch")
    for agent in ("nobody", "zhao.min"):
        assert problem(await board.read(f"/agents/{agent}", li_na)) == (404, "not-found")


async def test_a_team_keeps_the_name_that_it_had_elsewhere(board: Board, admin: Headers) -> None:
    await board.team("Group 70", li_na=1)
    assert (await board.read("/queues/Group 70", admin)).json()["items"] == []
    assert (await board.read("/queues/网络组", admin)).json()["items"] == []


async def test_queues_and_loads_show_what_is_open(
    board: Board, admin: Headers, li_na: Headers
) -> None:
    await board.team("network", li_na=3)
    requests = [await board.submitted(priority=priority) for priority in (4, 1, 2, 1)]
    await board.quiet()
    await board.settled()
    queue = (await board.read("/queues/network", admin, limit=3)).json()
    assert [each["priority"] for each in queue["items"]] == [1, 1, 2]
    rest = (await board.read("/queues/network", admin, cursor=queue["next_cursor"])).json()
    assert [each["priority"] for each in rest["items"]] == [4]
    assert rest["next_cursor"] is None
    waiting = (await board.read("/queues/network", admin, status="queued")).json()["items"]
    assert len(waiting) == 1
    mine = (await board.read("/queues/network", li_na, agent="li.na")).json()["items"]
    load = (await board.read("/agents/li.na/load", li_na)).json()
    assert (load["open_items"], load["capacity"], load["work"]) == (3, 3, mine)
    assert {each["request_id"] for each in mine} <= {str(request) for request in requests}
    assert (await board.read("/queues/network", admin, origin="observed")).json()["items"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/teams/network", {"name": ""}),
        ("/teams/网络", {"name": "a"}),
        ("/teams/a%2Fb", {"name": "a"}),
        ("/teams/network", {"name": "a\nb"}),
        ("/agents/li.na", {"team": "network", "capacity": 0}),
        ("/agents/li.na", {"team": "network", "capacity": True}),
        ("/agents/li.na", {"team": "network", "capacity": 1, "skills": {"a": 6}}),
        ("/agents/li.na", {"team": "network", "capacity": 1, "open": 0}),
        ("/agents/li na", {"team": "network", "capacity": 1}),
        ("/agents/li.na/availability", {"available": "yes"}),
        ("/agents/li.na/skills/a%0Ab", {"level": 1}),
    ],
)
async def test_malformed_input_is_a_clear_problem(
    board: Board, admin: Headers, path: str, body: Json
) -> None:
    answer = await board.send("PUT", path, admin, body, match='"1"')
    assert answer.status_code in {404, 422}
    problem(answer)


async def test_a_reassignment_names_one_of_agent_and_team(board: Board, lead: Headers) -> None:
    await board.team("network", li_na=1, he_jun=1)
    request = await board.submitted()
    await board.matched(request)
    for body in (
        {"reason": "a"},
        {"agent": "li.na", "team": "network", "reason": "a"},
        {"agent": "li.na"},
        {"agent": "li.na", "reason": "  "},
    ):
        assert problem(await board.work(request, "assignments", lead, body)) == (
            422,
            "invalid-request",
        )
