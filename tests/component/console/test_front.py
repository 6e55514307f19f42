"""What the front of the embedded platform answers itself, and how it refuses."""

import io
import json
from collections.abc import Iterator

import httpx
import pytest
import structlog

from casebook.platform.front import Front

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    before, written = structlog.get_config(), io.StringIO()
    structlog.configure(logger_factory=lambda *_: structlog.WriteLogger(written))
    yield written
    structlog.configure(**before)


async def ask(method: str, path: str, host: str = "localhost", **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(Front({}))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
        return await client.request(method, path, headers=headers)


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        (("GET", "/nothing", "localhost"), 404, "not-found"),
        (("POST", "/", "localhost"), 405, "method-not-allowed"),
        (("GET", "/", "rebound.example"), 421, "unknown-host"),
        (("GET", "/intake/v1/requests", "rebound.example"), 421, "unknown-host"),
    ],
)
async def test_a_refusal_has_the_shape_of_all(
    log: io.StringIO, call: tuple[str, str, str], status: int, code: str
) -> None:
    answer = await ask(*call, traceparent=f"00-{TRACE}-b7ad6b7169203331-01")
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (answer.status_code, document["status"], document["code"]) == (status, status, code)
    assert document["trace_id"] == answer.headers["casebook-trace-id"] == TRACE
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (answer.headers.get("allow") == "GET, HEAD") == (status == 405)
    [line] = [line for line in map(json.loads, log.getvalue().splitlines()) if line]
    assert (line["event"], line["status"], line["code"]) == ("http.request", status, code)


async def test_what_it_has_is_answered() -> None:
    assert (await ask("GET", "/")).headers["content-type"].startswith("text/html")
    assert (await ask("GET", "/livez")).json() == {"status": "alive"}
    assert (await ask("GET", "/livez", "127.0.0.1:8080")).status_code == 200
