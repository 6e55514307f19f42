"""The work order: the effort that a request needs, folded from its facts (handbook 2.2, 2.3).

History that another system published may come in any order, so folding never refuses; the rules
are in :mod:`casebook.dispatch.domain.assignment` and :mod:`casebook.dispatch.domain.handling`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from casebook.events.envelope import Envelope
from casebook.events.values import DefinitionReference
from casebook.events.work_order import (
    AssignmentExplanation,
    WorkOrderAccepted,
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderCancelled,
    WorkOrderCausingChangeLinked,
    WorkOrderChangeLinked,
    WorkOrderEvent,
    WorkOrderNoted,
    WorkOrderOpened,
    WorkOrderQueued,
    WorkOrderReassignedToAgent,
    WorkOrderReassignedToTeam,
    WorkOrderReleased,
    WorkOrderReopened,
    WorkOrderRequirementChanged,
    WorkOrderResolutionAmended,
    WorkOrderResolved,
    WorkOrderResumed,
    WorkOrderReturnedToQueue,
    WorkOrderStarted,
    WorkOrderVendorInvolved,
    WorkOrderWaitingEnded,
    WorkOrderWaitingStarted,
)
from casebook.kit.decider import Access, SealedText, StoredMoment, sealed_text

# One width for every moment, so that moments as text sort like moments.


class Status(StrEnum):
    """How far the work is; whether the customer agrees is intake's to say."""

    UNKNOWN = "unknown"
    QUEUED = "queued"
    ASSIGNED = "assigned"
    ACCEPTED = "accepted"
    IN_PROGRESS = "in-progress"
    WAITING = "waiting"
    RESOLVED = "resolved"
    CANCELLED = "cancelled"


OPEN = frozenset(
    {Status.QUEUED, Status.ASSIGNED, Status.ACCEPTED, Status.IN_PROGRESS, Status.WAITING}
)
"""Work that somebody still has to do."""

UNTAKEN = frozenset({Status.QUEUED, Status.ASSIGNED})
"""Work that nobody has accepted."""

TAKEN = frozenset({Status.ACCEPTED, Status.IN_PROGRESS, Status.WAITING})
"""Work that an agent has accepted and not finished."""


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """A work order as its facts tell it; ``origin`` becomes live with the first live fact.

    ``excluded`` is why nobody could take it when it was last tried, agents by reason.
    """

    status: Status = Status.UNKNOWN
    origin: str = "observed"
    team: str | None = None
    had_team: bool = False
    agent: str | None = None
    skill: str | None = None
    skill_level: int | None = None
    priority: int | None = None
    routing: DefinitionReference | None = None
    explanation: AssignmentExplanation | None = None
    excluded: Mapping[str, int] | None = None
    waiting_reason: str | None = None
    resolution_code: str | None = None
    resolution_summary: SealedText | None = None
    opened_at: StoredMoment | None = None
    assigned_at: StoredMoment | None = None
    accepted_at: StoredMoment | None = None
    started_at: StoredMoment | None = None
    resolved_at: StoredMoment | None = None
    updated_at: StoredMoment | None = None

    @property
    def live(self) -> bool:
        """Say whether people act on it here, rather than in the system it was observed in."""
        return self.origin == "live"


def access(order: WorkOrder) -> Access:
    """Return whose work it is."""
    return Access(team=order.team, assignee=order.agent)


def holder(order: WorkOrder) -> str | None:
    """Return the agent whose capacity this work takes up; observed history takes up none."""
    return order.agent if order.live and order.status in OPEN else None


def evolve(order: WorkOrder, event: WorkOrderEvent, envelope: Envelope) -> WorkOrder:
    """Return the work order after ``event``; total, and never refuses."""
    if order.status is Status.UNKNOWN:
        order = replace(order, status=Status.QUEUED, opened_at=envelope.time)
    return replace(
        _changed(order, event, envelope),
        origin="live" if envelope.origin == "live" else order.origin,
        updated_at=envelope.time,
    )


