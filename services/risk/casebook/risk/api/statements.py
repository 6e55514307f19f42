"""The SELECT statements behind the reads; whoever runs one puts a scope into it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
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

from casebook.kit.access.policy import AccessColumns
from casebook.kit.service import Belonging
from casebook.risk.projections.resolution_breaches import ResolutionBreaches
from casebook.risk.projections.resolution_clocks import ResolutionClocks, Statement, rates_between

STREAMS = table("streams", column("stream", Text), column("state", JSONB))
MEMBERS = table("members", column("agent", Text), column("team", Text))
BREACHES = ResolutionBreaches.table

# Constants, because only then do the expressions match that of the index.
_IS_RISK = text("stream LIKE 'risk/%'")
_IS_OPEN = text("state->>'status' NOT IN ('closed', 'recovered')")
_OPENED: ColumnElement[str] = literal_column("coalesce(state->>'opened_at', '')", Text)
_RULE: ColumnElement[str] = literal_column("(state->'candidacy'->>'rule')", Text)
_FIELDS: Mapping[str, ColumnElement[str]] = {
    name: literal_column(f"(state->>'{name}')", Text)
    for name in ("status", "category", "service", "owner", "opened_by")
}

INDEXES = (
    "CREATE INDEX risks_by_opening ON streams"
    " (coalesce(state->>'opened_at', ''), stream) WHERE stream LIKE 'risk/%'",
)

_TEAM = select(MEMBERS.c.team).where(MEMBERS.c.agent == _FIELDS["owner"]).scalar_subquery()

ACCESS = AccessColumns(requester=_FIELDS["opened_by"], team=_TEAM)
"""Whose a risk is: theirs who reported it, and of the team of whoever answers for it (ADR 0071)."""

BELONGING = Belonging(
    scopes=frozenset({"team"}),
    statement=lambda stream: select(_TEAM.label("team")).where(STREAMS.c.stream == stream),
)
"""The same for one risk."""


def risks(
    scope: ColumnElement[bool],
    *,
    filters: Mapping[str, str | None],
    rating: str | None,
    kind: str | None,
    after: tuple[str, str] | None,
    limit: int,
) -> Statement:
    """Return the statement for a page of the register, the last opened first."""
    # A page has no use for evidence, of which a state may hold thousands of ids.
    state = literal_column("state #- '{candidacy,evidence}'", JSONB).label("state")
    statement = select(STREAMS.c.stream, state).where(_IS_RISK, scope)
    for name, value in filters.items():
        if value is not None:
            statement = statement.where(_FIELDS[name] == value)
    if rating is not None:
        statement = statement.where(_current("rating") == rating)
    if kind is not None:
        candidate = _RULE.is_not(None)
        statement = statement.where(candidate if kind == "candidate" else ~candidate)
    if after is not None:
        order = tuple_(_OPENED, STREAMS.c.stream)
        statement = statement.where(order < tuple_(literal(after[0]), literal(after[1])))
    return statement.order_by(_OPENED.desc(), STREAMS.c.stream.desc()).limit(limit)


def heat_map(scope: ColumnElement[bool]) -> Statement:
    """Return the statement for how many open risks have which likelihood and impact."""
    likelihood = cast(_current("likelihood"), Integer).label("likelihood")
    impact = cast(_current("impact"), Integer).label("impact")
    return (
        select(likelihood, impact, func.count().label("risks"))
        .select_from(STREAMS)
        .where(_IS_RISK, _IS_OPEN, scope)
        .group_by(text("likelihood"), text("impact"))
    )


def breaches(scope: ColumnElement[bool], ids: Sequence[UUID]) -> Statement:
    """Return the statement for the breach events of these ids."""
    return select(BREACHES).where(BREACHES.c.breach == func.any(literal(list(ids))), scope)


def rate_between(
    scope: ColumnElement[bool], service: str, start: datetime, end: datetime
) -> Statement:
    """Return the statement for one service's counts in a window."""
    return rates_between(start, end).where(ResolutionClocks.table.c.service == service, scope)


def _current(name: str) -> ColumnElement[Any]:
    """Return a field of the assessment that counts: the residual one, else the inherent one."""
    return literal_column(
        f"coalesce(state->'residual'->>'{name}', state->'inherent'->>'{name}')", Text
    )
