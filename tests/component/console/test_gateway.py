"""The console as a process of its own, before services that are not Casebook's, over sockets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from casebook.console import gateway
from casebook.console.app import create_app
from casebook.kit.settings import Settings

TRACE = "0af7651916cd43dd8448eb211c80319c"
MEGABYTE = 1024 * 1024


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def serving(app: ASGIApp) -> AsyncGenerator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


def dead_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@dataclass
class Upstream:
    """A service that remembers what it was asked; tests say what it answers."""

    asked: list[Scope] = field(default_factory=list)
    chunks: "asyncio.Queue[bytes]" = field(default_factory=asyncio.Queue)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    status: int = 200
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        if scope["path"] == "/readyz":
            await self._answer(send, b"{}")
            return
        self.asked.append(scope)
        more = True
        while more:
            message = await receive()
            await self.chunks.put(message.get("body", b""))
            more = message.get("more_body", False)
        start = {"type": "http.response.start", "status": self.status, "headers": self.headers}
        await send(start)
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"two"})

    async def _answer(self, send: Send, body: bytes) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    def header(self, name: str) -> list[str]:
        """Return the values of a header of the last request."""
        return [v.decode() for n, v in self.asked[-1]["headers"] if n.decode() == name]


@dataclass
class Console:
    client: httpx.AsyncClient
    upstream: Upstream


@pytest.fixture
async def console() -> AsyncIterator[Console]:
    upstream = Upstream()
    upstream.go_on.set()
    async with serving(upstream) as url:
        settings = Settings(
            intake_url=url, dispatch_url=f"{url}/behind/a/path", risk_url=dead_url(),
            monitoring_url=url, quality_url=url,
        )  # fmt: skip
        app = create_app(settings)
        async with serving(app) as own, httpx.AsyncClient(base_url=own, timeout=10) as client:
            yield Console(client, upstream)


async def test_target_headers_and_body_arrive_as_they_were_sent(console: Console) -> None:
    answer = await console.client.request(
        "POST",
        "/intake/v1/requests/%E6%89%93%2F%20?a=1&a=%2B&b",
        headers=[("Accept", "x/y"), ("X-Odd", "1"), ("X-Odd", "2"), ("If-Match", '"3"')],
        content=b'{"title": "\xe6\x89\x93"}',
    )
    assert answer.content == b"one two"
    scope = console.upstream.asked[-1]
    assert scope["method"] == "POST"
    assert scope["raw_path"] == b"/intake/v1/requests/%E6%89%93%2F%20"
    assert scope["query_string"] == b"a=1&a=%2B&b"
    assert console.upstream.header("x-odd") == ["1", "2"]
    assert console.upstream.header("accept") == ["x/y"]
    assert console.upstream.header("if-match") == ['"3"']
    assert console.upstream.header("content-length") == ["16"]
    assert console.upstream.header("transfer-encoding") == []
    assert await console.upstream.chunks.get() == b'{"title": "\xe6\x89\x93"}'


async def test_an_answer_comes_back_as_it_was_given(console: Console) -> None:
    console.upstream.status = 409
    console.upstream.headers = [
        (b"etag", b'"7"'), (b"casebook-version", b"request/1@7"), (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"), (b"content-security-policy", b"default-src 'self'"),
    ]  # fmt: skip
    answer = await console.client.get("/intake/v1/requests")
    assert answer.status_code == 409
    assert answer.headers["etag"] == '"7"'
    assert answer.headers["casebook-version"] == "request/1@7"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["content-security-policy"] == "default-src 'self'"
    assert len(answer.headers.get_list("date")) == len(answer.headers.get_list("server")) == 1


async def test_what_is_about_one_connection_is_not_passed_on(console: Console) -> None:
    console.upstream.headers = [
        (b"connection", b"X-Mine"), (b"x-mine", b"1"), (b"keep-alive", b"timeout=9"),
        (b"proxy-authenticate", b"Basic"), (b"upgrade", b"h2c"), (b"x-kept", b"1"),
    ]  # fmt: skip
    hop_by_hop = {
        "Connection": "close, X-Yours", "X-Yours": "1", "Keep-Alive": "timeout=5",
        "Proxy-Authorization": "Basic eA==", "TE": "trailers", "Trailer": "X-T",
    }  # fmt: skip
    answer = await console.client.get("/intake/v1/requests", headers={**hop_by_hop, "X-Kept": "1"})
    arrived = {name.decode() for name, _ in console.upstream.asked[-1]["headers"]}
    assert arrived == {
        "host", "accept", "accept-encoding", "user-agent", "x-kept", "traceparent",
    }  # fmt: skip
    assert answer.headers["x-kept"] == "1"
    for name in ("x-mine", "keep-alive", "proxy-authenticate", "upgrade"):
        assert name not in answer.headers


async def test_a_service_may_be_behind_a_path_and_has_its_own_name(console: Console) -> None:
    await console.client.get("/dispatch/v1/teams", headers={"Host": "casebook.test"})
    assert console.upstream.asked[-1]["raw_path"] == b"/behind/a/path/dispatch/v1/teams"
    (host,) = console.upstream.header("host")
    assert host.startswith("127.0.0.1:")


async def test_the_trace_goes_on(console: Console) -> None:
    sent = f"00-{TRACE}-b7ad6b7169203331-01"
    answer = await console.client.get("/intake/v1/requests", headers={"traceparent": sent})
    (arrived,) = console.upstream.header("traceparent")
    assert arrived[3:35] == TRACE
    assert arrived != sent
    assert answer.headers["casebook-trace-id"] == TRACE


async def test_an_answer_is_passed_on_while_it_is_made(console: Console) -> None:
    console.upstream.go_on.clear()
    async with console.client.stream("GET", "/intake/v1/requests") as answer:
        parts = answer.aiter_raw()
        assert await anext(parts) == b"one "
        console.upstream.go_on.set()
        assert b"".join([part async for part in parts]) == b"two"


async def test_a_body_is_passed_on_while_it_comes(console: Console) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        assert await console.upstream.chunks.get() == b"first"
        yield b"second"

    answer = await console.client.post("/intake/v1/events", content=body())
    assert answer.status_code == 200
    assert console.upstream.header("transfer-encoding") == ["chunked"]
    rest = [console.upstream.chunks.get_nowait() for _ in range(console.upstream.chunks.qsize())]
    assert b"".join(rest) == b"second"


async def chunked(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // MEGABYTE):
        yield b" " * MEGABYTE
    yield b"x"


Send_ = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]
TOO_MUCH: list[tuple[str, int, Send_]] = [
    ("declared body", 413, lambda c: c.put("/intake/v1/x", content=b"x" * (MEGABYTE + 1))),
    ("events", 413, lambda c: c.post("/intake/v1/events", content=b"x" * (5 * MEGABYTE + 1))),
    ("address", 414, lambda c: c.get("/intake/v1/" + "x" * 4096)),
    ("headers", 431, lambda c: c.get("/intake/v1/x", headers={"X": "x" * 33_000})),
    ("text", 400, lambda c: c.get("/intake/v1/%00")),
]


@pytest.mark.parametrize(("what", "status", "ask"), TOO_MUCH, ids=[row[0] for row in TOO_MUCH])
async def test_what_is_too_much_for_a_service_never_gets_there(
    console: Console, what: str, status: int, ask: Send_
) -> None:
    answer = await ask(console.client)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert console.upstream.asked == []


async def test_a_body_without_a_length_is_measured_as_it_comes(console: Console) -> None:
    answer = await console.client.put("/intake/v1/x", content=chunked(MEGABYTE))
    assert answer.status_code == 413
    enough = await console.client.post("/intake/v1/events", content=chunked(4 * MEGABYTE))
    assert enough.status_code == 200


async def test_a_service_that_is_away_is_a_problem_that_may_be_tried_again(
    console: Console,
) -> None:
    answer = await console.client.get("/risk/v1/risks")
    assert answer.status_code == 503
    assert answer.json()["code"] == "service-away"
    assert answer.headers["retry-after"] == "1"
    assert (await console.client.get("/intake/v1/requests")).status_code == 200


async def test_a_service_that_breaks_off_or_is_silent_is_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if b"silent" in line:
            await reader.read()
        writer.close()

    monkeypatch.setattr(gateway, "TIMEOUT", httpx.Timeout(0.3))
    broken = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{broken.sockets[0].getsockname()[1]}"
    async with (
        broken,
        serving(create_app(Settings(intake_url=url))) as own,
        httpx.AsyncClient(base_url=own) as client,
    ):
        off = await client.get("/intake/v1/requests")
        silent = await client.get("/intake/v1/silent")
    assert (off.status_code, off.json()["code"]) == (502, "service-broke-off")
    assert (silent.status_code, silent.json()["code"]) == (504, "service-silent")


async def test_the_console_answers_for_itself(console: Console) -> None:
    page = await console.client.get("/")
    assert page.status_code == 200
    assert 'href="/intake/docs"' in page.text
    assert page.headers["content-security-policy"] == "default-src 'none'"
    assert (await console.client.get("/livez")).json() == {"status": "alive"}
    ready = await console.client.get("/readyz")
    assert ready.status_code == 200
    assert set(ready.json()["degraded"]) >= {"risk"}
    await console.client.get("/intake/v1/requests")
    metrics = (await console.client.get("/metrics")).text
    assert 'route="/intake/…",service="console"' in metrics
    for method, path, status in (("POST", "/", 405), ("GET", "/unknown/v1", 404)):
        answer = await console.client.request(method, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["trace_id"] == answer.headers["casebook-trace-id"]
    assert console.upstream.asked[-1]["path"] == "/intake/v1/requests"
