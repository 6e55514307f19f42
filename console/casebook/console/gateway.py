"""Passes ``/{service}/…`` on to the services, unchanged, as it comes in and as it goes out.

What is about one connection only (RFC 9110, 7.6.1) is left out both ways. The limits are those
of the services, so that what they would refuse never reaches them. A service that cannot be
reached is a 503, because nothing has happened and asking again helps; one that breaks off is a
502 and one that is silent a 504: then nobody knows, and an idempotency key tells.
"""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass

import httpx
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from casebook.events.catalog import SERVICES
from casebook.kit.http.context import respond
from casebook.kit.http.limits import Limits, body_chunks, check_head, declared_length, has_body
from casebook.kit.http.problems import Problem
from casebook.kit.logging import get_logger
from casebook.kit.settings import Settings
from casebook.kit.tracing import current_traceparent

CONNECTIONS_MAX = 512
IDLE_SECONDS_MAX = 2.0
"""Less than uvicorn keeps an idle connection, so that none is used that just closes."""

TIMEOUT = httpx.Timeout(120.0, connect=3.0, pool=3.0)
READY_SECONDS_MAX = 1.5
RETRY_AFTER = {"Retry-After": "1"}
_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
     b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)  # fmt: skip
_NOT_SENT = frozenset({b"expect", b"host", b"traceparent"})
"""Said anew to a service: its own name, and the trace with this process's span."""

_NOT_RETURNED = frozenset({b"date", b"server"})
"""Said by the server of this process."""

_LOG = get_logger("console")
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Passed:
    """The route of what is passed on, for metrics and logs."""

    path_format: str
    operation_id: str = "pass"


class Gateway:
    """A layer that takes what is for a service; everything else goes further in."""

    def __init__(self, app: ASGIApp, services: "Services", limits: Limits | None = None) -> None:
        self._app = app
        self._services = services
        self._limits = limits or Limits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, if it is for a service."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            answer = await self._answer(scope, receive)
        except Problem as problem:
            answer = respond(problem, scope)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> ASGIApp:
        """Return who answers: the service that the request is for, or this process.

        :raises Problem: when the request is too much, or the service does not answer.
        """
        check_head(scope, self._limits)
        service = service_of(scope["path"])
        if service is None:
            return self._app
        scope["route"] = Passed(f"/{service}/…")
        return await self._services.ask(service, scope, receive, self._limits)


class Services:
    """The five services, as other processes know them: by their addresses."""

    def __init__(
        self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._urls = {name: httpx.URL(settings.service_url(name)) for name in SERVICES}
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT,
            limits=httpx.Limits(
                max_connections=CONNECTIONS_MAX,
                max_keepalive_connections=CONNECTIONS_MAX,
                keepalive_expiry=IDLE_SECONDS_MAX,
            ),
            trust_env=False,
            transport=transport,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def is_ready(self, service: str) -> bool:
        """Say whether a service is ready."""
        url = self._urls[service].join("/readyz")
        return (
            await self._client.get(url, timeout=READY_SECONDS_MAX)
        ).status_code == httpx.codes.OK

    async def ask(self, service: str, scope: Scope, receive: Receive, limits: Limits) -> ASGIApp:
        """Pass a request on; return the response, whose body is still to come.

        :raises Problem: 502, 503 or 504 when there is none.
        """
        request = self._request(service, scope, receive, limits)
        try:
            response = await self._client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            _LOG.warning("service.away", of=service, error=repr(error))
            raise Problem(
                503, "service-away", f"{service} cannot be reached", RETRY_AFTER
            ) from error
        except httpx.TimeoutException as error:
            raise Problem(504, "service-silent", f"{service} did not answer in time") from error
        except httpx.TransportError as error:
            _LOG.warning("service.broke-off", of=service, error=repr(error))
            raise Problem(502, "service-broke-off", f"{service} broke off") from error
        answer = StreamingResponse(_body(response), response.status_code)
        answer.raw_headers = end_to_end(response.headers.raw, _NOT_RETURNED)
        return answer

    def _request(
        self, service: str, scope: Scope, receive: Receive, limits: Limits
    ) -> httpx.Request:
        """Return the request as the service gets it: the same target, headers and body."""
        url = self._urls[service]
        content = None
        if has_body(scope):
            declared_length(scope, limits)
            content = body_chunks(scope, receive, limits)
        headers = end_to_end(scope["headers"], _NOT_SENT)
        headers.append((b"traceparent", (current_traceparent() or "").encode()))
        query: bytes = scope["query_string"]
        target = url.raw_path.rstrip(b"/") + scope["raw_path"] + (b"?" + query if query else b"")
        return httpx.Request(
            scope["method"], url, headers=headers, content=content, extensions={"target": target}
        )


def service_of(path: str) -> str | None:
    """Return the service that a path is for, if any."""
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return first if first in SERVICES else None


def end_to_end(headers: Iterable[tuple[bytes, bytes]], without: frozenset[bytes]) -> Headers:
    """Return the headers that are for the other end: not for one connection, nor ``without``."""
    pairs = [(name.lower(), value) for name, value in headers]
    named = {
        option.strip().lower()
        for name, value in pairs
        if name == b"connection"
        for option in value.split(b",")
    }
    dropped = _HOP_BY_HOP | named | without
    return [(name, value) for name, value in pairs if name not in dropped]


async def _body(response: httpx.Response) -> AsyncGenerator[bytes]:
    """Yield the body of a response as it comes, byte for byte."""
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    finally:
        await response.aclose()
