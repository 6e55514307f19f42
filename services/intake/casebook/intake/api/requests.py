"""Reading requests: the list, one request, and what happened to it (handbook 1.3, 2.1)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import TypeAdapter

from casebook.events.catalog import EVENTS
from casebook.events.work_order import (
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderReassignedToAgent,
    WorkOrderReassignedToTeam,
)
from casebook.intake.api import statements
from casebook.intake.api.parameters import DetailQuery, ListQuery, TimelineQuery
from casebook.intake.api.statements import ACCESS, ACCESS_TO_ONE
from casebook.intake.api.views import (
    RequestDetail,
    RequestPage,
    RequestSummary,
    TimelineEntry,
    TimelinePage,
    detail_fields,
    summary_fields,
    work_view,
)
from casebook.intake.domain.request import Request
from casebook.kit.decider import SealedText
from casebook.kit.http.commands import version_headers
from casebook.kit.http.exchange import Exchange, operation
from casebook.kit.http.openapi_details import VERSIONED
from casebook.kit.http.pagination import decode_cursor, encode_cursor
from casebook.kit.http.problems import PROBLEM_RESPONSES, Problem

STAFF_FIELDS = frozenset({"explanation", "reason"})
"""Fields of an assignment for staff only: who else could do it, and why a lead moved it."""

_ASSIGNMENTS = frozenset(
    event.type
    for event in (
        WorkOrderAssignedToTeam,
        WorkOrderReassignedToTeam,
        WorkOrderAssignedToAgent,
        WorkOrderReassignedToAgent,
    )
)

POSITION_MAX = 2**63 - 1

router = APIRouter(tags=["requests"])
_STATES = TypeAdapter(Request)

Reading = Annotated[Exchange, operation("request.read")]


@router.get("/requests", operation_id="listRequests", responses=PROBLEM_RESPONSES)
async def list_requests(exchange: Reading, wanted: Annotated[ListQuery, Query()]) -> RequestPage:
    """List the requests one may see, the last submitted first."""
    after = None if wanted.cursor is None else decode_cursor(wanted.cursor, (str, str))
    limit = wanted.limit
    rows = await exchange.fetch(
        statements.requests(
            exchange.scope(ACCESS),
            filters=wanted.model_dump(include={"status", "priority", "kind", "organisation"}),
            team=wanted.team,
            after=None if after is None else (after[0], after[1]),
            limit=limit + 1,
        )
    )
    page = rows[:limit]
    states = [_STATES.validate_python(row["state"]) for row in page]
    titles = await exchange.open([state.title for state in states])
    items = [
        RequestSummary(**summary_fields(row["stream"], state, title), work=work_view(row))
        for row, state, title in zip(page, states, titles, strict=True)
    ]
    last = page[-1] if len(rows) > limit else None
    return RequestPage(
        items=items,
        next_cursor=None
        if last is None
        else encode_cursor([last["state"].get("submitted_at") or "", last["stream"]]),
    )


@router.get(
    "/requests/{request_id}",
    operation_id="getRequest",
    responses=PROBLEM_RESPONSES | VERSIONED,
)
async def get_request(
    request_id: UUID,
    exchange: Reading,
    response: Response,
    wanted: Annotated[DetailQuery, Query()],
) -> RequestDetail:
    """Read one request, now or as it was; how the work goes is told for now only."""
    stream = f"request/{request_id}"
    version, state = await exchange.state(stream, wanted.as_of)
    rows = await exchange.fetch(
        statements.request(exchange.scope(ACCESS_TO_ONE), request_id, exchange.principal)
    )
    if not rows:  # its work went elsewhere between the two reads
        raise Problem(404)
    title, description = await exchange.open([state.title, state.description])
    response.headers.update(version_headers(stream, version))
    return RequestDetail(
        **summary_fields(stream, state, title),
        **detail_fields(state, description, staff=rows[0]["staff"]),
        work=work_view(rows[0]) if wanted.as_of is None else None,
    )


@router.get(
    "/requests/{request_id}/timeline",
    operation_id="listRequestTimeline",
    responses=PROBLEM_RESPONSES,
)
async def list_request_timeline(
    request_id: UUID, exchange: Reading, wanted: Annotated[TimelineQuery, Query()]
) -> TimelinePage:
    """List what happened to a request in all services, in the order of the log.

    A customer reads the facts meant for customers, staff all but the restricted ones, an
    auditor all. Comments are facts too.
    """
    await exchange.state(f"request/{request_id}")
    after = None if wanted.cursor is None else _position(wanted.cursor)
    limit = wanted.limit
    rows = await exchange.fetch(
        statements.timeline(
            exchange.scope(ACCESS_TO_ONE),
            request_id,
            exchange.principal,
            as_of=wanted.as_of,
            after=after,
            limit=limit + 1,
        )
    )
    page = rows[:limit]
    last = page[-1] if len(rows) > limit else None
    return TimelinePage(
        items=await _entries(exchange, page),
        next_cursor=None if last is None else encode_cursor([last["position"]]),
    )


def _position(cursor: str) -> int:
    """Return the place in the log that a cursor holds.

    :raises Problem: 400 ``cursor-malformed`` for anything that is none.
    """
    [position] = decode_cursor(cursor, (int,))
    if not 0 <= position <= POSITION_MAX:
        raise Problem(400, "cursor-malformed", "this is not a cursor of this list")
    return position


async def _entries(exchange: Exchange, rows: Sequence[Mapping[str, Any]]) -> list[TimelineEntry]:
    """Return rows of the timeline with their text as plain text."""
    places = [
        (index, name, SealedText(**row["data"][name], event_id=row["id"], field=name))
        for index, row in enumerate(rows)
        for name in EVENTS[row["type"]].secret_fields
        if row["data"].get(name) is not None
    ]
    texts = await exchange.open([sealed for _, _, sealed in places])
    data: list[dict[str, Any]] = [dict(row["data"]) for row in rows]
    for (index, name, _), plain in zip(places, texts, strict=True):
        data[index][name] = plain
    return [
        TimelineEntry(
            id=row["id"],
            type=row["type"],
            service=row["service"],
            time=row["time"],
            recorded_time=row["recordedtime"],
            actor=row["actor"],
            audience=row["audience"],
            origin=row["origin"],
            data=_shown(row["type"], fields, staff=row["staff"]),
        )
        for row, fields in zip(rows, data, strict=True)
    ]


def _shown(type_: str, fields: dict[str, Any], *, staff: bool) -> dict[str, Any]:
    """Return the fields of a fact that the reader may see."""
    if staff or type_ not in _ASSIGNMENTS:
        return fields
    return {name: value for name, value in fields.items() if name not in STAFF_FIELDS}
