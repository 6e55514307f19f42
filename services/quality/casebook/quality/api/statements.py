"""The SELECT statements behind the reads; whoever runs one puts a scope into it."""

from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Text,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB

from casebook.events.definitions import CLOSURE_SURVEY
from casebook.kit.access.policy import AccessColumns
from casebook.quality.projections.closure_control import ClosureControl

STREAMS = table("streams", column("stream", Text), column("case_key", Text), column("state", JSONB))
CASES = table(
    "cases",
    column("key", Text),
    column("requester", Text),
    column("organisation", Text),
    column("team", Text),
    column("assignee", Text),
)
CONTROL = ClosureControl.table

Statement: TypeAlias = "Select[*tuple[Any, ...]]"

# Constants, because only then do the expressions match those of the indexes.
_IS_SURVEY = text("streams.stream LIKE 'survey/%'")
_IS_NONCONFORMITY = text("streams.stream LIKE 'nonconformity/%'")
_RAISED: ColumnElement[str] = literal_column("coalesce(state->>'raised_at', '')", Text)
_SATISFACTION = cast(literal_column("(state->>'satisfaction')", Text), Integer)

INDEXES = (
    "CREATE INDEX nonconformities_by_time ON streams"
    " (coalesce(state->>'raised_at', ''), stream) WHERE stream LIKE 'nonconformity/%'",
)

ACCESS = AccessColumns(
    requester=CASES.c.requester,
    organisation=CASES.c.organisation,
    team=CASES.c.team,
    assignee=CASES.c.assignee,
)
"""Whose a case is, as the log says of its request."""


def survey_results(scope: ColumnElement[bool], origin: str | None) -> Statement:
    """Return the statement for the counts over surveys."""
    score, satisfied_min = _SATISFACTION, CLOSURE_SURVEY.body.satisfied_min
    statement = (
        select(
            func.count().filter(text("(state->>'sent_count')::int > 0")).label("sent"),
            func.count(score).label("n"),
            func.count().filter(score >= satisfied_min).label("satisfied"),
            func.coalesce(func.sum(score), 0).label("total"),
        )
        .join_from(STREAMS, CASES, CASES.c.key == STREAMS.c.case_key, isouter=True)
        .where(_IS_SURVEY, scope)
    )
    return statement if origin is None else statement.where(_origin(origin))


def control_counts(scope: ColumnElement[bool]) -> Statement:
    """Return the statement for the counts of the control over closures."""
    names = ("closings_observed", "closings_live", "findings_observed", "findings_live")
    counts = [func.coalesce(func.sum(CONTROL.c[name]), 0).label(name) for name in names]
    return _control(scope, *counts)


def findings(
    scope: ColumnElement[bool],
    *,
    origin: str | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> Statement:
    """Return the statement for a page of requests with findings, the last found first."""
    order = tuple_(CONTROL.c.found_at, CONTROL.c.request_id)
    statement = _control(scope, CONTROL.c.request_id, CONTROL.c.found_at, CONTROL.c.findings)
    statement = statement.where(CONTROL.c.found_at.is_not(None))
    if origin is not None:
        statement = statement.where(CONTROL.c[f"findings_{origin}"] > 0)
    if after is not None:
        statement = statement.where(order < tuple_(literal(after[0]), literal(after[1])))
    return statement.order_by(CONTROL.c.found_at.desc(), CONTROL.c.request_id.desc()).limit(limit)


def nonconformity_count(scope: ColumnElement[bool], control: str) -> Statement:
    """Return the statement for how many nonconformities a control has raised."""
    return (
        select(func.count().label("count"))
        .join_from(STREAMS, CASES, CASES.c.key == STREAMS.c.case_key, isouter=True)
        .where(_IS_NONCONFORMITY, scope, _field("control") == control)
    )


def nonconformities(
    scope: ColumnElement[bool],
    *,
    control: str | None,
    request_id: UUID | None,
    after: tuple[str, str] | None,
    limit: int,
) -> Statement:
    """Return the statement for a page of nonconformities, the last raised first."""
    statement = (
        select(STREAMS.c.stream, STREAMS.c.state)
        .join_from(STREAMS, CASES, CASES.c.key == STREAMS.c.case_key, isouter=True)
        .where(_IS_NONCONFORMITY, scope)
    )
    if control is not None:
        statement = statement.where(_field("control") == control)
    if request_id is not None:
        statement = statement.where(_field("request_id") == str(request_id))
    if after is not None:
        order = tuple_(_RAISED, STREAMS.c.stream)
        statement = statement.where(order < tuple_(literal(after[0]), literal(after[1])))
    return statement.order_by(_RAISED.desc(), STREAMS.c.stream.desc()).limit(limit)


def _control(scope: ColumnElement[bool], *columns: ColumnElement[Any]) -> Statement:
    """Return columns of the control's read model, inside a scope."""
    key = cast(CONTROL.c.request_id, Text)
    return select(*columns).join_from(CONTROL, CASES, CASES.c.key == key, isouter=True).where(scope)


def _field(name: str) -> ColumnElement[str]:
    """Return a field of a state as text."""
    return literal_column(f"(state->>'{name}')", Text)


def _origin(origin: str) -> ColumnElement[bool]:
    """Return the condition that a state is of this origin."""
    return _field("origin") == origin
