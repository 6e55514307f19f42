"""The SELECT statements behind the reads; whoever runs one puts a scope into it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Integer,
    Select,
    Text,
    Uuid,
    cast,
    column,
    func,
    literal,
    select,
    table,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB

from casebook.dispatch.domain.work_order import OPEN
from casebook.dispatch.projections.team_queue import TeamQueue
from casebook.kit.access.policy import AccessColumns

STREAMS = table(
    "streams", column("stream", Text), column("version", BigInteger), column("state", JSONB)
)
LOAD = table(
    "agent_load",
    column("agent", Text),
    column("team", Text),
    column("open", Integer),
    column("capacity", Integer),
    column("available", Boolean),
    column("last_assigned", DateTime(timezone=True)),
)
QUEUE = TeamQueue.table

QUEUE_ACCESS = AccessColumns(team=QUEUE.c.team, assignee=QUEUE.c.agent)
AGENT_ACCESS = AccessColumns(team=LOAD.c.team, assignee=LOAD.c.agent)

HELD_MAX = 200
"""How much of an agent's work one answer shows."""

_OPEN = sorted(status.value for status in OPEN)
_LEAST_URGENT = 9
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_URGENCY = func.coalesce(QUEUE.c.priority, _LEAST_URGENT)
_SUBMITTED = func.coalesce(QUEUE.c.submitted_at, _NEVER)
_AGENTS = select(
    STREAMS.c.stream, STREAMS.c.version, STREAMS.c.state, LOAD.c.agent, LOAD.c.open
).join_from(LOAD, STREAMS, STREAMS.c.stream == "agent/" + LOAD.c.agent)

QUEUE_CURSOR: tuple[type[Any], ...] = (int, datetime, str)


def queue(
    scope: ColumnElement[bool],
    team: str,
    *,
    status: str | None,
    agent: str | None,
    origin: str | None,
    after: Sequence[Any] | None,
    limit: int,
) -> Select[Any]:
    """Return the statement for a page of a team's work, the most urgent and oldest first."""
    statement = select(QUEUE).where(scope, QUEUE.c.team == team, QUEUE.c.closed_at.is_(None))
    statement = statement.where(
        QUEUE.c.status.in_(_OPEN) if status is None else QUEUE.c.status == status
    )
    if agent is not None:
        statement = statement.where(QUEUE.c.agent == agent)
    if origin is not None:
        statement = statement.where(QUEUE.c.origin == origin)
    if after is not None:
        place = tuple_(
            literal(after[0], Integer),
            literal(after[1], DateTime(timezone=True)),
            cast(literal(after[2], Text), Uuid),
        )
        statement = statement.where(tuple_(_URGENCY, _SUBMITTED, QUEUE.c.key) > place)
    return statement.order_by(_URGENCY, _SUBMITTED, QUEUE.c.key).limit(limit)


def queue_place(row: Any) -> list[Any]:
    """Return the place of a row in its queue, for the cursor after it."""
    return [
        _LEAST_URGENT if row["priority"] is None else row["priority"],
        row["submitted_at"] or _NEVER,
        str(row["key"]),
    ]


def queued_request(request_id: UUID) -> Select[Any, Any]:
    """Return the statement for what the request of a work order says about its urgency."""
    return select(QUEUE.c.number, QUEUE.c.priority).where(QUEUE.c.key == request_id)


def held(scope: ColumnElement[bool], agent: str) -> Select[Any]:
    """Return the statement for the live work that an agent holds, the most urgent first."""
    return (
        select(QUEUE)
        .where(scope, QUEUE.c.agent == agent)
        .where(QUEUE.c.status.in_(_OPEN), QUEUE.c.origin == "live")
        .order_by(_URGENCY, _SUBMITTED, QUEUE.c.key)
        .limit(HELD_MAX)
    )


def load(scope: ColumnElement[bool], agent: str) -> Select[Any]:
    """Return the statement for the load of one registered agent."""
    return select(LOAD).where(scope, LOAD.c.agent == agent, LOAD.c.team.is_not(None))


def agents(
    scope: ColumnElement[bool], *, team: str | None, after: str | None, limit: int
) -> Select[Any, Any, Any, Any, Any]:
    """Return the statement for a page of registered agents, by id."""
    statement = _AGENTS.where(scope)
    if team is not None:
        statement = statement.where(LOAD.c.team == team)
    if after is not None:
        statement = statement.where(LOAD.c.agent > after)
    return statement.order_by(LOAD.c.agent).limit(limit)


def agent(scope: ColumnElement[bool], agent: str) -> Select[Any, Any, Any, Any, Any]:
    """Return the statement for one registered agent."""
    return _AGENTS.where(scope, LOAD.c.agent == agent)


def teams(scope: ColumnElement[bool], *, after: str | None, limit: int) -> Select[Any]:
    """Return the statement for a page of teams, by id."""
    statement = select(STREAMS).where(scope, STREAMS.c.stream.like("team/%"))
    if after is not None:
        statement = statement.where(STREAMS.c.stream > after)
    return statement.order_by(STREAMS.c.stream).limit(limit)
