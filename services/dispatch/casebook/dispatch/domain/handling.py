"""Doing the work: accept, start, wait, resume, resolve, note (handbook 2.2, 2.3).

Cancelling may cross resolving, because they are facts of two services. Each stream lets exactly
one of them win, and the two answers always fit together: a work order is cancelled only after
its request was, and an already resolved one stays resolved, its request cancelled: the work was
done, and nobody needs it. A request that waits for confirmation never has a cancelled work order.
"""

from casebook.dispatch.domain.rules import (
    ensure_not_waiting,
    ensure_ours,
    ensure_started,
    ensure_taken,
    ensure_team,
    ensure_workable,
)
from casebook.dispatch.domain.work_order import Status, WorkOrder
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderAssignedToAgent,
    WorkOrderEvent,
    WorkOrderNoted,
    WorkOrderResolved,
    WorkOrderResumed,
    WorkOrderStarted,
    WorkOrderWaitingEnded,
    WorkOrderWaitingStarted,
)
from casebook.kit.decider import Refused


def accept(order: WorkOrder, *, agent: str) -> list[WorkOrderEvent]:
    """Take responsibility for the work; of two people who try, exactly one gets it.

    What is queued may be taken by anybody in the team, what is assigned by its agent alone.

    :raises Refused: ``already-accepted`` by somebody else, ``assigned-to-another``,
        ``not-routed``, or because there is nothing to do here.
    """
    ensure_workable(order)
    ensure_team(order)
    if order.status is Status.QUEUED:
        return [WorkOrderAssignedToAgent(agent=agent), WorkOrderAccepted(agent=agent)]
    if order.status is Status.ASSIGNED:
        if order.agent != agent:
            raise Refused("assigned-to-another", "the work is another agent's; a lead may reassign")
        return [WorkOrderAccepted(agent=agent)]
    if order.agent != agent:
        raise Refused("already-accepted", "another agent has accepted the work")
    return []


def start(order: WorkOrder) -> list[WorkOrderEvent]:
    """Begin the work.

    :raises Refused: ``not-accepted``, ``already-waiting`` for work that is resumed instead, or
        because there is nothing to do here.
    """
    ensure_workable(order)
    ensure_taken(order)
    ensure_not_waiting(order)
    return [] if order.status is Status.IN_PROGRESS else [WorkOrderStarted()]


def wait(order: WorkOrder, *, reason: str, note: str | None = None) -> list[WorkOrderEvent]:
    """Let the work wait; ``customer`` pauses the resolution clock, other reasons do not.

    :raises Refused: ``already-waiting`` for another reason or with a new note, ``not-started``,
        ``not-accepted``, or because there is nothing to do here.
    """
    ensure_workable(order)
    if order.status is Status.WAITING and order.waiting_reason == reason and note is None:
        return []
    ensure_not_waiting(order)
    ensure_started(order)
    return [WorkOrderWaitingStarted(reason=reason, note=note)]


def resume(order: WorkOrder) -> list[WorkOrderEvent]:
    """Go on after a wait.

    :raises Refused: ``not-started``, ``not-accepted``, or because there is nothing to do here.
    """
    ensure_workable(order)
    ensure_started(order)
    if order.status is Status.IN_PROGRESS:
        return []
    return [WorkOrderWaitingEnded(), WorkOrderResumed()]


def resolve(
    order: WorkOrder, *, code: str | None = None, summary: str | None = None
) -> list[WorkOrderEvent]:
    """Declare the work done; what it waited for no longer matters.

    Assumption: a resolution is final until the request is reopened, so that the answer the
    customer confirms is the one that was given. Work that waits may be resolved directly.

    :raises Refused: ``already-resolved`` with another answer, ``work-order-cancelled``,
        ``not-started``, ``not-accepted``, or because it is not done here.
    """
    if order.live and order.status is Status.RESOLVED:
        same = summary is None and code == order.resolution_code
        if same:
            return []
    ensure_workable(order)
    ensure_started(order)
    return [*end_of_wait(order), WorkOrderResolved(code=code, summary=summary)]


def note(order: WorkOrder, *, text: str) -> list[WorkOrderEvent]:
    """Record progress for colleagues; the state of the work stays what it is.

    :raises Refused: ``work-order-unknown`` or ``observed-history``.
    """
    ensure_ours(order)
    return [WorkOrderNoted(note=text)]


def end_of_wait(order: WorkOrder) -> list[WorkOrderEvent]:
    """Return the fact that ends the current wait, if the work waits."""
    return [WorkOrderWaitingEnded()] if order.status is Status.WAITING else []
