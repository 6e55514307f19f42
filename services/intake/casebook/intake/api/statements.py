"""The SELECT statements behind the reads; whoever runs one puts a scope into it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    Uuid,
    and_,
    cast,
    column,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    table,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB

from casebook.events.service_level import ServiceLevelTargetBreached
from casebook.intake.policy import POLICY
from casebook.intake.projections.request_sources import RequestSources
from casebook.intake.projections.risk_evidence import RiskEvidence
from casebook.intake.projections.timeline import Timeline
from casebook.intake.projections.work import Work
from casebook.kit.access.identity import Principal
from casebook.kit.access.policy import AccessColumns
from casebook.kit.service import Belonging

Rows: TypeAlias = "Select[*tuple[Any, ...]]"

STREAMS = table("streams", column("stream", Text), column("version"), column("state", JSONB))
CASES = table("cases", column("key", Text), column("team", Text), column("assignee", Text))
WORK = Work.table
TIMELINE = Timeline.table
SOURCES = RequestSources.table
EVIDENCE = RiskEvidence.table

# Constants, because only then do the expressions match those of the indexes.
_IS_REQUEST = text("streams.stream LIKE 'request/%'")
_IS_SOURCE = text("streams.stream LIKE 'definition/source/%'")
_SUBMITTED: ColumnElement[str] = literal_column("coalesce(state->>'submitted_at', '')", Text)
_FIELDS: Mapping[str, ColumnElement[str]] = {
    name: literal_column(f"(state->>'{name}')", Text)
    for name in ("status", "kind", "priority", "requester", "organisation")
}
_REQUEST_KEY = func.substr(STREAMS.c.stream, literal_column("9"))

INDEXES = (
    "CREATE INDEX requests_by_submission ON streams"
    " (coalesce(state->>'submitted_at', ''), stream) WHERE stream LIKE 'request/%'",
    "CREATE INDEX requests_by_requester ON streams"
    " ((state->>'requester')) WHERE stream LIKE 'request/%'",
    "CREATE INDEX requests_by_organisation ON streams"
    " ((state->>'organisation')) WHERE stream LIKE 'request/%'",
)

_EVIDENCE_IDS = select(cast(func.jsonb_array_elements_text(EVIDENCE.c.evidence), Uuid))
_FACTS = TIMELINE.alias("facts")
_LINKED = _REQUEST_KEY.in_(select(_FACTS.c.request).where(_FACTS.c.id.in_(_EVIDENCE_IDS)))
# Of one request, its few breaches are looked up; else all evidence of all risks would be.
_IS_LINKED = exists(
    select(literal(1))
    .select_from(_FACTS.join(EVIDENCE, EVIDENCE.c.evidence.has_key(cast(_FACTS.c.id, Text))))
    .where(_FACTS.c.request == _REQUEST_KEY, _FACTS.c.type == ServiceLevelTargetBreached.type)
)

ACCESS = AccessColumns(
    requester=_FIELDS["requester"],
    organisation=_FIELDS["organisation"],
    team=CASES.c.team,
    assignee=CASES.c.assignee,
    source=SOURCES.c.source,
    linked=_LINKED,
)
"""Whose a request is: what it says itself, and where the log says that its work lies.

Beside that: which source published it, and whether a fact of it is evidence of a risk.
"""

ACCESS_TO_ONE = replace(ACCESS, linked=_IS_LINKED)
"""The same, where it is about one request."""

BELONGING = Belonging(
    scopes=frozenset({"sources", "linked"}),
    statement=lambda stream: (
        select(SOURCES.c.source, _IS_LINKED.label("linked"))
        .join_from(STREAMS, SOURCES, SOURCES.c.request == _REQUEST_KEY, isouter=True)
        .where(STREAMS.c.stream == stream)
    ),
)
"""What read models add to it, for one request."""


def requests(
    scope: ColumnElement[bool],
    *,
    filters: Mapping[str, str | int | None],
    team: str | None,
    after: tuple[str, str] | None,
    limit: int,
) -> Rows:
    """Return the statement for a page of requests, the last submitted first."""
    statement = _with_work(scope).where(_IS_REQUEST)
    for name, value in filters.items():
        if value is not None:
            statement = statement.where(_FIELDS[name] == str(value))
    if team is not None:
        statement = statement.where(CASES.c.team == team)
    order = tuple_(_SUBMITTED, STREAMS.c.stream)
    if after is not None:
        statement = statement.where(order < tuple_(literal(after[0]), literal(after[1])))
    return statement.order_by(_SUBMITTED.desc(), STREAMS.c.stream.desc()).limit(limit)


def request(scope: ColumnElement[bool], request_id: UUID, principal: Principal) -> Rows:
    """Return the statement for the work of one request, and whether its reader is staff."""
    staff = POLICY.predicate(principal, "request.read-staff", ACCESS_TO_ONE)
    return (
        _with_work(scope)
        .add_columns(staff.label("staff"))
        .where(STREAMS.c.stream == f"request/{request_id}")
    )


def timeline(
    scope: ColumnElement[bool],
    request_id: UUID,
    principal: Principal,
    *,
    as_of: datetime | None,
    after: int | None,
    limit: int,
) -> Rows:
    """Return the statement for a page of a request's facts that the principal may read."""
    staff = POLICY.predicate(principal, "request.read-staff", ACCESS_TO_ONE)
    restricted = POLICY.predicate(principal, "request.read-restricted", ACCESS_TO_ONE)
    audience = TIMELINE.c.audience
    statement = (
        select(TIMELINE, staff.label("staff"))
        .join_from(TIMELINE, STREAMS, STREAMS.c.stream == "request/" + TIMELINE.c.request)
        .join(CASES, CASES.c.key == TIMELINE.c.request, isouter=True)
        .join(SOURCES, SOURCES.c.request == TIMELINE.c.request, isouter=True)
        .where(TIMELINE.c.request == str(request_id), scope)
        .where(
            or_(
                audience == "customer",
                and_(staff, audience == "staff"),
                and_(restricted, audience == "restricted"),
            )
        )
    )
    if as_of is not None:
        statement = statement.where(TIMELINE.c.time <= as_of)
    if after is not None:
        statement = statement.where(TIMELINE.c.position > after)
    # A case is in one partition of the log, where a position comes once.
    return statement.order_by(TIMELINE.c.position).limit(limit)


def sources(scope: ColumnElement[bool]) -> Rows:
    """Return the statement for the registered sources by name."""
    return (
        select(STREAMS.c.stream, STREAMS.c.version, STREAMS.c.state)
        .where(_IS_SOURCE, scope)
        .order_by(STREAMS.c.stream)
    )


def _with_work(scope: ColumnElement[bool]) -> Rows:
    """Return requests with their work, inside a scope."""
    return (
        select(
            STREAMS.c.stream,
            STREAMS.c.version,
            STREAMS.c.state,
            WORK.c.status.label("work_status"),
            WORK.c.team.label("work_team"),
            WORK.c.agent.label("work_agent"),
            WORK.c.waiting_reason.label("work_waiting_reason"),
            WORK.c.updated_at.label("work_updated_at"),
        )
        .join_from(STREAMS, CASES, CASES.c.key == _REQUEST_KEY, isouter=True)
        .join(WORK, WORK.c.request == _REQUEST_KEY, isouter=True)
        .join(SOURCES, SOURCES.c.request == _REQUEST_KEY, isouter=True)
        .where(scope)
    )
