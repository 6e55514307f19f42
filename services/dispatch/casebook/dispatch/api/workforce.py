"""Teams and agents: who there is, what they can do, and how much (handbook 2.2, 4.4)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import TypeAdapter

from casebook.dispatch.api import statements
from casebook.dispatch.api.bodies import (
    AgentBody,
    AgentTeamBody,
    AvailabilityBody,
    CapacityBody,
    SkillBody,
    TeamBody,
)
from casebook.dispatch.api.handling import COMMAND_RESPONSES, CREATE_RESPONSES
from casebook.dispatch.api.parameters import AgentId, AgentQuery, PageQuery, SkillName, TeamId
from casebook.dispatch.api.views import (
    AgentEntry,
    AgentPage,
    AgentView,
    TeamPage,
    TeamView,
    agent_fields,
)
from casebook.dispatch.domain import agent as agents
from casebook.dispatch.domain import team as teams
from casebook.dispatch.domain.agent import Agent
from casebook.dispatch.domain.team import Team
from casebook.kit.access.policy import AccessColumns
from casebook.kit.http.commands import version_headers
from casebook.kit.http.exchange import Exchange, operation
from casebook.kit.http.openapi_details import VERSIONED
from casebook.kit.http.pagination import decode_cursor, encode_cursor
from casebook.kit.http.problems import PROBLEM_RESPONSES, Problem

router = APIRouter(tags=["teams and agents"])
_AGENTS, _TEAMS = TypeAdapter(Agent), TypeAdapter(Team)

Changing = Annotated[Exchange, operation("agent.change")]


@router.put(
    "/teams/{team}",
    operation_id="createTeam",
    response_model=TeamView,
    responses=CREATE_RESPONSES,
)
async def create_team(
    team: TeamId, body: TeamBody, exchange: Annotated[Exchange, operation("team.create")]
) -> Response:
    """Set up a team; the same team again changes nothing."""
    return await exchange.run(
        f"team/{team}",
        lambda state, now: teams.create(state, team_id=team, name=body.name),
        respond=TeamView.of,
        creates=True,
    )


@router.get("/teams", operation_id="listTeams", responses=PROBLEM_RESPONSES)
async def list_teams(
    exchange: Annotated[Exchange, operation("team.read")], wanted: Annotated[PageQuery, Query()]
) -> TeamPage:
    """List the teams by id."""
    after = None if wanted.cursor is None else str(decode_cursor(wanted.cursor, (str,))[0])
    scope = exchange.scope(AccessColumns())
    rows = await exchange.fetch(statements.teams(scope, after=after, limit=wanted.limit + 1))
    page = rows[: wanted.limit]
    return TeamPage(
        items=[
            TeamView.of(row["stream"], row["version"], _TEAMS.validate_python(row["state"]))
            for row in page
        ],
        next_cursor=encode_cursor([page[-1]["stream"]]) if len(rows) > wanted.limit else None,
    )


@router.put(
    "/agents/{agent}",
    operation_id="registerAgent",
    response_model=AgentView,
    responses=CREATE_RESPONSES,
)
async def register_agent(
    agent: AgentId, body: AgentBody, exchange: Annotated[Exchange, operation("agent.register")]
) -> Response:
    """Make somebody an agent of a team; the same registration again changes nothing."""
    return await exchange.run(
        f"agent/{agent}",
        lambda state, now: agents.register(
            state,
            agent_id=agent,
            name=body.name,
            team=body.team,
            capacity=body.capacity,
            skills=body.skills,
            available=body.available,
        ),
        respond=AgentView.of,
        creates=True,
    )


@router.get("/agents", operation_id="listAgents", responses=PROBLEM_RESPONSES)
async def list_agents(
    exchange: Annotated[Exchange, operation("agent.read")], wanted: Annotated[AgentQuery, Query()]
) -> AgentPage:
    """List the agents one may see by id, with what they hold."""
    after = None if wanted.cursor is None else str(decode_cursor(wanted.cursor, (str,))[0])
    rows = await exchange.fetch(
        statements.agents(
            exchange.scope(statements.AGENT_ACCESS),
            team=wanted.team,
            after=after,
            limit=wanted.limit + 1,
        )
    )
    page = rows[: wanted.limit]
    return AgentPage(
        items=await _entries(exchange, page),
        next_cursor=encode_cursor([page[-1]["agent"]]) if len(rows) > wanted.limit else None,
    )


@router.get("/agents/{agent}", operation_id="getAgent", responses=PROBLEM_RESPONSES | VERSIONED)
async def get_agent(
    agent: AgentId,
    exchange: Annotated[Exchange, operation("agent.read")],
    response: Response,
) -> AgentEntry:
    """Read an agent, with what they hold and the ETag that changing them needs."""
    rows = await exchange.fetch(statements.agent(exchange.scope(statements.AGENT_ACCESS), agent))
    if not rows:
        raise Problem(404)
    [entry] = await _entries(exchange, rows)
    response.headers.update(version_headers(f"agent/{agent}", entry.version))
    return entry


@router.put(
    "/agents/{agent}/skills/{skill}",
    operation_id="grantSkill",
    response_model=AgentView,
    responses=COMMAND_RESPONSES,
)
async def grant_skill(
    agent: AgentId, skill: SkillName, body: SkillBody, exchange: Changing
) -> Response:
    """Say how well an agent masters a skill."""
    return await exchange.run(
        f"agent/{agent}",
        lambda state, now: agents.grant_skill(state, skill=skill, level=body.level),
        respond=AgentView.of,
    )


@router.put(
    "/agents/{agent}/capacity",
    operation_id="changeCapacity",
    response_model=AgentView,
    responses=COMMAND_RESPONSES,
)
async def change_capacity(agent: AgentId, body: CapacityBody, exchange: Changing) -> Response:
    """Say how many open work orders an agent can hold; what they hold already stays."""
    return await exchange.run(
        f"agent/{agent}",
        lambda state, now: agents.change_capacity(state, capacity=body.capacity),
        respond=AgentView.of,
    )


@router.put(
    "/agents/{agent}/team",
    operation_id="changeTeam",
    response_model=AgentView,
    responses=COMMAND_RESPONSES,
)
async def change_team(agent: AgentId, body: AgentTeamBody, exchange: Changing) -> Response:
    """Move an agent who holds no open work to another team."""
    return await exchange.run(
        f"agent/{agent}",
        lambda state, now: agents.change_team(state, team=body.team),
        respond=AgentView.of,
    )


@router.put(
    "/agents/{agent}/availability",
    operation_id="changeAvailability",
    response_model=AgentView,
    responses=COMMAND_RESPONSES,
)
async def change_availability(
    agent: AgentId, body: AvailabilityBody, exchange: Changing
) -> Response:
    """Say whether an agent takes new work; what they hold already stays."""
    return await exchange.run(
        f"agent/{agent}",
        lambda state, now: agents.change_availability(state, available=body.available),
        respond=AgentView.of,
    )


async def _entries(exchange: Exchange, rows: Sequence[Mapping[str, Any]]) -> list[AgentEntry]:
    """Return the agents of rows, with their names as plain text."""
    states = [_AGENTS.validate_python(row["state"]) for row in rows]
    names = await exchange.open([state.name for state in states])
    return [
        AgentEntry(
            **agent_fields(row["stream"], state),
            name=name,
            open_items=row["open"],
            version=row["version"],
        )
        for row, state, name in zip(rows, states, names, strict=True)
    ]
