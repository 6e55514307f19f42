"""What a client gets: work orders, queues, teams and agents, with text as plain text."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from casebook.dispatch.domain.agent import Agent
from casebook.dispatch.domain.team import Team
from casebook.dispatch.domain.work_order import WorkOrder
from casebook.events.values import DefinitionReference
from casebook.events.work_order import AssignmentExplanation
from casebook.kit.http.pagination import Page

ID = "0197a3c2-7d1e-7a60-8f3e-2b1c5d4e6f70"
MOMENT = "2026-03-02T08:00:00Z"
_EXPLANATION: dict[str, Any] = {
    "policy": {"id": "matching", "version": 1},
    "considered": 3,
    "excluded": {"at-capacity": 1, "unavailable": 1},
    "candidates": [
        {
            "agent": "li.na",
            "open_items": 1,
            "capacity": 4,
            "load_thousandths": 250,
            "surplus_level": 0,
            "last_assigned": "2026-03-02T07:12:00.000000Z",
        }
    ],
}
_WORK_ORDER: dict[str, Any] = {
    "request_id": ID,
    "status": "assigned",
    "origin": "live",
    "team": "network",
    "agent": "li.na",
    "skill": "networking",
    "skill_level": 3,
    "routing": {"id": "routing", "version": 1},
    "explanation": _EXPLANATION,
    "opened_at": MOMENT,
    "assigned_at": MOMENT,
}
_QUEUED: dict[str, Any] = {
    "request_id": ID,
    "number": "REQ0000001",
    "kind": "incident",
    "service": "mail",
    "priority": 2,
    "problem_type": "infrastructure-maintenance",
    "category": "network",
    "status": "queued",
    "status_since": MOMENT,
    "origin": "live",
    "team": "network",
    "submitted_at": MOMENT,
}
_AGENT: dict[str, Any] = {
    "agent": "li.na",
    "team": "network",
    "capacity": 4,
    "available": True,
    "skills": {"networking": 3},
}
_AGENT_ENTRY: dict[str, Any] = _AGENT | {"name": "李娜", "open_items": 2, "version": 3}


class View(BaseModel):
    """Something that a client reads."""

    model_config = ConfigDict(frozen=True)


class WorkOrderView(View):
    """Where a work order stands; its text is read with the work order itself."""

    model_config = ConfigDict(json_schema_extra={"example": _WORK_ORDER})
    request_id: UUID
    status: str = Field(
        description="queued, assigned, accepted, in-progress, waiting, resolved or cancelled"
    )
    origin: str = Field(description="live, or observed in another system")
    team: str | None
    agent: str | None
    skill: str | None = Field(default=None, description="What the routing asks of an agent")
    skill_level: int | None = None
    routing: DefinitionReference | None = None
    explanation: AssignmentExplanation | None = Field(
        default=None, description="Why matching chose this agent; it can be recomputed from this"
    )
    excluded: dict[str, int] | None = Field(
        default=None, description="While nobody can take it: the agents of the team by reason"
    )
    waiting_reason: str | None = None
    resolution_code: str | None = None
    opened_at: datetime | None = None
    assigned_at: datetime | None = None
    accepted_at: datetime | None = None
    started_at: datetime | None = None
    resolved_at: datetime | None = None

    @classmethod
    def of(cls, stream: str, version: int, order: WorkOrder) -> "WorkOrderView":
        """Return the view of a work order's stream."""
        return cls(**work_order_fields(stream, order))


class WorkOrderDetail(WorkOrderView):
    """A work order with its text and, for now only, what its request says about its urgency."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": _WORK_ORDER
            | {"number": "REQ0000001", "priority": 2, "resolution_summary": None}
        }
    )
    number: str | None = None
    priority: int | None = None
    resolution_summary: str | None = None


class QueueEntry(View):
    """The work of one request in a team's queue."""

    model_config = ConfigDict(json_schema_extra={"example": _QUEUED})
    request_id: UUID
    number: str | None
    kind: str | None
    service: str | None
    priority: int | None
    problem_type: str | None
    category: str | None
    status: str
    status_since: datetime | None
    waiting_reason: str | None = None
    origin: str
    team: str | None
    agent: str | None = None
    submitted_at: datetime | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "QueueEntry":
        """Return the entry of a row of the projection."""
        names = cls.model_fields.keys() - {"request_id"}
        return cls(request_id=row["key"], **{name: row[name] for name in names})


class QueuePage(Page[QueueEntry]):
    """A page of a queue, the most urgent first."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"items": [_QUEUED], "next_cursor": None}}
    )


class TeamView(View):
    """A team."""

    model_config = ConfigDict(json_schema_extra={"example": {"team": "network", "name": "网络组"}})
    team: str
    name: str

    @classmethod
    def of(cls, stream: str, version: int, team: Team) -> "TeamView":
        """Return the view of a team's stream."""
        return cls(team=team.team or stream.rpartition("/")[2], name=team.name)


class TeamPage(Page[TeamView]):
    """A page of the teams, by id."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"items": [{"team": "network", "name": "网络组"}], "next_cursor": None}
        }
    )


class AgentView(View):
    """An agent; their name is read with the agent."""

    model_config = ConfigDict(json_schema_extra={"example": _AGENT})
    agent: str
    team: str | None
    capacity: int
    available: bool
    skills: dict[str, int]

    @classmethod
    def of(cls, stream: str, version: int, agent: Agent) -> "AgentView":
        """Return the view of an agent's stream."""
        return cls(**agent_fields(stream, agent))


class AgentEntry(AgentView):
    """An agent with their name and what they hold."""

    model_config = ConfigDict(json_schema_extra={"example": _AGENT_ENTRY})
    name: str | None
    open_items: int
    version: int = Field(description="Of the agent's stream: the number in their ETag")


class AgentPage(Page[AgentEntry]):
    """A page of the agents, by id."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"items": [_AGENT_ENTRY], "next_cursor": None}}
    )


class AgentLoad(View):
    """What an agent holds open, the most urgent first."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "agent": "li.na",
                "team": "network",
                "capacity": 4,
                "available": True,
                "open_items": 1,
                "last_assigned": MOMENT,
                "work": [_QUEUED | {"status": "assigned", "agent": "li.na"}],
            }
        }
    )
    agent: str
    team: str | None
    capacity: int
    available: bool
    open_items: int
    last_assigned: datetime | None
    work: list[QueueEntry] = Field(description="At most 200, as far as the log has told")


def work_order_fields(stream: str, order: WorkOrder) -> dict[str, Any]:
    """Return what a state says of a work order, but for its text."""
    return {
        "request_id": UUID(stream.rpartition("/")[2]),
        "status": order.status.value,
        "origin": order.origin,
        "team": order.team,
        "agent": order.agent,
        "skill": order.skill,
        "skill_level": order.skill_level,
        "routing": order.routing,
        "explanation": order.explanation,
        "excluded": None if order.excluded is None else dict(order.excluded),
        "waiting_reason": order.waiting_reason,
        "resolution_code": order.resolution_code,
        "opened_at": order.opened_at,
        "assigned_at": order.assigned_at,
        "accepted_at": order.accepted_at,
        "started_at": order.started_at,
        "resolved_at": order.resolved_at,
    }


def agent_fields(stream: str, agent: Agent) -> dict[str, Any]:
    """Return what a state says of an agent, but for their name."""
    return {
        "agent": agent.agent or stream.rpartition("/")[2],
        "team": agent.team,
        "capacity": agent.capacity,
        "available": agent.available,
        "skills": dict(agent.skills),
    }
