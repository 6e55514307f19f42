"""The console as a process of its own (``casebook.console.app:create_app``, a factory).

It knows the services by their addresses only, holds no data and needs no database. It is ready
as long as it runs: which services are away, it says, and answers for them with a problem.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import httpx
from fastapi import FastAPI
from starlette.responses import Response

from casebook.console.gateway import Gateway, Services
from casebook.console.page import start_page
from casebook.events.catalog import SERVICES
from casebook.kit.draining import draining
from casebook.kit.http.context import RequestContext
from casebook.kit.http.problems import install_problems
from casebook.kit.logging import configure_logging
from casebook.kit.routes.health import Health, health_router
from casebook.kit.settings import Settings
from casebook.kit.starting import settings_of_process

NAME = "console"


def create_app(
    settings: Settings | None = None, transport: httpx.AsyncBaseTransport | None = None
) -> FastAPI:
    """Return the application; its settings come from the environment unless given."""
    if settings is None:
        configure_logging()
    known = settings or settings_of_process()
    services = Services(known, transport)
    checks: dict[str, Callable[[], Awaitable[bool]]] = {
        name: partial(services.is_ready, name) for name in SERVICES
    }
    health = Health(NAME, optional=checks)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        try:
            with draining(health.drain, notice_seconds=known.drain_seconds):
                yield
        finally:
            await services.close()

    app = FastAPI(
        title="Casebook", lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None
    )
    app.include_router(health_router(health))
    app.add_api_route("/", _start_page, include_in_schema=False)
    install_problems(app)
    app.add_middleware(Gateway, services=services)
    app.add_middleware(RequestContext, service=NAME)  # added last: the outermost
    return app


async def _start_page() -> Response:
    """Return the start page."""
    return start_page()
