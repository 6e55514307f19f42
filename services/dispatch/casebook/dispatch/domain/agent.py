"""Agents: who can do the work, with skills and capacity (handbook 2.2, 4.4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from casebook.events.envelope import Envelope
from casebook.events.workforce import (
    AgentAvailabilityChanged,
    AgentCapacityChanged,
    AgentEvent,
    AgentRegistered,
    AgentSkillGranted,
    AgentTeamChanged,
)
from casebook.kit.decider import Access, Refused, SealedText, sealed_text


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as their facts tell it; without an id they are not registered yet."""

    agent: str | None = None
    name: SealedText | None = None
    team: str | None = None
    capacity: int = 0
    available: bool = True
    skills: Mapping[str, int] = field(default_factory=dict[str, int])


def access(agent: Agent) -> Access:
    """Return whose data it is: the agent's own, and their team's."""
    return Access(team=agent.team, assignee=agent.agent)


def register(
    agent: Agent,
    *,
    agent_id: str,
    name: str | None = None,
    team: str,
    capacity: int,
    skills: Mapping[str, int],
    available: bool = True,
) -> list[AgentEvent]:
    """Make somebody an agent of a team; ``capacity`` is how many open work orders they can hold.

    The id is the subject of their token. Later changes have commands of their own. A lead is an
    agent too, of the team they lead, and need not be available for work.

    :raises Refused: ``agent-exists`` with other properties.
    """
    if agent.agent is not None:
        registered = (agent.team, agent.capacity, dict(agent.skills), agent.available)
        if registered != (team, capacity, dict(skills), available):
            raise Refused("agent-exists", "the agent is registered with other properties")
        return []
    return [
        AgentRegistered(agent=agent_id, name=name, team=team, capacity=capacity),
        *(AgentSkillGranted(skill=skill, level=level) for skill, level in sorted(skills.items())),
        *([] if available else [AgentAvailabilityChanged(available=False)]),
    ]


def grant_skill(agent: Agent, *, skill: str, level: int) -> list[AgentEvent]:
    """Say how well the agent masters a skill, 1 to 5.

    :raises Refused: ``agent-unknown``.
    """
    _ensure_registered(agent)
    if agent.skills.get(skill) == level:
        return []
    return [AgentSkillGranted(skill=skill, level=level)]


def change_capacity(agent: Agent, *, capacity: int) -> list[AgentEvent]:
    """Say how many open work orders the agent can hold; what they hold already stays.

    :raises Refused: ``agent-unknown``.
    """
    _ensure_registered(agent)
    return [] if agent.capacity == capacity else [AgentCapacityChanged(capacity=capacity)]


def change_team(agent: Agent, *, team: str) -> list[AgentEvent]:
    """Move the agent to another team.

    :raises Refused: ``agent-unknown``.
    """
    _ensure_registered(agent)
    return [] if agent.team == team else [AgentTeamChanged(team=team)]


def change_availability(agent: Agent, *, available: bool) -> list[AgentEvent]:
    """Say whether the agent takes new work; what they hold already stays.

    :raises Refused: ``agent-unknown``.
    """
    _ensure_registered(agent)
    return [] if agent.available == available else [AgentAvailabilityChanged(available=available)]


def guard(agent: Agent, event: AgentEvent) -> None:
    """Refuse a published fact that the rules of the commands do not allow.

    :raises Refused: ``agent-exists`` or ``agent-unknown``.
    """
    if not isinstance(event, AgentRegistered):
        _ensure_registered(agent)
    elif agent.agent is not None:
        raise Refused("agent-exists", "the agent was registered before")


def evolve(agent: Agent, event: AgentEvent, envelope: Envelope) -> Agent:
    """Return the agent after ``event``; total, and never refuses."""
    match event:
        case AgentRegistered():
            return replace(
                agent,
                agent=event.agent,
                name=sealed_text(event.name, envelope, "name"),
                team=event.team,
                capacity=event.capacity,
            )
        case AgentSkillGranted():
            return replace(agent, skills={**agent.skills, event.skill: event.level})
        case AgentCapacityChanged():
            return replace(agent, capacity=event.capacity)
        case AgentTeamChanged():
            return replace(agent, team=event.team)
        case AgentAvailabilityChanged():
            return replace(agent, available=event.available)
        case _:
            assert_never(event)


def _ensure_registered(agent: Agent) -> None:
    if agent.agent is None:
        raise Refused("agent-unknown", "nobody is registered under this id")
