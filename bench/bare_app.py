"""The limit of the HTTP benches: FastAPI doing the whole of a command, or a list, in one statement.

It writes the rows that a submission leaves (two events, a head, two rows of the outbox, the answer
under its idempotency key), and reads with the very query of the list. It knows nobody, seals and
chains nothing, checks no rule, and publishes nothing.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import orjson
import uuid_utils
from fastapi import FastAPI, Header, Request, Response
from pydantic import BaseModel

CONNECTIONS = 16
TABLES = ("events", "streams", "outbox", "idempotency")

_SUBMIT = """
WITH numbered AS (
    SELECT 'REQ' || lpad(nextval('bare.numbers')::text, 7, '0') AS number
), head AS (
    INSERT INTO bare.streams (stream, version, hash, recordedtime, case_key, state)
    VALUES ($2, 2, '', now(), $3, $4::jsonb)
), appended AS (
    INSERT INTO bare.events
        (id, stream, version, type, case_key, partition, recordedtime, record, hash)
    SELECT id, $2, version, type, $3, 0, now(), $5, ''
    FROM unnest($1::uuid[], ARRAY[1, 2], ARRAY['submitted', 'prioritised'])
        AS u(id, version, type)
    RETURNING position, partition
), sent AS (
    INSERT INTO bare.outbox (position, partition) SELECT position, partition FROM appended
), answered AS (
    INSERT INTO bare.idempotency (principal, route, key, fingerprint, status, body, created_at)
    VALUES ('somebody', 'POST /requests', $6, '', 201, convert_to($5, 'UTF8'), now())
)
SELECT number FROM numbered
"""


class Submission(BaseModel):
    """A new request."""

    kind: str
    title: str
    description: str
    impact: int
    urgency: int


def create_app() -> FastAPI:
    """Return the application; ``BARE_DSN`` says where it writes, ``BARE_LIST`` what it reads."""
    query: dict[str, Any] = orjson.loads(os.environ.get("BARE_LIST", "{}"))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with asyncpg.create_pool(
            os.environ["BARE_DSN"], max_size=CONNECTIONS, init=_prepare, reset=_keep,
            server_settings={"search_path": "intake"},
        ) as pool:  # fmt: skip
            app.state.pool = pool
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/requests", status_code=201)
    async def submit(
        body: Submission, request: Request, idempotency_key: Annotated[str, Header()]
    ) -> Response:
        case = str(uuid_utils.uuid7())
        ids = [UUID(str(uuid_utils.uuid7())) for _ in range(2)]
        text = body.model_dump_json()
        number = await request.app.state.pool.fetchval(
            _SUBMIT, ids, f"request/{case}", case, text, text, idempotency_key
        )
        answer = orjson.dumps({"id": case, "number": number, "status": "open"})
        return Response(answer, status_code=201, media_type="application/json")

    @app.get("/requests")
    async def list_requests(request: Request) -> Response:
        rows = await request.app.state.pool.fetch(query["sql"], *query["arguments"])
        return Response(orjson.dumps([dict(row) for row in rows]), media_type="application/json")

    return app


async def _prepare(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Read and write ``jsonb`` as it is."""
    await connection.set_type_codec("jsonb", encoder=str, decoder=orjson.loads, schema="pg_catalog")


async def _keep(connection: object) -> None:
    """Leave the session as it is."""
