"""The rules for facts about work that other systems publish: those of the commands.

A live source is refused where a command would be; in observed history every refusal is counted
as a deviation from the process, and the fact is kept (handbook 2.2, 2.3).
"""

from typing import assert_never

from casebook.dispatch.domain.rules import (
    ensure_agent,
    ensure_known,
    ensure_no_agent,
    ensure_no_team,
    ensure_not_waiting,
    ensure_open,
    ensure_started,
    ensure_taken,
    ensure_team,
    ensure_untaken,
    ensure_waiting,
)
from casebook.dispatch.domain.work_order import Status, WorkOrder
from casebook.events.work_order import (
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
from casebook.kit.decider import Refused


def guard(order: WorkOrder, event: WorkOrderEvent) -> None:
    """Refuse a published fact that the rules of the commands do not allow.

    The first fact of another system opens the work order by itself, because few systems tell
    work from request.

    :raises Refused: with the code of the command, ``already-opened``, ``already-routed``,
        ``already-assigned``, ``not-assigned``, ``not-waiting`` or ``not-resolved``.
    """
    match event:
        case WorkOrderOpened():
            if order.status is not Status.UNKNOWN:
                raise Refused("already-opened", "the work order is there already")
        case (
            WorkOrderNoted()
            | WorkOrderChangeLinked()
            | WorkOrderVendorInvolved()
            | WorkOrderCausingChangeLinked()
        ):
            return
        case WorkOrderResolutionAmended() | WorkOrderReopened():
            if order.status is not Status.RESOLVED:
                raise Refused("not-resolved", "the work has not been resolved")
        case WorkOrderCancelled():
            ensure_known(order)
            ensure_open(order)
        case (
            WorkOrderAssignedToTeam()
            | WorkOrderReassignedToTeam()
            | WorkOrderRequirementChanged()
            | WorkOrderReturnedToQueue()
            | WorkOrderQueued()
            | WorkOrderAssignedToAgent()
            | WorkOrderReassignedToAgent()
            | WorkOrderReleased()
        ):
            _guard_assignment(order, event)
        case (
            WorkOrderAccepted()
            | WorkOrderStarted()
            | WorkOrderWaitingStarted()
            | WorkOrderWaitingEnded()
            | WorkOrderResumed()
            | WorkOrderResolved()
        ):
            _guard_handling(order, event)
        case _:
            assert_never(event)


def _guard_assignment(
    order: WorkOrder,
    event: WorkOrderAssignedToTeam
    | WorkOrderReassignedToTeam
    | WorkOrderRequirementChanged
    | WorkOrderReturnedToQueue
    | WorkOrderQueued
    | WorkOrderAssignedToAgent
    | WorkOrderReassignedToAgent
    | WorkOrderReleased,
) -> None:
    ensure_open(order)
    match event:
        case WorkOrderAssignedToTeam():
            ensure_no_team(order)
        case WorkOrderReassignedToTeam() | WorkOrderReturnedToQueue():
            ensure_team(order)
        case WorkOrderRequirementChanged():
            ensure_team(order)
            ensure_no_agent(order)
        case WorkOrderQueued() | WorkOrderAssignedToAgent():
            ensure_no_agent(order)
        case WorkOrderReassignedToAgent() | WorkOrderReleased():
            ensure_agent(order)


def _guard_handling(
    order: WorkOrder,
    event: WorkOrderAccepted
    | WorkOrderStarted
    | WorkOrderWaitingStarted
    | WorkOrderWaitingEnded
    | WorkOrderResumed
    | WorkOrderResolved,
) -> None:
    ensure_open(order)
    match event:
        case WorkOrderAccepted():
            ensure_untaken(order)
            if order.agent not in (None, event.agent):
                raise Refused("assigned-to-another", "the work is another agent's")
        case WorkOrderStarted() | WorkOrderResumed():
            ensure_not_waiting(order)
            ensure_taken(order)
        case WorkOrderWaitingStarted() | WorkOrderResolved():
            ensure_not_waiting(order)
            ensure_started(order)
        case WorkOrderWaitingEnded():
            ensure_waiting(order)
