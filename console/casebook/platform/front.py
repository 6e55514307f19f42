"""The front of the embedded platform: hands ``/{service}/…`` over, answers the rest itself.

In production the console is a process of its own and does the same over HTTP
(:mod:`casebook.console.app`); here the services are in this process.
"""

from collections.abc import Mapping

from fastapi import FastAPI
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from casebook.console.app import NAME
from casebook.console.gateway import service_of
from casebook.console.page import start_page
from casebook.kit import metrics
from casebook.kit.http.context import RequestContext, respond
from casebook.kit.http.problems import Problem

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class Front:
    """One ASGI application over the five."""

    def __init__(self, apps: Mapping[str, FastAPI]) -> None:
        self._apps = apps
        self._own = RequestContext(self._answer, service=NAME)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to its service, or answer it."""
        if scope["type"] != "http":
            return
        service = service_of(scope["path"]) if _is_local(scope) else None
        app: ASGIApp = self._own if service is None else self._apps[service]
        await app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is for no service, with a trace id and in the log, like services do."""
        try:
            answer: ASGIApp = await self._response(scope)
        except Problem as problem:
            answer = respond(problem, scope)
        await answer(scope, receive, send)

    async def _response(self, scope: Scope) -> Response:
        """Answer what belongs to the process as a whole.

        :raises Problem: 421 for a name of another host, 404, 405.
        """
        if not _is_local(scope):
            raise Problem(421, "unknown-host", "this platform answers on loopback only")
        if scope["method"] not in {"GET", "HEAD"}:
            raise Problem(405, headers={"Allow": "GET, HEAD"})
        match scope["path"]:
            case "/":
                return start_page()
            case "/livez":
                return JSONResponse({"status": "alive"})
            case "/readyz":
                return await self._readiness()
            case "/metrics":
                for app in self._apps.values():
                    await app.state.runtime.observer.observe()
                return PlainTextResponse(metrics.exposition(), media_type=metrics.CONTENT_TYPE)
            case _:
                raise Problem(404)

    async def _readiness(self) -> Response:
        """Ask all five services."""
        found = {name: await app.state.health.readiness() for name, app in self._apps.items()}
        ready = all(readiness.ready for readiness in found.values())
        content = {
            "status": "ready" if ready else "unready",
            "failed": [f"{name}: {what}" for name, r in found.items() for what in r.failed],
            "degraded": [f"{name}: {what}" for name, r in found.items() for what in r.degraded],
        }
        return JSONResponse(content, 200 if ready else 503)


def _is_local(scope: Scope) -> bool:
    """Say whether the request names this machine: a page elsewhere must not reach it by DNS."""
    host = next(
        (value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), ""
    )
    return host.rpartition(":")[0].strip("[]") in LOCAL or host in LOCAL
