"""Registered sources: which systems may publish (handbook 2.1, one platform for all requests)."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import TypeAdapter

from casebook.intake.api import statements
from casebook.intake.api.bodies import SOURCE_NAME, SourceBody
from casebook.intake.api.commands import CREATE_RESPONSES
from casebook.intake.api.views import SourceView
from casebook.intake.domain import source as domain
from casebook.intake.domain.source import Source
from casebook.kit.exchange import Exchange, operation
from casebook.kit.policy import AccessColumns
from casebook.kit.problems import PROBLEM_RESPONSES, Problem

router = APIRouter(tags=["sources"])
_STATES = TypeAdapter(Source)


@router.put(
    "/sources/{name}",
    operation_id="registerSource",
    response_model=SourceView,
    responses=CREATE_RESPONSES,
)
async def register_source(
    name: Annotated[str, Path(min_length=1, max_length=64, pattern=SOURCE_NAME)],
    body: SourceBody,
    exchange: Annotated[Exchange, operation("source.register")],
) -> Response:
    """Let a system publish; the same registration again changes nothing.

    The body is the whole registration, so it needs no If-Match.
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
    )


@router.get("/sources", operation_id="listSources", responses=PROBLEM_RESPONSES)
async def list_sources(
    exchange: Annotated[Exchange, operation("source.read")],
) -> list[SourceView]:
    """List the registered sources by name."""
    rows = await exchange.fetch(statements.sources(exchange.scope(AccessColumns())))
    return [
        SourceView.of(row["stream"], row["version"], _STATES.validate_python(row["state"]))
        for row in rows
    ]
