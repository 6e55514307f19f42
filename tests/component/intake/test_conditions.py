"""What every command asks of a client, and what it says to bad input."""

import unicodedata
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.component.intake.desk import Desk, Headers, open_desk, problem
from tests.support.nasties import NASTIES

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW: dict[str, Any] = {"kind": "incident", "title": "邮件无法发送"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Desk]:
    """One service for the whole file: nothing here changes what another test sees."""
    async with open_desk(tmp_path_factory.mktemp("desk")) as running:
        yield running


async def test_a_change_needs_the_version_that_was_seen(desk: Desk, requester: Headers) -> None:
    request = await desk.submitted(requester)
    path = f"/requests/{request['id']}/cancellation"
    assert problem(await desk.send("PUT", path, requester, {}))[0] == 428
    stale = await desk.send("PUT", path, requester, {}, match='"1"')
    assert problem(stale) == (412, "version-mismatch")
    assert await desk.status(request) == "open"
    assert (await desk.send("PUT", path, requester, {}, match='"2"')).status_code == 200


async def test_a_key_makes_a_command_happen_once(desk: Desk) -> None:
    who = desk.person("once", "requester")
    first = await desk.send("POST", "/requests", who, NEW, key="once")
    again = await desk.send("POST", "/requests", who, NEW, key="once")
    assert again.status_code == 201
    assert again.content == first.content
    for name in ("ETag", "Casebook-Version", "Location"):
        assert again.headers[name] == first.headers[name]
    other = await desk.send("POST", "/requests", who, NEW | {"title": "另一个"}, key="once")
    assert problem(other) == (422, "idempotency-key-reused")
    assert len((await desk.read("/requests", who)).json()["items"]) == 1


async def test_a_key_is_required(desk: Desk, requester: Headers) -> None:
    response = await desk.client.post("/intake/v1/requests", headers=requester, json=NEW)
    assert problem(response) == (400, "idempotency-key-required")


async def test_an_unknown_parameter_has_one_code_everywhere(desk: Desk, admin: Headers) -> None:
    request = await desk.submitted(desk.person("asks", "requester"))
    for path in ("/requests", f"/requests/{request['id']}", "/sources", "/events"):
        refused = await desk.read(path, admin, nonsense=1)
        assert problem(refused) == (422, "unknown-parameter"), path
        assert "nonsense" not in refused.text
    assert "as_of" in (await desk.read(f"/requests/{request['id']}", admin, x=1)).json()["detail"]


@pytest.mark.parametrize(
    ("moment", "hint"), [("yesterday", False), ("2099-01-01T00:00:00+08:00", True)]
)
async def test_what_is_no_moment_is_told_what_is_one(
    desk: Desk, admin: Headers, moment: str, hint: bool
) -> None:
    request = await desk.submitted(desk.person("asks", "requester"))
    refused = await desk.client.get(
        f"/intake/v1/requests/{request['id']}?as_of={moment}", headers=admin
    )
    assert problem(refused) == (422, "invalid-request")
    [error] = refused.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/as_of", "not-a-moment")
    assert error["expected"].startswith("an RFC 3339 timestamp with a zone")
    assert ("%2B" in error["expected"]) == hint


async def test_a_token_is_required(desk: Desk) -> None:
    for path in ("/requests", f"/requests/{uuid4()}", "/sources"):
        assert problem(await desk.read(path, {}))[0] == 401
    assert problem(await desk.send("POST", "/requests", {}, NEW))[0] == 401


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "wish"},
        {"title": ""},
        {"title": "   "},
        {"title": "two\nlines"},
        {"title": "a" * 201},
        {"title": {"key": "a", "ciphertext": "b"}},
        {"title": None},
        {"title": "\u202etxt"},
        {"description": "\ufdd0"},
        {"description": "a" * 20_001},
        {"description": " \n "},
        {"impact": 0},
        {"impact": 4},
        {"impact": True},
        {"impact": 1.0},
        {"urgency": "1"},
        {"classification": {"problem_type": "weather"}},
        {"classification": {}},
        {"status": "closed"},
        {"id": str(uuid4())},
        {"number": "REQ0000001"},
        {"requester": ["wang.fang"]},
        {"organisation": "别的公司"},
    ],
)
async def test_a_malformed_submission_is_refused(
    desk: Desk, agent: Headers, change: dict[str, Any]
) -> None:
    response = await desk.send("POST", "/requests", agent, NEW | change)
    assert response.status_code == 422
    assert problem(response)[1] in {"invalid-request", "unsafe-text"}


