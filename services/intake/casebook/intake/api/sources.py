"""Registered sources: which systems may publish (handbook 2.1, one platform for all requests)."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import TypeAdapter

from casebook.intake.api import statements
from casebook.intake.api.bodies import SOURCE_NAME, SourceBody
from casebook.intake.api.commands import COMMAND_RESPONSES
from casebook.intake.api.views import SourceView
from casebook.intake.domain import source as domain
from casebook.intake.domain.source import Source
from casebook.kit.access.policy import AccessColumns
from casebook.kit.http.commands import version_headers
from casebook.kit.http.exchange import AsOf, Exchange, operation
from casebook.kit.http.openapi import IF_MATCH_TO_REPLACE
from casebook.kit.http.openapi_details import VERSIONED
from casebook.kit.http.problems import PROBLEM_RESPONSES, Problem

SourceName = Annotated[str, Path(min_length=1, max_length=64, pattern=SOURCE_NAME)]
Reading = Annotated[Exchange, operation("source.read")]

router = APIRouter(tags=["sources"])
_STATES = TypeAdapter(Source)


@router.put(
    "/sources/{name}",
    operation_id="registerSource",
    response_model=SourceView,
    responses=COMMAND_RESPONSES,
    openapi_extra={"parameters": [IF_MATCH_TO_REPLACE]},
)
async def register_source(
    name: SourceName,
    body: SourceBody,
    exchange: Annotated[Exchange, operation("source.register")],
) -> Response:
    """Let a system publish; the same registration again changes nothing.

    The body is the whole registration: to replace another one, send `If-Match` with its ETag.
    """
    if body.source not in {None, name}:
        raise Problem(422, "source-mismatch", "the body names another source than the address")
    return await exchange.run(
        f"definition/source/{name}",
        lambda state, now: domain.register(
            state,
            name=name,
            types=body.types,
            organisation=body.organisation,
            mode=body.mode,
            publisher=body.publisher,
        ),
        respond=SourceView.of,
        creates=True,
        replaces=True,
    )


@router.get("/sources", operation_id="listSources", responses=PROBLEM_RESPONSES)
async def list_sources(exchange: Reading) -> list[SourceView]:
    """List the registered sources by name."""
    rows = await exchange.fetch(statements.sources(exchange.scope(AccessColumns())))
    return [
        SourceView.of(row["stream"], row["version"], _STATES.validate_python(row["state"]))
        for row in rows
    ]


@router.get("/sources/{name}", operation_id="getSource", responses=PROBLEM_RESPONSES | VERSIONED)
async def get_source(
    name: SourceName, exchange: Reading, response: Response, as_of: AsOf = None
) -> SourceView:
    """Read one registered source, now or as it was, with the ETag that changing it needs."""
    stream = f"definition/source/{name}"
    version, state = await exchange.state(stream, as_of)
    response.headers.update(version_headers(stream, version))
    return SourceView.of(stream, version, state)
