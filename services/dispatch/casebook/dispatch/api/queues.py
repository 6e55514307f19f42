"""What lies with a team, and what an agent holds (handbook 2.2, 2.3)."""

from typing import Annotated

from fastapi import APIRouter, Query

from casebook.dispatch.api import statements
from casebook.dispatch.api.parameters import AgentId, AnyTeam, QueueQuery
from casebook.dispatch.api.views import AgentLoad, QueueEntry, QueuePage
from casebook.kit.decider import Access
from casebook.kit.http.exchange import Exchange, operation
from casebook.kit.http.pagination import decode_cursor, encode_cursor
from casebook.kit.http.problems import PROBLEM_RESPONSES, Problem

router = APIRouter(tags=["queues"])


@router.get("/queues/{team}", operation_id="getTeamQueue", responses=PROBLEM_RESPONSES)
async def get_team_queue(
    team: AnyTeam,
    exchange: Annotated[Exchange, operation("queue.read")],
    wanted: Annotated[QueueQuery, Query()],
) -> QueuePage:
    """List the open work of a team, the most urgent and then the oldest first."""
    exchange.check(Access(team=team))
    after = None
    if wanted.cursor is not None:
        after = decode_cursor(wanted.cursor, statements.QUEUE_CURSOR)
    rows = await exchange.fetch(
        statements.queue(
            exchange.scope(statements.QUEUE_ACCESS),
            team,
            status=wanted.status,
            agent=wanted.agent,
            origin=wanted.origin,
            after=after,
            limit=wanted.limit + 1,
        )
    )
    page = rows[: wanted.limit]
    more = len(rows) > wanted.limit
    return QueuePage(
        items=[QueueEntry.of(row) for row in page],
        next_cursor=encode_cursor(statements.queue_place(page[-1])) if more else None,
    )


@router.get("/agents/{agent}/load", operation_id="getAgentLoad", responses=PROBLEM_RESPONSES)
async def get_agent_load(
    agent: AgentId, exchange: Annotated[Exchange, operation("agent.load")]
) -> AgentLoad:
    """Read how much an agent holds open and can, and what of it one may see.

    ``open_items`` counts all of it, because it is what the capacity is compared with.
    """
    scope = exchange.scope(statements.AGENT_ACCESS)
    rows = await exchange.fetch(statements.load(scope, agent))
    if not rows:
        raise Problem(404)
    work = await exchange.fetch(statements.held(exchange.scope(statements.QUEUE_ACCESS), agent))
    return AgentLoad(
        agent=agent,
        team=rows[0]["team"],
        capacity=rows[0]["capacity"],
        available=rows[0]["available"],
        open_items=rows[0]["open"],
        last_assigned=rows[0]["last_assigned"],
        work=[QueueEntry.of(row) for row in work],
    )
