"""Facts about work orders, teams and agents, written by dispatch (handbook 2.2, 2.3)."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from casebook.events.event import Audience, Event
from casebook.events.values import (
    COUNT_MAX,
    Count,
    DefinitionReference,
    Flag,
    Label,
    Priority,
    Score,
    SecretText,
    safe_text,
)


class _WorkOrder(Event):
    family: ClassVar[str] = "work-order"


class WorkOrderOpened(_WorkOrder):
    """A request needs work; its effort is counted here."""

    type: ClassVar[str] = "casebook.work-order.opened.v1"


class WorkOrderAssignedToTeam(_WorkOrder):
    """The work order came to a team from none; ``initial`` when it is the first of all."""

    type: ClassVar[str] = "casebook.work-order.assigned-to-team.v1"
    audience: ClassVar[Audience] = "customer"
    team: Label
    initial: Flag
    routing: DefinitionReference | None = None
    skill: Label | None = None
    skill_level: Score | None = None
    priority: Priority | None = None
    reason: SecretText | None = None


class WorkOrderReassignedToTeam(_WorkOrder):
    """The work order went from one team to another."""

    type: ClassVar[str] = "casebook.work-order.reassigned-to-team.v1"
    audience: ClassVar[Audience] = "customer"
    team: Label
    reason: SecretText | None = None
    routing: DefinitionReference | None = None
    skill: Label | None = None
    skill_level: Score | None = None


class WorkOrderRequirementChanged(_WorkOrder):
    """The classification was corrected: the same team has it, but it takes another skill."""

    type: ClassVar[str] = "casebook.work-order.requirement-changed.v1"
    routing: DefinitionReference | None = None
    skill: Label | None = None
    skill_level: Score | None = None


class WorkOrderReturnedToQueue(_WorkOrder):
    """The work order has no team any more."""

    type: ClassVar[str] = "casebook.work-order.returned-to-queue.v1"


class WorkOrderQueued(_WorkOrder):
    """Nobody in the team could take it; ``excluded`` counts the agents by reason."""

    type: ClassVar[str] = "casebook.work-order.queued.v1"
    excluded: Annotated[dict[Label, Count], Field(max_length=20)]


class Candidate(BaseModel):
    """One agent as the assignment saw them, with every term of the choice.

    ``load`` is open items / capacity in thousandths, ``surplus_level`` the skill level above
    what is required, ``last_assigned`` the RFC 3339 time of the last assignment, or empty.
    """

    model_config = ConfigDict(frozen=True)
    agent: Label
    open_items: Count
    capacity: Annotated[int, Field(strict=True, ge=1, le=COUNT_MAX)]
    load_thousandths: Count
    surplus_level: Count
    last_assigned: Annotated[str, Field(max_length=40), AfterValidator(safe_text)] = ""


class AssignmentExplanation(BaseModel):
    """Why this agent: the policy, how many were considered and excluded, the best five.

    ``candidates`` are in the order of the policy, so the first one is the choice; it can be
    recomputed from this value alone.
    """

    model_config = ConfigDict(frozen=True)
    policy: DefinitionReference
    considered: Count
    excluded: Annotated[dict[Label, Count], Field(max_length=20)]
    candidates: Annotated[tuple[Candidate, ...], Field(max_length=5)]


class WorkOrderAssignedToAgent(_WorkOrder):
    """An agent got the work order."""

    type: ClassVar[str] = "casebook.work-order.assigned-to-agent.v1"
    audience: ClassVar[Audience] = "customer"
    agent: Label
    explanation: AssignmentExplanation | None = None
    reason: SecretText | None = None


class WorkOrderReassignedToAgent(_WorkOrder):
    """The work order went from one agent to another."""

    type: ClassVar[str] = "casebook.work-order.reassigned-to-agent.v1"
    audience: ClassVar[Audience] = "customer"
    agent: Label
    reason: SecretText | None = None


class WorkOrderReleased(_WorkOrder):
    """The work order has no agent any more."""

    type: ClassVar[str] = "casebook.work-order.released.v1"


class WorkOrderAccepted(_WorkOrder):
    """The agent accepted the work; the response clock stops (handbook 2.2)."""

    type: ClassVar[str] = "casebook.work-order.accepted.v1"
    audience: ClassVar[Audience] = "customer"
    agent: Label


class WorkOrderStarted(_WorkOrder):
    """Work began."""

    type: ClassVar[str] = "casebook.work-order.started.v1"
    audience: ClassVar[Audience] = "customer"


class WorkOrderWaitingStarted(_WorkOrder):
    """Work waits. Known reasons: customer, supplier, problem, evidence, internal."""

    type: ClassVar[str] = "casebook.work-order.waiting-started.v1"
    audience: ClassVar[Audience] = "customer"
    reason: Label
    note: SecretText | None = None


class WorkOrderWaitingEnded(_WorkOrder):
    """What the work waited for is there, or no longer matters."""

    type: ClassVar[str] = "casebook.work-order.waiting-ended.v1"
    audience: ClassVar[Audience] = "customer"


class WorkOrderResumed(_WorkOrder):
    """Work goes on after a wait."""

    type: ClassVar[str] = "casebook.work-order.resumed.v1"
    audience: ClassVar[Audience] = "customer"


class WorkOrderResolved(_WorkOrder):
    """The work is done; the requester may confirm."""

    type: ClassVar[str] = "casebook.work-order.resolved.v1"
    audience: ClassVar[Audience] = "customer"
    code: Label | None = None
    summary: SecretText | None = None


class WorkOrderResolutionAmended(_WorkOrder):
    """A resolved work order was resolved again, with a better answer or at a later time."""

    type: ClassVar[str] = "casebook.work-order.resolution-amended.v1"
    audience: ClassVar[Audience] = "customer"
    code: Label | None = None
    summary: SecretText | None = None


class WorkOrderReopened(_WorkOrder):
    """The resolution did not hold; the work order is open again."""

    type: ClassVar[str] = "casebook.work-order.reopened.v1"


class WorkOrderCancelled(_WorkOrder):
    """The request was cancelled; nothing is left to do."""

    type: ClassVar[str] = "casebook.work-order.cancelled.v1"


class WorkOrderNoted(_WorkOrder):
    """Somebody recorded progress that changes nothing else.

    ``state`` is the name of a state that another system knows and Casebook has no word for.
    """

    type: ClassVar[str] = "casebook.work-order.noted.v1"
    note: SecretText | None = None
    state: Label | None = None


class WorkOrderChangeLinked(_WorkOrder):
    """The work depends on this change."""

    type: ClassVar[str] = "casebook.work-order.change-linked.v1"
    change: Label


class WorkOrderVendorInvolved(_WorkOrder):
    """A supplier takes part."""

    type: ClassVar[str] = "casebook.work-order.vendor-involved.v1"
    vendor: Label


class WorkOrderCausingChangeLinked(_WorkOrder):
    """This change caused the request."""

    type: ClassVar[str] = "casebook.work-order.causing-change-linked.v1"
    change: Label


WorkOrderEvent = (
    WorkOrderOpened
    | WorkOrderAssignedToTeam
    | WorkOrderReassignedToTeam
    | WorkOrderRequirementChanged
    | WorkOrderReturnedToQueue
    | WorkOrderQueued
    | WorkOrderAssignedToAgent
    | WorkOrderReassignedToAgent
    | WorkOrderReleased
    | WorkOrderAccepted
    | WorkOrderStarted
    | WorkOrderWaitingStarted
    | WorkOrderWaitingEnded
    | WorkOrderResumed
    | WorkOrderResolved
    | WorkOrderResolutionAmended
    | WorkOrderReopened
    | WorkOrderCancelled
    | WorkOrderNoted
    | WorkOrderChangeLinked
    | WorkOrderVendorInvolved
    | WorkOrderCausingChangeLinked
)
