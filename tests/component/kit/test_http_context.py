from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import structlog

from casebook.kit.tracing import current_traceparent
from tests.support.http_app import APP, BEARER, CANARY, JSON, TRACE, TRACEPARENT, problem, send


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


async def test_a_refusal_is_409_with_its_code() -> None:
    path = "/desk/v1/things/00000000-0000-0000-0000-000000000000/closure"
    document = problem(await send("PUT", path), 409, "not-resolved")
    assert document["detail"] == "nothing has been resolved yet"


async def test_nothing_here_is_404_and_no_such_method_405() -> None:
    problem(await send("GET", "/desk/v1/nothing"), 404, "not-found")
    problem(await send("GET", "/desk/v1/hidden/"), 404, "not-found")
    problem(await send("GET", "/desk/v1/hidden"), 404, "not-found")
    response = await send("DELETE", "/desk/v1/hidden")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET"


async def test_an_address_says_all_its_methods_whichever_route_comes_first() -> None:
    response = await send("DELETE", "/desk/v1/things/00000000-0000-0000-0000-000000000000")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, PATCH"


async def test_what_the_framework_says_is_not_repeated() -> None:
    problem(await send("GET", "/desk/v1/teapot"), 400, "malformed-request")


async def test_a_defect_is_500_and_logged_once(lines: list[Any]) -> None:
    response = await send("GET", "/desk/v1/defect")
    problem(response, 500, "internal-error")
    failures = [line for line in lines if line["log_level"] == "error"]
    assert [line["event"] for line in failures] == ["http.failed"]
    assert lines[-1]["code"] == "internal-error"


async def test_a_defect_after_half_an_answer_cuts_the_connection(lines: list[Any]) -> None:
    transport = httpx.ASGITransport(app=APP)
    async with httpx.AsyncClient(transport=transport, base_url="http://desk.test") as client:
        with pytest.raises(RuntimeError):
            await client.get("/desk/v1/stream", headers=BEARER)
    assert [line["event"] for line in lines] == ["http.failed", "http.request"]


async def test_every_response_has_the_security_headers() -> None:
    for path in ("/livez", "/desk/v1/hidden", "/desk/v1/defect", "/nowhere"):
        headers = (await send("GET", path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


async def test_a_trace_is_continued_or_started() -> None:
    content = b'{"title":"x"}'
    headers = {**JSON, "traceparent": TRACEPARENT}
    response = await send("POST", "/desk/v1/things", headers, content=content)
    assert response.headers["casebook-trace-id"] == TRACE
    assert response.json()["trace"].startswith(f"00-{TRACE}-")
    assert response.json()["trace"] != TRACEPARENT
    for bad in ("", "x", f"00-{'0' * 32}-b7ad6b7169203331-01", f"ff-{TRACE}-b7ad6b7169203331-01",
                f"{TRACEPARENT}-extra", TRACEPARENT.upper(), "00-" + "1" * 500):  # fmt: skip
        headers = {**JSON, "traceparent": bad}
        response = await send("POST", "/desk/v1/things", headers, content=content)
        assert response.headers["casebook-trace-id"] != TRACE
        assert len(response.headers["casebook-trace-id"]) == 32
    assert current_traceparent() is None


async def test_one_line_a_request_with_templates_and_no_input(lines: list[Any]) -> None:
    await send("POST", f"/desk/v1/things?q={CANARY}", JSON, content=f'{{"title":"{CANARY}"}}')
    await send("GET", f"/desk/v1/things/{UUID(int=7)}")
    await send("GET", f"/{CANARY}")
    await send("GET", "/livez")
    assert [line["route"] for line in lines] == [
        "/desk/v1/things",
        "/desk/v1/things/{thing_id}",
        "unmatched",
    ]
    assert lines[0]["op"] == "createThing"
    assert lines[0]["actor_kind"] == "agent"
    assert lines[0]["outcome"] == "ok"
    assert CANARY not in str(lines)


async def test_requests_are_measured_by_template() -> None:
    await send("GET", f"/desk/v1/things/{UUID(int=8)}")
    await send("BREW", f"/{CANARY}")
    exposition = (await send("GET", "/metrics", {})).text
    assert 'route="/desk/v1/things/{thing_id}"' in exposition
    assert 'method="OTHER"' in exposition
    assert CANARY not in exposition
    assert "BREW" not in exposition
    assert "http_server_active_requests" in exposition
