"""Controls over the whole log, their findings, and nonconformities (handbook 3.3, 3.4)."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import TypeAdapter

from casebook.events.definitions import CLOSURE_CONTROL
from casebook.events.values import Label
from casebook.kit.http.commands import version_headers
from casebook.kit.http.exchange import AsOf, Exchange, operation
from casebook.kit.http.openapi_details import VERSIONED
from casebook.kit.http.pagination import PAGE_DEFAULT, PAGE_MAX, decode_cursor, encode_cursor
from casebook.kit.http.problems import PROBLEM_RESPONSES, Problem
from casebook.quality.api import statements
from casebook.quality.api.statements import ACCESS
from casebook.quality.api.views import (
    ControlList,
    ControlView,
    Counts,
    Finding,
    FindingsOfRequest,
    FindingsPage,
    NonconformityPage,
    NonconformityView,
)
from casebook.quality.domain.nonconformity import Nonconformity

router = APIRouter(tags=["controls"])
_STATES = TypeAdapter(Nonconformity)

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Cursor = Annotated[str | None, Query(max_length=255, description="Of the page before")]
Controls = Annotated[Exchange, operation("control.read")]
Nonconformities = Annotated[Exchange, operation("nonconformity.read")]


@router.get("/controls", operation_id="listControls", responses=PROBLEM_RESPONSES)
async def list_controls(exchange: Controls) -> ControlList:
    """List the controls with what they have checked and found, history and live work apart."""
    scope = exchange.scope(ACCESS)
    [counts] = await exchange.fetch(statements.control_counts(scope))
    [raised] = await exchange.fetch(statements.nonconformity_count(scope, CLOSURE_CONTROL.id))
    control = ControlView(
        id=CLOSURE_CONTROL.id,
        version=CLOSURE_CONTROL.version,
        title=CLOSURE_CONTROL.body.title,
        clause=CLOSURE_CONTROL.body.clause,
        grade=CLOSURE_CONTROL.body.grade,
        checked=Counts(observed=counts["closings_observed"], live=counts["closings_live"]),
        findings=Counts(observed=counts["findings_observed"], live=counts["findings_live"]),
        nonconformities=raised["count"],
    )
    return ControlList(items=[control])


@router.get(
    "/controls/{control_id}/findings",
    operation_id="listControlFindings",
    responses=PROBLEM_RESPONSES,
)
async def list_control_findings(
    control_id: str,
    exchange: Controls,
    origin: Annotated[Literal["live", "observed"] | None, Query()] = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> FindingsPage:
    """List the requests that fail a control, the last found first.

    With ``origin``, only requests and findings of that origin.
    """
    if control_id != CLOSURE_CONTROL.id:
        raise Problem(404)
    after = None if cursor is None else decode_cursor(cursor, (datetime, str))
    rows = await exchange.fetch(
        statements.findings(
            exchange.scope(ACCESS),
            origin=origin,
            after=None if after is None else (after[0], _uuid(after[1])),
            limit=limit + 1,
        )
    )
    page = rows[:limit]
    last = page[-1] if len(rows) > limit else None
    return FindingsPage(
        items=[
            FindingsOfRequest(
                request_id=row["request_id"],
                found_at=row["found_at"],
                findings=[
                    Finding.model_validate(found)
                    for found in row["findings"]
                    if origin in {None, found["origin"]}
                ],
            )
            for row in page
        ],
        next_cursor=None
        if last is None
        else encode_cursor([last["found_at"], str(last["request_id"])]),
    )


@router.get("/nonconformities", operation_id="listNonconformities", responses=PROBLEM_RESPONSES)
async def list_nonconformities(
    exchange: Nonconformities,
    control: Annotated[Label | None, Query()] = None,
    request_id: Annotated[UUID | None, Query()] = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> NonconformityPage:
    """List nonconformities, the last raised first."""
    after = None if cursor is None else decode_cursor(cursor, (str, str))
    rows = await exchange.fetch(
        statements.nonconformities(
            exchange.scope(ACCESS),
            control=control,
            request_id=request_id,
            after=None if after is None else (after[0], after[1]),
            limit=limit + 1,
        )
    )
    page = rows[:limit]
    last = page[-1] if len(rows) > limit else None
    return NonconformityPage(
        items=[
            NonconformityView.of(row["stream"], _STATES.validate_python(row["state"]))
            for row in page
        ],
        next_cursor=None
        if last is None
        else encode_cursor([last["state"].get("raised_at") or "", last["stream"]]),
    )


@router.get(
    "/nonconformities/{nonconformity_id}",
    operation_id="getNonconformity",
    responses=PROBLEM_RESPONSES | VERSIONED,
)
async def get_nonconformity(
    nonconformity_id: UUID, exchange: Nonconformities, response: Response, as_of: AsOf = None
) -> NonconformityView:
    """Read one nonconformity, now or as it was."""
    stream = f"nonconformity/{nonconformity_id}"
    version, state = await exchange.state(stream, as_of)
    response.headers.update(version_headers(stream, version))
    return NonconformityView.of(stream, state)


def _uuid(value: str) -> UUID:
    """Return the id in a cursor.

    :raises Problem: 400 ``cursor-malformed`` for anything else.
    """
    try:
        return UUID(value)
    except ValueError:
        raise Problem(400, "cursor-malformed", "this is not a cursor of this list") from None
