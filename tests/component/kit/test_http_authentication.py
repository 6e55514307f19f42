from typing import Any

import httpx
import pytest

from tests.support.http_app import APP, JSON, new_app, problem, send


async def test_a_good_token_is_let_in() -> None:
    response = await send("POST", "/desk/v1/things", JSON, content=b'{"title":"x"}')
    assert response.status_code == 200
    assert response.json()["by"] == "ann"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "ann"},
        {"X-Forwarded-User": "ann"},
    ],
)
async def test_every_cause_gives_the_same_401(headers: dict[str, str]) -> None:
    response = await send("GET", "/desk/v1/hidden", headers)
    document = problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == 'Bearer realm="casebook"'
    assert document["detail"] == "a valid bearer token is required"


async def test_two_tokens_are_none() -> None:
    transport = httpx.ASGITransport(app=APP)
    async with httpx.AsyncClient(transport=transport, base_url="http://desk.test") as client:
        twice = [("Authorization", "Bearer ann"), ("Authorization", "Bearer ann")]
        problem(await client.get("/desk/v1/hidden", headers=twice), 401, "unauthenticated")


async def test_an_unknown_path_without_a_token_says_nothing_either() -> None:
    problem(await send("GET", "/nowhere", {}), 401, "unauthenticated")


async def test_a_body_too_large_without_a_token_is_401() -> None:
    response = await send("POST", "/desk/v1/things", {}, content=b"x" * 9000)
    problem(response, 401, "unauthenticated")


async def test_an_issuer_that_never_answered_is_503() -> None:
    response = await send("GET", "/desk/v1/hidden", {"Authorization": "Bearer away"})
    problem(response, 503, "keys-unavailable")
    assert response.headers["retry-after"] == "5"


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/metrics", "/desk/docs", "/desk/openapi.json"]
)
async def test_open_paths_need_no_token(path: str) -> None:
    assert (await send("GET", path, {})).status_code == 200


async def test_a_websocket_is_closed() -> None:
    sent: list[Any] = []

    async def collect(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await APP({"type": "websocket", "path": "/desk/v1/things", "headers": []}, receive, collect)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_a_foreign_host_name_is_refused() -> None:
    app = new_app(hosts=["desk.test", "127.0.0.1"])
    assert (await send("GET", "/livez", app=app)).status_code == 200
    for host, ok in (("127.0.0.1:8001", True), ("evil.test", False), ("desk.test.evil", False)):
        response = await send("GET", "/livez", {"Host": host}, app=app)
        assert (response.status_code == 200) is ok