@pytest.mark.parametrize("name", ["requester", "channel"])
async def test_a_requester_names_nobody(desk: Desk, requester: Headers, name: str) -> None:
    response = await desk.send("POST", "/requests", requester, NEW | {name: "wang.fang"})
    assert problem(response) == (403, "forbidden")


@pytest.mark.parametrize(
    "parameters",
    [
        {"status": "lost"},
        {"priority": 5},
        {"kind": "wish"},
        {"limit": 0},
        {"limit": 201},
        {"team": "a\u202eb"},
        {"colour": "red"},
    ],
)
async def test_a_malformed_filter_is_refused(
    desk: Desk, requester: Headers, parameters: dict[str, Any]
) -> None:
    response = await desk.read("/requests", requester, **parameters)
    assert response.status_code in {400, 422}
    problem(response)


@pytest.mark.parametrize(
    "cursor",
    ["x", "W10", "WyJhIl0", "WzEsMl0", "Wy0xXQ", "WzE4NDQ2NzQ0MDczNzA5NTUxNjE1XQ", "a" * 256],
)
async def test_a_cursor_of_another_list_is_refused(
    desk: Desk, requester: Headers, cursor: str
) -> None:
    request = await desk.submitted(requester)
    for path in ("/requests", f"/requests/{request['id']}/timeline"):
        assert problem(await desk.read(path, requester, cursor=cursor))[0] in {400, 422}


@pytest.mark.parametrize(
    "moment", ["2026-03-02T08:00:00", "yesterday", "0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z"]
)
async def test_an_absurd_moment_is_refused(desk: Desk, requester: Headers, moment: str) -> None:
    request = await desk.submitted(requester)
    for path in ("", "/timeline"):
        response = await desk.read(f"/requests/{request['id']}{path}", requester, as_of=moment)
        assert problem(response) == (422, "invalid-request")


@pytest.mark.parametrize("identifier", ["1", "REQ0000001", "../sources", "%00"])
async def test_an_id_that_is_none_is_refused(
    desk: Desk, requester: Headers, identifier: str
) -> None:
    response = await desk.read(f"/requests/{identifier}", requester)
    assert response.status_code in {400, 403, 404, 422}
    problem(response)


async def test_nasty_bodies_are_refused_or_kept_as_they_are(
    desk: Desk, agent: Headers, admin: Headers
) -> None:
    headers = {"Idempotency-Key": "nasty", "Content-Type": "application/json"}
    for nasty in NASTIES:
        for method, path, who in (
            ("POST", "/requests", agent),
            ("PUT", f"/requests/{uuid4()}/classification", agent),
            ("PUT", "/sources/nasty", admin),
        ):
            response = await desk.client.request(
                method, f"/intake/v1{path}", headers=who | headers, content=nasty.body
            )
            assert 400 <= response.status_code < 500, nasty.name
            problem(response)


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE events; --",
        "<script>alert(1)</script>",
        "${jndi:ldap://x}",
        "=1+1",
        "نص من اليمين",
        "👩‍👩‍👧‍👦 家",
        "e\u0301\u0301\u0301",
        "\U00020000\U0002a6df 𠀀",
        "a" * 200,
        "\t tab",
    ],
)
async def test_unusual_text_comes_back_as_it_was(desk: Desk, text: str) -> None:
    who = desk.person("unusual", "requester")
    request = await desk.submitted(who, description=text, title="x")
    detail = (await desk.read(f"/requests/{request['id']}", who)).json()
    assert detail["description"] == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("match", ['"x"', "2", 'W/"2"', '"2", "3"', "", '"' + "9" * 300 + '"'])
async def test_a_version_that_is_none_is_stale(desk: Desk, requester: Headers, match: str) -> None:
    request = await desk.submitted(requester)
    path = f"/requests/{request['id']}/cancellation"
    response = await desk.send("PUT", path, requester, {}, match=match)
    assert problem(response)[0] in {400, 412, 428}
    assert await desk.status(request) == "open"
