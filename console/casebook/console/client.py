"""A client of the public HTTP APIs, for the ``casebook`` command.

Every call is safe to repeat: what changes something carries an ``Idempotency-Key`` of its own,
and events carry ids. So a call is repeated while the other side is busy (429, 503) or cannot be
reached (502, 504, no answer), and gives up after a while; a problem (RFC 9457) becomes an
:class:`ApiError`.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx
import orjson

from casebook.kit.ids import new_id

BATCH = "application/cloudevents-batch+json"
BUSY = frozenset({429, 503})
AWAY = frozenset({0, 502, 504})
"""No answer, or one that only says that there is none."""

IN_FLIGHT = "idempotency-key-in-flight"
BACK_OFF_SECONDS_MIN = 0.1
BACK_OFF_SECONDS_MAX = 10.0
TIMEOUT = httpx.Timeout(120.0, connect=5.0)
CONNECTIONS_MAX = 16
DETAIL_LENGTH_MAX = 500
_TOKEN = re.compile(r"[!-~]+")
_JITTER_STEPS = 256


NOT_TEXT = "not-text"
_NO_TEXT = "an argument holds what cannot be sent: it is not UTF-8, or too long"


class ApiError(RuntimeError):
    """A call that failed; the text is for people, ``code`` is stable.

    ``status`` is 0 where there was no answer; ``code`` is then ``unreachable``.
    """

    def __init__(
        self, status: int, code: str, detail: str, problem: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail if not status else f"{detail} ({status} {code})")
        self.status = status
        self.code = code
        self.problem: Mapping[str, Any] = problem or {}


class Client:
    """Talks to one deployment, as the holder of one token.

    A call is repeated for ``busy_seconds_max`` while the other side asks to come back later, and
    for ``unreachable_seconds_max`` while it cannot be reached.

    :raises ApiError: when the address or the token cannot be used.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        busy_seconds_max: float = 20.0,
        unreachable_seconds_max: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.busy_seconds_max = busy_seconds_max
        self.unreachable_seconds_max = unreachable_seconds_max
        self._url = url.rstrip("/")
        if not _TOKEN.fullmatch(token):
            raise ApiError(0, "bad-token", "the token is not one line of visible ASCII characters")
        self._http = httpx.AsyncClient(
            base_url=_address(self._url),
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=TIMEOUT,
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
            transport=transport,
            trust_env=False,  # the token goes to Casebook, never to a proxy that happens to be set
        )

    async def __aenter__(self) -> Self:
        """Return the client, to be closed at the end of the block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str, parameters: Mapping[str, object] | None = None) -> Any:
        """Return what is at ``path``; parameters that are ``None`` are left out.

        :raises ApiError: when it fails for good.
        """
        return await self._call("GET", path, parameters=parameters)

    async def etag(self, path: str) -> str:
        """Return the ETag of what is at ``path``.

        :raises ApiError: when it cannot be read.
        """
        response = await self._http.get(path)
        if not response.is_success:
            raise _failure(response)
        return response.headers["etag"]

    async def put(self, path: str, body: Any, *, if_match: str | None = None) -> Any:
        """Put ``body`` at ``path`` and return the answer.

        :raises ApiError: when it fails for good.
        """
        return await self._command("PUT", path, body, if_match)

    async def post(self, path: str, body: Any, *, if_match: str | None = None) -> Any:
        """Post ``body`` to ``path`` and return the answer.

        :raises ApiError: when it fails for good.
        """
        return await self._command("POST", path, body, if_match)

    async def publish(self, service: str, batch: bytes) -> Any:
        """Publish a batch of CloudEvents to a service and return its result for each.

        :raises ApiError: when it fails for good.
        """
        return await self._call("POST", f"/{service}/v1/events", body=batch, media_type=BATCH)

    async def _command(self, method: str, path: str, body: Any, if_match: str | None) -> Any:
        """Call with a JSON body and a key that makes repeating it harmless."""
        headers = {"Idempotency-Key": str(new_id())}
        if if_match is not None:
            headers["If-Match"] = if_match
        try:
            content = orjson.dumps(body)
        except orjson.JSONEncodeError as error:  # an argument that is not UTF-8
            raise ApiError(0, NOT_TEXT, _NO_TEXT) from error
        return await self._call(method, path, body=content, headers=headers)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        media_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        parameters: Mapping[str, object] | None = None,
    ) -> Any:
        """Call until there is an answer, or no hope of one."""
        given = {**(headers or {}), **({} if body is None else {"Content-Type": media_type})}
        chosen = {name: str(v) for name, v in (parameters or {}).items() if v is not None}
        try:
            request = self._http.build_request(
                method, path, content=body, headers=given, params=chosen
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ApiError(0, NOT_TEXT, _NO_TEXT) from error
        started = time.monotonic()
        attempt = 0
        while True:
            failure, wait = await self._try(request)
            if not isinstance(failure, ApiError):
                return failure
            away = failure.status in AWAY
            limit = self.unreachable_seconds_max if away else self.busy_seconds_max
            if wait is None or time.monotonic() - started >= limit:
                raise failure
            await asyncio.sleep(wait * (1.0 + _chance() / 4.0) or _back_off(attempt))
            attempt += 1

    async def _try(self, request: httpx.Request) -> tuple[Any, float | None]:
        """Call once; return the answer, or an error with the seconds to wait, if waiting helps."""
        try:
            response = await self._http.send(request)
        except httpx.RequestError as error:
            detail = f"cannot reach {self._url}: {str(error) or type(error).__name__}"
            return ApiError(0, "unreachable", detail), 0.0
        if response.is_success:
            return _answer(response), None
        failure = _failure(response)
        if response.status_code in BUSY | AWAY or failure.code == IN_FLIGHT:
            return failure, _retry_after(response)
        return failure, None


def _address(url: str) -> httpx.URL:
    """Return the address that all paths are relative to.

    :raises ApiError: when it is not one.
    """
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ApiError(0, "bad-url", f"{url!r} is no address: {error}") from error
    if address.scheme not in {"http", "https"} or not address.host:
        raise ApiError(0, "bad-url", f"{url!r} is no address: it begins with http:// or https://")
    return address


def _answer(response: httpx.Response) -> Any:
    """Return what a response holds; an error if that is not JSON."""
    try:
        return orjson.loads(response.content) if response.content else None
    except orjson.JSONDecodeError:
        return ApiError(response.status_code, "not-json", "the answer is not Casebook's")


def _failure(response: httpx.Response) -> ApiError:
    """Return the error that a response describes, also one that is not ours."""
    try:
        problem: Any = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    detail = str(problem.get("detail") or response.reason_phrase or "the call failed")
    fields = [_field(error) for error in problem.get("errors") or () if isinstance(error, dict)]
    if fields:
        detail = f"{detail}: {', '.join(fields)}"
    code = str(problem.get("code") or "no-problem-given")
    return ApiError(response.status_code, code, detail[:DETAIL_LENGTH_MAX], problem)


def _field(error: Mapping[str, Any]) -> str:
    """Return where a field is, what is wrong with it, and what is expected there."""
    expected = error.get("expected")
    wanted = "" if expected is None else f" (expected: {expected})"
    return f"{error.get('pointer')} {error.get('code')}{wanted}"


def _retry_after(response: httpx.Response) -> float:
    """Return the seconds that the other side asks for; a date counts as none."""
    try:
        return min(max(float(response.headers.get("Retry-After", "0")), 0.0), BACK_OFF_SECONDS_MAX)
    except ValueError:
        return 0.0


def _back_off(attempt: int) -> float:
    """Return how long to wait: twice as long each time, less up to a half."""
    longest = min(BACK_OFF_SECONDS_MIN * 2.0 ** min(attempt, 16), BACK_OFF_SECONDS_MAX)
    return longest * (1.0 + _chance()) / 2.0


def _chance() -> float:
    """Return a number from 0 to 1, so that many clients do not come back at the same time."""
    return new_id().bytes[-1] / _JITTER_STEPS
