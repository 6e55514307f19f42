"""Reads over the service's own streams: the clocks of live requests, next due first.

The current state of every stream is a read model already (decisions 3.1); this module holds the
statements that read it, joined with what the log says of who may see a case.
"""

from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    column,
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

from casebook.kit.access.policy import AccessColumns
from casebook.monitoring.domain.clock import Status
from casebook.monitoring.projections.kpi_facts import TABLE

Rows: TypeAlias = "Select[*tuple[Any, ...]]"

NEVER = 2**63 - 1
"""What stands for the due time of a request none of whose clocks runs; it sorts last."""

STREAMS = table("streams", column("stream", Text), column("state", JSONB))
CASES = table(
    "cases",
    column("key", Text),
    column("requester", Text),
    column("organisation", Text),
    column("team", Text),
    column("assignee", Text),
)
ACCESS = AccessColumns(
    requester=CASES.c.requester,
    organisation=CASES.c.organisation,
    team=CASES.c.team,
    assignee=CASES.c.assignee,
)

# Constants, because only then do the expressions match those of the index.
_IS_LIVE = text("streams.stream LIKE 'service-level/%' AND streams.state->>'origin' = 'live'")
_due: ColumnElement[int] = literal_column(
    f"coalesce((state->>'due_microseconds')::bigint, {NEVER})", BigInteger
)
_CASE = func.substr(STREAMS.c.stream, literal_column(str(len("service-level/") + 1)))

INDEXES = (
    "CREATE INDEX service_levels_by_due ON streams"
    f" (coalesce((state->>'due_microseconds')::bigint, {NEVER}), stream)"
    " WHERE stream LIKE 'service-level/%' AND state->>'origin' = 'live'",
)


def service_levels(
    scope: ColumnElement[bool],
    *,
    due_before: int | None,
    status: Status | None,
    after: tuple[int, str] | None,
    limit: int,
) -> Rows:
    """Return the statement for a page of live requests, the next due first.

    ``due_before`` is in microseconds since 1970; ``status`` is that of either clock.
    """
    statement = (
        select(STREAMS.c.stream, STREAMS.c.state, _due.label("due"))
        .join_from(STREAMS, CASES, CASES.c.key == _CASE)
        .where(_IS_LIVE, scope)
    )
    if due_before is not None:
        statement = statement.where(_due < literal(due_before, BigInteger))
    if status is not None:
        clocks = ("response", "resolution")
        statement = statement.where(
            or_(*(STREAMS.c.state[clock]["reading"]["status"].astext == status for clock in clocks))
        )
    if after is not None:
        statement = statement.where(
            tuple_(_due, STREAMS.c.stream)
            > tuple_(literal(after[0], BigInteger), literal(after[1]))
        )
    return statement.order_by(_due, STREAMS.c.stream).limit(limit)


def course(scope: ColumnElement[bool], request_id: UUID) -> Rows:
    """Return the statement for what a request's own times say, wherever they come from."""
    return (
        select(TABLE.c.course)
        .join_from(TABLE, CASES, CASES.c.key == literal(str(request_id)))
        .where(TABLE.c.request_id == request_id, scope)
    )
