"""Limits on what comes in, before anything parses it (decisions 3.9, reliability §3).

Sizes are counted while the body streams in, so that a wrong Content-Length gains nothing. A
JSON body is read strictly here, once, for every route; the body of ``…/events`` is only
measured, because ingress judges each of its items by itself.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from casebook.kit import strict_json
from casebook.kit.http.context import respond
from casebook.kit.http.problems import Problem, of_body
from casebook.kit.strict_json import BadBody
from casebook.kit.text import is_safe_address, is_safe_header

EVENTS_SUFFIX = "/events"
_JSON = re.compile(r"application/(?:json|[a-z0-9.-]+\+json)")
_CLOSE = {"Connection": "close"}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken; sizes in bytes, times in seconds."""

    url_bytes_max: int = 4 * 1024
    header_bytes_max: int = 32 * 1024
    body_bytes_max: int = 1024 * 1024
    events_bytes_max: int = 5 * 1024 * 1024
    read_seconds_max: float = 10.0
    body_seconds_max: float = 60.0


class LimitedInput:
    """Lets through what keeps the limits, with the whole body read."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            check_head(scope, self._limits)
            body = await self._body(scope, receive)
        except BadBody as error:
            await respond(of_body(error), scope)(scope, receive, send)
        except Problem as problem:
            await respond(problem, scope)(scope, receive, send)
        else:
            await self._app(scope, receive if body is None else _replay(body, receive), send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body, checked; ``None`` when the request has none."""
        if not has_body(scope):
            return None
        declared = declared_length(scope, self._limits)
        encodings = _values(scope, b"content-encoding")
        if any(encoding.strip().lower() != b"identity" for encoding in encodings):
            raise Problem(415, "unsupported-encoding", "a content encoding is not taken")
        body = b"".join([chunk async for chunk in body_chunks(scope, receive, self._limits)])
        if declared is not None and len(body) != declared:
            raise Problem(400, "length-mismatch", "Content-Length is not the body's length", _CLOSE)
        if body:
            _check_media_type(scope)
            if not _is_events(scope):
                strict_json.loads(body)
        return body


def check_head(scope: Scope, limits: Limits) -> None:
    """Check the address and the headers.

    :raises Problem: 414, 431 or 400.
    """
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    if len(path) + 1 + len(query) > limits.url_bytes_max:
        raise Problem(414)
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if sum(len(name) + len(value) + 4 for name, value in headers) > limits.header_bytes_max:
        raise Problem(431)
    if not (is_safe_address(path) and is_safe_address(query)):
        raise Problem(400, "unsafe-text", "the address holds text that is not allowed")
    if not all(is_safe_header(value) for _, value in headers):
        raise Problem(400, "unsafe-text", "a header holds a character that is not allowed")


def has_body(scope: Scope) -> bool:
    """Say whether a request has a body, as far as its head says.

    :raises Problem: 400 for a length that is none.
    """
    chunked = bool(_values(scope, b"transfer-encoding"))
    return chunked or bool(_content_length(scope)) or scope["method"] in _WITH_BODY


def declared_length(scope: Scope, limits: Limits) -> int | None:
    """Return the length that a request declares for its body.

    :raises Problem: 413 when that is too much, 400 for a length that is none.
    """
    declared = _content_length(scope)
    if declared is not None and declared > _bytes_max(scope, limits):
        raise Problem(413)  # and no close: the server reads on, so that the caller hears it
    return declared


async def body_chunks(scope: Scope, receive: Receive, limits: Limits) -> AsyncGenerator[bytes]:
    """Yield what comes in, as long as it comes fast enough and is not too much.

    :raises Problem: 413, 408, or 400 when it ends too early.
    """
    clock = asyncio.get_running_loop()
    deadline = clock.time() + limits.body_seconds_max
    left = _bytes_max(scope, limits)
    while True:
        try:
            async with asyncio.timeout_at(min(deadline, clock.time() + limits.read_seconds_max)):
                message = await receive()
        except TimeoutError:
            raise Problem(408, headers=_CLOSE) from None
        if message["type"] == "http.disconnect":
            raise Problem(400, "incomplete-body", "the body ended too early")
        chunk: bytes = message.get("body", b"")
        left -= len(chunk)
        if left < 0:
            raise Problem(413)
        yield chunk
        if not message.get("more_body", False):
            return


def _bytes_max(scope: Scope, limits: Limits) -> int:
    """Return how large the body of a request may be."""
    return limits.events_bytes_max if _is_events(scope) else limits.body_bytes_max


def _is_events(scope: Scope) -> bool:
    """Say whether a request publishes events."""
    return scope["path"].endswith(EVENTS_SUFFIX)


class HostAllowList:
    """Answers only to its own names, so that no foreign name can be pointed here (rebinding)."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the Host header."""
        if scope["type"] == "http" and self._host(scope) not in self._hosts:
            problem = Problem(400, "host-not-allowed", "the service does not have this name")
            await respond(problem, scope)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _host(self, scope: Scope) -> str | None:
        """Return the name that the request is for, without its port."""
        values = _values(scope, b"host")
        if len(values) != 1:
            return None
        host = values[0].decode("latin-1").lower()
        return host if host.endswith("]") else re.sub(r":\d*\Z", "", host)


def _check_media_type(scope: Scope) -> None:
    """Refuse a body that is not JSON in UTF-8."""
    values = _values(scope, b"content-type")
    if len(values) != 1:
        raise Problem(415)
    media_type, *parameters = (
        part.strip() for part in values[0].decode("latin-1").lower().split(";")
    )
    charsets = {
        parameter.partition("=")[2].strip('"')
        for parameter in parameters
        if parameter.startswith("charset=")
    }
    if not _JSON.fullmatch(media_type) or not charsets <= {"utf-8"}:
        raise Problem(415)


def _content_length(scope: Scope) -> int | None:
    """Return the length that the request declares."""
    values = _values(scope, b"content-length")
    if not values:
        return None
    if len(values) != 1 or not values[0].isdigit() or len(values[0]) > _LENGTH_DIGITS_MAX:
        raise Problem(400, headers=_CLOSE)
    return int(values[0])


def _values(scope: Scope, name: bytes) -> list[bytes]:
    """Return the values of a header."""
    return [value for header, value in scope["headers"] if header == name]


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a receive that gives the body that was read, then what else comes."""
    first = True

    async def replayed() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed


_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_LENGTH_DIGITS_MAX = 18