def _changed(order: WorkOrder, event: WorkOrderEvent, envelope: Envelope) -> WorkOrder:
    match event:
        case WorkOrderOpened():
            return replace(order, opened_at=envelope.time)
        case WorkOrderAssignedToTeam() | WorkOrderReassignedToTeam() | WorkOrderReturnedToQueue():
            return _team_changed(order, event)
        case WorkOrderRequirementChanged():
            return _required(order, event)
        case WorkOrderQueued():
            return replace(order, excluded=event.excluded)
        case WorkOrderAssignedToAgent() | WorkOrderReassignedToAgent() | WorkOrderReleased():
            return _agent_changed(order, event, envelope)
        case WorkOrderAccepted():
            return replace(
                order, status=Status.ACCEPTED, agent=event.agent, accepted_at=envelope.time
            )
        case WorkOrderStarted() | WorkOrderResumed():
            return replace(
                order,
                status=Status.IN_PROGRESS,
                waiting_reason=None,
                started_at=order.started_at or envelope.time,
            )
        case WorkOrderWaitingStarted():
            return replace(order, status=Status.WAITING, waiting_reason=event.reason)
        case WorkOrderWaitingEnded():
            return _waiting_ended(order)
        case WorkOrderResolved() | WorkOrderResolutionAmended():
            return replace(
                order,
                status=Status.RESOLVED,
                waiting_reason=None,
                resolution_code=event.code,
                resolution_summary=sealed_text(event.summary, envelope, "summary"),
                resolved_at=envelope.time,
            )
        case WorkOrderReopened():
            return _reopened(order)
        case WorkOrderCancelled():
            return replace(order, status=Status.CANCELLED, waiting_reason=None)
        case (
            WorkOrderNoted()
            | WorkOrderChangeLinked()
            | WorkOrderVendorInvolved()
            | WorkOrderCausingChangeLinked()
        ):
            return order
        case _:
            assert_never(event)


def _team_changed(
    order: WorkOrder,
    event: WorkOrderAssignedToTeam | WorkOrderReassignedToTeam | WorkOrderReturnedToQueue,
) -> WorkOrder:
    """Take over the team with what it needs of an agent; the agent, if any, is left alone."""
    if isinstance(event, WorkOrderReturnedToQueue):
        return replace(order, team=None, routing=None, skill=None, skill_level=None, excluded=None)
    priority = event.priority if isinstance(event, WorkOrderAssignedToTeam) else None
    return replace(
        _required(order, event),
        team=event.team,
        had_team=True,
        priority=priority or order.priority,
    )


def _required(
    order: WorkOrder,
    event: WorkOrderAssignedToTeam | WorkOrderReassignedToTeam | WorkOrderRequirementChanged,
) -> WorkOrder:
    """Take over what the work needs of an agent; whom that excludes is not known yet."""
    return replace(
        order,
        routing=event.routing,
        skill=event.skill,
        skill_level=event.skill_level,
        excluded=None,
    )


def _agent_changed(
    order: WorkOrder,
    event: WorkOrderAssignedToAgent | WorkOrderReassignedToAgent | WorkOrderReleased,
    envelope: Envelope,
) -> WorkOrder:
    """Take over the agent, or that there is none."""
    agent = None if isinstance(event, WorkOrderReleased) else event.agent
    order = replace(
        order,
        agent=agent,
        explanation=event.explanation if isinstance(event, WorkOrderAssignedToAgent) else None,
        excluded=None,
        assigned_at=None if agent is None else envelope.time,
    )
    # Here whoever gets work has to accept it. Another system's state does not depend on the
    # person: what it has in progress stays in progress when the person changes.
    if order.status in UNTAKEN or (order.status in OPEN and envelope.origin == "live"):
        return replace(
            order,
            status=_without_acceptance(agent),
            waiting_reason=None,
            accepted_at=None,
        )
    return order


def _waiting_ended(order: WorkOrder) -> WorkOrder:
    """Leave the wait for where the work was before it began; another fact may say more."""
    if order.status is not Status.WAITING:
        return replace(order, waiting_reason=None)
    status = _without_acceptance(order.agent)
    if order.agent is not None and order.accepted_at is not None:
        status = Status.ACCEPTED if order.started_at is None else Status.IN_PROGRESS
    return replace(order, status=status, waiting_reason=None)


def _reopened(order: WorkOrder) -> WorkOrder:
    """Open the work again; what it was resolved with no longer holds."""
    return replace(
        order,
        status=_without_acceptance(order.agent),
        waiting_reason=None,
        accepted_at=None,
        resolved_at=None,
        resolution_code=None,
        resolution_summary=None,
    )


def _without_acceptance(agent: str | None) -> Status:
    """Return the status of open work that nobody has accepted."""
    return Status.QUEUED if agent is None else Status.ASSIGNED
