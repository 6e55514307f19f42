"""Facts about teams and agents, written by dispatch (handbook 2.2, 4.4)."""

from typing import Annotated, ClassVar

from pydantic import Field

from casebook.events.event import Event
from casebook.events.values import Flag, Label, Score, SecretTitle

Capacity = Annotated[int, Field(strict=True, ge=1, le=1000)]


class TeamCreated(Event):
    """A team exists; requests can be routed to it."""

    type: ClassVar[str] = "casebook.team.created.v1"
    family: ClassVar[str] = "team"
    team: Label
    name: Label


TeamEvent = TeamCreated


class _Agent(Event):
    family: ClassVar[str] = "agent"


class AgentRegistered(_Agent):
    """An agent exists: the subject of their token, their team, how much they can hold open."""

    type: ClassVar[str] = "casebook.agent.registered.v1"
    agent: Label
    name: SecretTitle | None = None
    team: Label
    capacity: Capacity


class AgentSkillGranted(_Agent):
    """The agent has this skill at this level, 1 to 5."""

    type: ClassVar[str] = "casebook.agent.skill-granted.v1"
    skill: Label
    level: Score


class AgentCapacityChanged(_Agent):
    """The agent can hold this many open work orders."""

    type: ClassVar[str] = "casebook.agent.capacity-changed.v1"
    capacity: Capacity


class AgentTeamChanged(_Agent):
    """The agent works in another team."""

    type: ClassVar[str] = "casebook.agent.team-changed.v1"
    team: Label


class AgentAvailabilityChanged(_Agent):
    """The agent takes new work, or for now takes none."""

    type: ClassVar[str] = "casebook.agent.availability-changed.v1"
    available: Flag


AgentEvent = (
    AgentRegistered
    | AgentSkillGranted
    | AgentCapacityChanged
    | AgentTeamChanged
    | AgentAvailabilityChanged
)
