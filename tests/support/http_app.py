"""A small service with every kind of answer, for tests of what surrounds its routes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any
from uuid import UUID

import httpx
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from casebook.kit.access.identity import Principal, Unauthenticated
from casebook.kit.access.jwks import KeysUnavailable
from casebook.kit.decider import Refused
from casebook.kit.http.docs import docs_paths, mount_docs
from casebook.kit.http.layers import CurrentPrincipal, install_http
from casebook.kit.http.limits import Limits
from casebook.kit.http.problems import PROBLEM_RESPONSES, Problem
from casebook.kit.routes.health import PATHS, Health, health_router
from casebook.kit.tracing import current_traceparent

CANARY = "canary-9d41"
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
SMALL = Limits(body_bytes_max=1000, events_bytes_max=3000, read_seconds_max=0.2)


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    title: Annotated[str, Field(max_length=20)]
    score: Annotated[int, Field(ge=1, le=5)] = 3


class Tokens:
    """Knows three tokens by name."""

    async def verify(self, token: str) -> Principal:
        match token:
            case "ann":
                return Principal("ann", frozenset({"agent"}))
            case "away":
                raise KeysUnavailable
            case _:
                raise Unauthenticated("unknown")


router = APIRouter(prefix="/desk/v1", tags=["things"])


@router.post("/things", operation_id="createThing", responses=PROBLEM_RESPONSES)
async def create_thing(body: Body, principal: CurrentPrincipal) -> dict[str, Any]:
    """Create a thing."""
    return {"title": body.title, "by": principal.subject, "trace": current_traceparent()}


@router.post("/events")
async def take_events(request: Request) -> dict[str, int]:
    return {"bytes": len(await request.body())}


@router.get("/things/{thing_id}")
async def get_thing(thing_id: UUID, limit: Annotated[int, Query(le=200)] = 50) -> dict[str, str]:
    return {"id": str(thing_id)}


@router.patch("/things/{thing_id}")
async def change_thing(thing_id: UUID) -> None:
    """Have a second method at the address of the last one."""


@router.put("/things/{thing_id}/closure")
async def close_thing(thing_id: UUID) -> None:
    raise Refused("not-resolved", "nothing has been resolved yet")


@router.get("/defect")
async def defect() -> None:
    raise RuntimeError(CANARY)


@router.get("/teapot")
async def teapot() -> None:
    raise HTTPException(418, CANARY)


@router.get("/hidden")
async def hidden() -> None:
    raise Problem(404)


@router.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("cut")

    return StreamingResponse(parts())


def new_app(**options: Any) -> FastAPI:
    app = FastAPI(title="Desk", docs_url=None, redoc_url=None, openapi_url="/desk/openapi.json")
    app.include_router(router)
    app.include_router(health_router(Health("desk")))
    mount_docs(app, "/desk")
    install_http(
        app,
        service="desk",
        verifier=Tokens(),
        open_paths=(*PATHS, *docs_paths("/desk")),
        limits=SMALL,
        **options,
    )
    return app


APP = new_app()
BEARER = {"Authorization": "Bearer ann"}
JSON = {**BEARER, "Content-Type": "application/json"}


async def send(
    method: str, path: str, headers: Mapping[str, str] | None = None, app: Any = APP, **request: Any
) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://desk.test") as client:
        return await client.request(
            method, path, headers=BEARER if headers is None else headers, **request
        )


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Return the problem that the response must be."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["code"] == code
    assert document["type"] == f"urn:casebook:problem:{code}"
    assert document["status"] == status
    assert document["trace_id"] == response.headers["casebook-trace-id"]
    assert CANARY not in response.text
    return document


async def raw(scope: Mapping[str, Any], messages: list[dict[str, Any]]) -> tuple[int, Any]:
    """Return status and body of a request made of bare ASGI messages."""
    sent: list[Any] = []
    waiting = asyncio.Event()

    async def receive() -> Any:
        if not messages:
            await waiting.wait()
        return messages.pop(0)

    async def collect(message: Any) -> None:
        sent.append(message)

    head = {"type": "http", "query_string": b"", "raw_path": None, "http_version": "1.1"}
    await APP({**head, **scope}, receive, collect)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])
