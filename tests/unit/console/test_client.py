"""The client: problems become errors, and what may work later is tried again."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from casebook.console import client as module
from casebook.console.client import ApiError, Client

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited for; nobody really waits."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    return found


def talking_to(*answers: httpx.Response | Exception, **options: Any) -> tuple[Client, list[Any]]:
    """A client whose other side gives these answers, the last one for ever; and what it sees."""
    left, seen = list(answers), []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    transport = httpx.MockTransport(handle)
    return Client("http://casebook/", "token", transport=transport, **options), seen


def problem(status: int, code: str = "some-code", **more: Any) -> httpx.Response:
    headers = {"Retry-After": more.pop("retry_after")} if "retry_after" in more else {}
    return httpx.Response(status, json={"code": code, "detail": "why", **more}, headers=headers)


async def test_a_call_says_who_and_what() -> None:
    client, seen = talking_to(httpx.Response(200, json={"a": 1}))
    assert await client.get("/risk/v1/risks", {"limit": 3, "cursor": None}) == {"a": 1}
    assert str(seen[0].url) == "http://casebook/risk/v1/risks?limit=3"
    assert seen[0].headers["authorization"] == "Bearer token"
    assert "idempotency-key" not in seen[0].headers


async def test_a_command_has_one_key_however_often_it_is_sent(waits: list[float]) -> None:
    client, seen = talking_to(
        problem(503), problem(409, "idempotency-key-in-flight"), httpx.Response(204)
    )
    assert await client.put("/a", {"b": "值"}, if_match='"3"') is None
    assert await client.post("/a", {}) is None
    assert {request.headers["idempotency-key"] for request in seen[:3]} == {
        seen[0].headers["idempotency-key"]
    }
    assert seen[3].headers["idempotency-key"] != seen[0].headers["idempotency-key"]
    assert [request.headers.get("if-match") for request in seen] == ['"3"'] * 3 + [None]
    assert [request.content for request in seen] == ['{"b":"值"}'.encode()] * 3 + [b"{}"]
    assert len(waits) == 2


async def test_a_refusal_says_which_field_and_what_is_expected_there() -> None:
    errors = [
        {"in": "query", "pointer": "/as_of", "code": "not-a-moment", "expected": "a timestamp"},
        {"in": "query", "pointer": "/limit", "code": "int-parsing"},
    ]
    client, _ = talking_to(problem(422, "invalid-request", errors=errors))
    with pytest.raises(ApiError) as refused:
        await client.get("/a")
    told = "why: /as_of not-a-moment (expected: a timestamp), /limit int-parsing"
    assert str(refused.value) == f"{told} (422 invalid-request)"


async def test_events_need_no_key() -> None:
    client, seen = talking_to(httpx.Response(202, json={}))
    await client.publish("intake", b"[]")
    assert seen[0].url.path == "/intake/v1/events"
    assert seen[0].headers["content-type"] == "application/cloudevents-batch+json"
    assert "idempotency-key" not in seen[0].headers


async def test_retry_after_is_honoured_with_jitter(waits: list[float]) -> None:
    client, _ = talking_to(
        problem(429, retry_after="2"), problem(429, retry_after="2"),
        problem(503, retry_after="99999"), problem(503, retry_after="Mon, 1 Jan 2029 00:00:00 GMT"),
        httpx.Response(200),
    )  # fmt: skip
    await client.get("/")
    assert all(2.0 <= wait <= 2.5 for wait in waits[:2])
    assert waits[0] != waits[1]
    assert module.BACK_OFF_SECONDS_MAX <= waits[2] <= module.BACK_OFF_SECONDS_MAX * 1.25
    assert waits[3] < 1


async def test_waits_get_longer_up_to_a_limit(waits: list[float]) -> None:
    client, _ = talking_to(*[httpx.ReadError("lost")] * 2_000, httpx.Response(200))
    await client.get("/")
    assert 0.05 <= waits[0] <= 0.1
    assert 0.1 <= waits[1] <= 0.2
    assert 5.0 <= min(waits[20:]) <= max(waits) <= 10.0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 413, 422, 500])
async def test_a_problem_is_an_error_at_once(waits: list[float], status: int) -> None:
    client, seen = talking_to(problem(status, errors=[{"pointer": "/a", "code": "missing"}]))
    with pytest.raises(ApiError, match=rf"why: /a missing \({status} some-code\)") as raised:
        await client.get("/")
    assert (raised.value.status, raised.value.code) == (status, "some-code")
    assert raised.value.problem["detail"] == "why"
    assert (len(seen), waits) == (1, [])


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(404, text="<html>"), "no-problem-given"),
        (httpx.Response(404, json=[1]), "no-problem-given"),
        (httpx.Response(302), "no-problem-given"),
        (httpx.Response(200, text="<html>"), "not-json"),
    ],
)
async def test_another_server_is_no_crash(answer: httpx.Response, code: str) -> None:
    client, _ = talking_to(answer)
    with pytest.raises(ApiError) as raised:
        await client.get("/")
    assert raised.value.code == code


async def test_it_gives_up_in_the_end(waits: list[float]) -> None:
    client, _ = talking_to(problem(503), busy_seconds_max=0.0)
    with pytest.raises(ApiError, match="503"):
        await client.get("/")
    client, _ = talking_to(problem(502), unreachable_seconds_max=0.0)
    with pytest.raises(ApiError, match="502"):
        await client.get("/")
    client, _ = talking_to(httpx.ConnectError("refused"), unreachable_seconds_max=0.0)
    with pytest.raises(ApiError, match="cannot reach http://casebook: refused") as raised:
        await client.get("/")
    assert (raised.value.status, raised.value.code, waits) == (0, "unreachable", [])


def test_the_token_is_not_repeated() -> None:
    with pytest.raises(ApiError) as raised:
        Client("http://casebook", "se cret")
    assert "cret" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["", "casebook", "ftp://casebook", "http://", '"\udc80"', "http://\udc80"]
)
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(ApiError, match="is no address"):
        Client(url, "token")


async def test_an_argument_that_is_not_utf_8_is_not_sent() -> None:
    client, seen = talking_to(httpx.Response(200, json={}))
    for call in (
        client.post("/a", {"reason": "\udcff"}),
        client.get("/a", {"as_of": "\udcff"}),
        client.get("/a\udcff"),
        client.get("/" + "x" * 70_000),
        client.get("/a\x00"),
    ):
        with pytest.raises(ApiError, match="cannot be sent"):
            await call
    assert not seen
