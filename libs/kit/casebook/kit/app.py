"""The FastAPI application of a service: middlewares, common routes, its own routes, lifespan."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI

from casebook.kit.background import BackgroundLoop
from casebook.kit.clock import Clock
from casebook.kit.draining import draining
from casebook.kit.http.docs import mount_docs
from casebook.kit.http.layers import install_http
from casebook.kit.http.openapi import describe
from casebook.kit.http.sealed_text import keys_router
from casebook.kit.log.event_log import EventLog
from casebook.kit.logging import configure_logging
from casebook.kit.routes.health import PATHS, Check, Health, health_router
from casebook.kit.routes.ingress import ingress_router
from casebook.kit.routes.operations import operations_router
from casebook.kit.runtime import Runtime
from casebook.kit.service import Service
from casebook.kit.settings import Settings
from casebook.kit.starting import StartRefusals, check_settings, settings_of_process


def create_service_app(
    service: Service,
    *routers: APIRouter,
    settings: Settings | None = None,
    clock: Clock | None = None,
    log: EventLog | None = None,
) -> FastAPI:
    """Return the application of a service; its runtime starts and stops with it.

    Without settings it is a process of its own, started by an ASGI server: the environment has
    the settings, and SIGTERM drains it.
    """
    own_process = settings is None
    if own_process:
        configure_logging()
    runtime = Runtime(service, settings or settings_of_process(), clock=clock, log=log)
    health = Health(service.name, *checks(runtime))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with own(runtime, health) if own_process else running(runtime):
            yield

    prefix = f"/{service.name}"
    app = FastAPI(
        title=f"Casebook {service.name}",
        version="1",
        lifespan=lifespan,
        openapi_url=f"{prefix}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.runtime = runtime
    for router in (*routers, *common_routers(service)):
        app.include_router(router)
    app.state.health = health
    app.include_router(health_router(health, runtime.observer.observe))
    mount_docs(app, prefix)
    install_http(
        app,
        service=service.name,
        verifier=runtime.verifier,
        open_paths=(*PATHS, f"{prefix}/openapi.json", f"{prefix}/docs", f"{prefix}/docs/"),
    )
    app.add_middleware(StartRefusals)
    describe(app, service)
    return app


@asynccontextmanager
async def running(runtime: Runtime) -> AsyncGenerator[None]:
    """Run a service; it stops in good order, also when its start was refused."""
    try:
        await runtime.start()
        yield
    finally:
        await runtime.stop()


@asynccontextmanager
async def own(runtime: Runtime, health: Health) -> AsyncGenerator[None]:
    """Run a service that has this process to itself."""

    def drain() -> None:
        runtime.draining = True
        health.drain()

    check_settings(runtime.settings)
    runtime.background = BackgroundLoop()
    with draining(drain, notice_seconds=runtime.settings.drain_seconds):
        async with running(runtime):
            yield


def common_routers(service: Service) -> tuple[APIRouter, ...]:
    """Return the routes that every service has."""
    return (
        ingress_router(service.name),
        operations_router(service.name),
        keys_router(service.name),
    )


def checks(runtime: Runtime) -> tuple[dict[str, Check], dict[str, Check]]:
    """Return what readiness depends on, and what only degrades: the log does not make unready."""

    async def database() -> bool:
        async with runtime.database.http() as connection:
            return await connection.fetchval("SELECT true")

    async def tasks() -> bool:
        return not runtime.failed_tasks()

    async def history() -> bool:
        return runtime.reader.halted is None

    async def running() -> bool:
        return not runtime.draining

    async def log() -> bool:
        return bool(await runtime.heads())

    required: dict[str, Check] = {
        "database": database, "tasks": tasks, "history": history, "draining": running,
    }  # fmt: skip
    return required, {"log": log}
