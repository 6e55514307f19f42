import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from casebook.kit.strict_json import PROBLEMS
from tests.support.http_app import BEARER, CANARY, JSON, problem, raw, send
from tests.support.nasties import NASTIES, Nasty


@pytest.mark.parametrize(
    "nasty",
    [row for row in NASTIES if row.code and 0 < len(row.body) < 1000],
    ids=lambda row: row.name,
)
async def test_a_nasty_body_is_a_clear_problem(nasty: Nasty) -> None:
    response = await send("POST", "/desk/v1/things", JSON, content=nasty.body)
    assert nasty.code is not None
    problem(response, PROBLEMS[nasty.code][0], nasty.code)


@pytest.mark.parametrize(
    "nasty",
    [row for row in NASTIES if not row.code and len(row.body) < 1000],
    ids=lambda row: row.name,
)
async def test_an_unusual_body_is_refused_by_its_fields_at_most(nasty: Nasty) -> None:
    response = await send("POST", "/desk/v1/things", JSON, content=nasty.body)
    if response.status_code != 200:
        problem(response, 422, "invalid-request")


async def test_an_empty_body_is_a_missing_field() -> None:
    document = problem(await send("POST", "/desk/v1/things", JSON), 422, "invalid-request")
    assert document["errors"] == [{"in": "body", "pointer": "", "code": "missing"}]


async def test_fields_are_pointed_at_and_never_repeated() -> None:
    body = {"title": CANARY * 3, "score": 9, "role": CANARY, CANARY + " x": 1}
    response = await send("POST", "/desk/v1/things", JSON, content=json.dumps(body))
    errors = problem(response, 422, "invalid-request")["errors"]
    assert {
        "in": "body",
        "pointer": "/title",
        "code": "string-too-long",
        "max_length": 20,
    } in errors
    assert {"in": "body", "pointer": "/score", "code": "less-than-equal", "le": 5} in errors
    assert {"in": "body", "pointer": "/role", "code": "extra-forbidden"} in errors
    assert {"in": "body", "pointer": "/?", "code": "extra-forbidden"} in errors


async def test_path_and_query_are_pointed_at_too() -> None:
    response = await send("GET", f"/desk/v1/things/{CANARY}?limit=9000")
    errors = problem(response, 422, "invalid-request")["errors"]
    assert [(error["in"], error["pointer"]) for error in errors] == [
        ("path", "/thing_id"),
        ("query", "/limit"),
    ]


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=gbk",
        "application/jsonp",
        "json",
        "",
        "application/json, text/html",
    ],
)
async def test_a_body_that_is_not_json_is_415(content_type: str | None) -> None:
    headers = BEARER if content_type is None else {**BEARER, "Content-Type": content_type}
    response = await send("POST", "/desk/v1/things", headers, content=b'{"title":"x"}')
    problem(response, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'],
)
async def test_json_may_be_spelt_in_several_ways(content_type: str) -> None:
    headers = {**BEARER, "Content-Type": content_type}
    response = await send("POST", "/desk/v1/things", headers, content=b'{"title":"x"}')
    assert response.status_code == 200


async def test_a_content_encoding_is_415() -> None:
    headers = {**JSON, "Content-Encoding": "gzip"}
    response = await send("POST", "/desk/v1/things", headers, content=b"x")
    problem(response, 415, "unsupported-encoding")


async def test_bodies_are_limited_events_less_so() -> None:
    padded = b'{"title":"x"}' + b" " * 990
    problem(await send("POST", "/desk/v1/things", JSON, content=padded), 413, "body-too-large")
    response = await send("POST", "/desk/v1/events", JSON, content=b"x" * 3000)
    assert response.json() == {"bytes": 3000}
    response = await send("POST", "/desk/v1/events", JSON, content=b"x" * 3001)
    problem(response, 413, "body-too-large")


async def test_a_chunked_body_is_counted_while_it_streams() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b" " * 400

    response = await send("POST", "/desk/v1/things", JSON, content=endless())
    problem(response, 413, "body-too-large")
    assert taken <= 4


def post(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "method": "POST",
        "path": "/desk/v1/things",
        "headers": [
            (b"authorization", b"Bearer ann"), (b"content-type", b"application/json"), *headers
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    "length", [b"5", b"5000", b"-1", b"1e3", b"x", b"", b"9" * 30, "²".encode()]
)
async def test_a_wrong_content_length_gains_nothing(length: bytes) -> None:
    message = {"type": "http.request", "body": b'{"title":"x"}', "more_body": False}
    status, body = await raw(post((b"content-length", length)), [message])
    assert status in (400, 413)
    assert json.loads(body)["code"] in ("length-mismatch", "malformed-request", "body-too-large")


async def test_a_body_that_stops_coming_is_408() -> None:
    message = {"type": "http.request", "body": b"{", "more_body": True}
    status, body = await raw(post((b"content-length", b"9")), [message])
    assert (status, json.loads(body)["code"]) == (408, "read-timeout")


async def test_a_caller_who_goes_away_is_let_go() -> None:
    start = {"type": "http.request", "body": b"{", "more_body": True}
    status, _ = await raw(post((b"content-length", b"9")), [start, {"type": "http.disconnect"}])
    assert status == 400


@pytest.mark.parametrize(
    "tail", ["%00", "%ff", "%ed%a0%80", "?a=%00", "?%00=a", "?a=%ff", "?a=%08"]
)
async def test_an_address_that_cannot_be_stored_is_400(tail: str) -> None:
    problem(await send("GET", f"/desk/v1/hidden{tail}"), 400, "unsafe-text")


async def test_addresses_and_headers_are_limited() -> None:
    problem(await send("GET", "/desk/v1/hidden?a=" + "x" * 4096), 414, "url-too-long")
    response = await send("GET", "/desk/v1/hidden", {**BEARER, "X": "x" * 32768})
    problem(response, 431, "headers-too-large")
    scope = post((b"x", b"a\rb"))
    assert (await raw(scope, []))[0] == 400
