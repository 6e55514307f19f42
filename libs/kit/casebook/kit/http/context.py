"""The outermost layer of a service: trace, metrics, access log, security headers, last resort.

Whatever happens further in, a request has a trace id, is measured and logged in one line, and
gets an answer; a defect is logged once and answered with 500.
"""

import time
from http import HTTPStatus
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from casebook.kit import metrics
from casebook.kit.access.identity import Principal
from casebook.kit.http.problems import Problem, unexpected
from casebook.kit.logging import get_logger
from casebook.kit.tracing import TRACEPARENT_BYTES_MAX, current_trace_id, trace

TRACE_HEADER = "Casebook-Trace-Id"
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Set unless the response sets them itself."""

UNMATCHED = "unmatched"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})


class RequestContext:
    """Surrounds everything else; ``service`` names the log lines and metrics."""

    def __init__(self, app: ASGIApp, service: str) -> None:
        self._app = app
        self._service = service
        self._log = get_logger(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass on what is not one."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        with trace(_received(scope)):
            await self._measured(scope, receive, send)

    async def _measured(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, then log and count what the answer was."""
        response = _Response(send)
        started = time.perf_counter()
        active = metrics.HTTP_ACTIVE.labels(self._service)
        active.inc()
        try:
            await self._answered(scope, receive, response)
        finally:
            active.dec()
            self._record(scope, response.status, time.perf_counter() - started)

    async def _answered(self, scope: Scope, receive: Receive, response: "_Response") -> None:
        """Answer, with a 500 when nothing else did."""
        try:
            await self._app(scope, receive, response.send)
        except Exception as error:
            problem = unexpected(error, self._log)
            if response.status is not None:
                raise  # half of an answer is out: the server must cut the connection
            scope["state"]["problem_code"] = problem.code
            await problem.response()(scope, receive, response.send)

    def _record(self, scope: Scope, status: int | None, seconds: float) -> None:
        """Write the access log line and the metric."""
        route, operation = route_of(scope)
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        code = "aborted" if status is None else str(status)
        metrics.HTTP_DURATION.labels(self._service, route, method, code).observe(seconds)
        if scope["path"] in _QUIET:
            return
        state: dict[str, Any] = scope["state"]
        principal = state.get("principal")
        self._log.info(
            "http.request",
            actor_kind="+".join(sorted(principal.roles))
            if isinstance(principal, Principal)
            else "anonymous",
            op=operation,
            method=method,
            route=route,
            status=status,
            outcome=_outcome(status),
            code=state.get("problem_code"),
            reason=state.get("authentication_reason"),
            duration_ms=round(seconds * 1000, 1),
        )


class _Response:
    """Sends a response on, with our headers, and remembers its status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        """Send one message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers[TRACE_HEADER] = current_trace_id() or ""
        await self._send(message)


def route_of(scope: Scope) -> tuple[str, str]:
    """Return the template of the matched route, and the name of its operation."""
    route = scope.get("route")
    included = scope.get("fastapi", {}).get("effective_route_context")
    for described in (included, route):
        template = getattr(described, "path_format", None)
        if isinstance(template, str):
            operation = getattr(described, "operation_id", None) or getattr(route, "name", None)
            return template, str(operation or UNMATCHED)
    return UNMATCHED, UNMATCHED


def respond(problem: Problem, scope: Scope) -> ASGIApp:
    """Return the response of a problem, and leave its code for the access log."""
    scope.setdefault("state", {})["problem_code"] = problem.code
    return problem.response()


def _received(scope: Scope) -> str | None:
    """Return the traceparent that the caller sent, if it sent exactly one."""
    values = [value for name, value in scope["headers"] if name == b"traceparent"]
    if len(values) != 1 or len(values[0]) > TRACEPARENT_BYTES_MAX:
        return None
    return values[0].decode("latin-1")


def _outcome(status: int | None) -> str:
    """Return how a request went, in a word."""
    if status is None:
        return "aborted"
    if status < HTTPStatus.BAD_REQUEST:
        return "ok"
    return "refused" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "failed"
