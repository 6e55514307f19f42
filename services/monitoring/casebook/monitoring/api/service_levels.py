"""Reading clocks: of one request, and of all that are due (handbook 2.3)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import TypeAdapter

from casebook.events.values import Moment
from casebook.kit.bookkeeping.cases import Case
from casebook.kit.http.exchange import Exchange, operation
from casebook.kit.http.pagination import PAGE_DEFAULT, PAGE_MAX, decode_cursor, encode_cursor
from casebook.kit.http.problems import PROBLEM_RESPONSES, Problem
from casebook.monitoring.api.views import ClockView, ServiceLevelPage, ServiceLevelView
from casebook.monitoring.domain.clock import Status
from casebook.monitoring.domain.history import clock_history, microseconds, reading_of
from casebook.monitoring.domain.service_level import CLOCKS, ServiceLevel
from casebook.monitoring.projections import service_levels as statements
from casebook.monitoring.projections.kpi_facts import row_as_of
from casebook.monitoring.projections.service_levels import ACCESS

_STATES = TypeAdapter(ServiceLevel)
_OWN_STREAM = "service-level"
_NOTHING_YET = "not-found"

router = APIRouter(tags=["service levels"])

Reading = Annotated[Exchange, operation("service-level.read")]


@router.get("/service-levels", operation_id="listServiceLevels", responses=PROBLEM_RESPONSES)
async def list_service_levels(
    exchange: Reading,
    due_before: Annotated[
        Moment | None, Query(description="Whose next target is reached before then")
    ] = None,
    state: Annotated[Status | None, Query(description="Of either clock")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=255, description="Of the page before")] = None,
) -> ServiceLevelPage:
    """List the live requests that one may see with their clocks, the next due first."""
    after = None if cursor is None else decode_cursor(cursor, (int, str))
    rows = await exchange.fetch(
        statements.service_levels(
            exchange.scope(ACCESS),
            due_before=None if due_before is None else microseconds(due_before),
            status=state,
            after=None if after is None else (after[0], after[1]),
            limit=limit + 1,
        )
    )
    page = rows[:limit]
    last = page[-1] if len(rows) > limit else None
    return ServiceLevelPage(
        items=[
            _of_stream(
                row["stream"].removeprefix(f"{_OWN_STREAM}/"),
                _STATES.validate_python(row["state"]),
                exchange.now,
            )
            for row in page
        ],
        next_cursor=None if last is None else encode_cursor([last["due"], last["stream"]]),
    )


@router.get(
    "/service-levels/{request_id}", operation_id="getServiceLevel", responses=PROBLEM_RESPONSES
)
async def get_service_level(
    request_id: UUID,
    exchange: Reading,
    as_of: Annotated[Moment | None, Query(description="What had happened by then")] = None,
) -> ServiceLevelView:
    """Read the clocks of a request, now or as they were.

    The clocks of a live request are facts; those of observed history are computed from the times
    of its facts, and nothing ever followed from them.
    """
    case = await exchange.case(str(request_id))
    moment = as_of or exchange.now
    own = await _own_clocks(exchange, request_id, as_of) if _has_clocks(case) else None
    if own is not None and len(own.clocks) == len(CLOCKS):
        return own
    rows = await exchange.fetch(statements.course(exchange.scope(ACCESS), request_id))
    row = row_as_of(str(request_id), rows[0]["course"], moment) if rows else None
    if row is None or row["opened_at"] is None:
        raise Problem(404)
    history = _of_history(request_id, row, moment)
    if own is None:
        return history
    # A reopened history: its response was given before, so only the history tells of it.
    running = {clock.clock for clock in own.clocks}
    given = [clock for clock in history.clocks if clock.clock not in running]
    return own.model_copy(update={"clocks": [*given, *own.clocks]})


async def _own_clocks(
    exchange: Exchange, request_id: UUID, as_of: datetime | None
) -> ServiceLevelView | None:
    """Return the clocks that Casebook runs; ``None`` if none ran at that moment."""
    try:
        _, state = await exchange.state(f"{_OWN_STREAM}/{request_id}", as_of)
    except Problem as problem:
        if problem.code != _NOTHING_YET:
            raise
        return None
    if state.opened_at is None:
        return None
    return _of_stream(str(request_id), state, as_of or exchange.now)


def _has_clocks(case: Case) -> bool:
    """Say whether Casebook runs clocks for the case, or only keeps another system's account."""
    return case.origin == "live" and _OWN_STREAM in case.versions


def _of_stream(request_id: str, state: ServiceLevel, moment: datetime) -> ServiceLevelView:
    """Return the view of the clocks that Casebook runs."""
    clocks: list[ClockView] = []
    for name in CLOCKS:
        clock = state.clock(name)
        if clock.reading is not None:
            breached_at = None if clock.breach is None else clock.breach.due_at
            clocks.append(ClockView.of(name, clock.reading, moment, breached_at, clock.warned))
    return ServiceLevelView(
        request_id=UUID(request_id),
        origin=state.origin,
        as_of=moment,
        service=state.service,
        source_result=state.source_result,
        clocks=clocks,
    )


def _of_history(request_id: UUID, row: Mapping[str, Any], moment: datetime) -> ServiceLevelView:
    """Return the view of the clocks that follow from a request's own times."""
    history = clock_history(row["course"])
    clocks: list[ClockView] = []
    for name in CLOCKS:
        reading = reading_of(name, row["opened_at"], history)
        missed_at = reading.missed_at(moment)
        clocks.append(ClockView.of(name, reading, moment, missed_at, warned=False))
    return ServiceLevelView(
        request_id=request_id,
        origin=row["origin"],
        as_of=moment,
        service=None,
        source_result=row["source_result"],
        clocks=clocks,
    )
