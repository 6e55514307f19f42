"""The front of the embedded platform: hands ``/{service}/…`` over, answers the rest itself.

In production the console is a process of its own and does the same over HTTP
(:mod:`casebook.console.app`); here the services are in this process.
"""

from collections.abc import Mapping

from fastapi import FastAPI
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from casebook.console.gateway import service_of
from casebook.console.page import start_page
from casebook.kit import metrics
from casebook.kit.problems import Problem

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class Front:
    """One ASGI application over the five."""

    def __init__(self, apps: Mapping[str, FastAPI]) -> None:
        self._apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to its service, or answer it."""
        if scope["type"] != "http":
            return
        if not _is_local(scope):
            await Problem(421, "unknown-host", "this platform answers on loopback only").response()(
                scope, receive, send
            )
            return
        service = service_of(scope["path"])
        app: ASGIApp = await self._own(scope) if service is None else self._apps[service]
        await app(scope, receive, send)

    async def _own(self, scope: Scope) -> Response:
        """Answer what belongs to the process as a whole."""
        if scope["method"] not in {"GET", "HEAD"}:
            return Problem(405).response()
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
                return Problem(404).response()

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
