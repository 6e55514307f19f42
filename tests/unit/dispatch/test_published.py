import pytest

from casebook.dispatch.domain.published import guard
from casebook.dispatch.domain.work_order import Status, WorkOrder
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderCancelled,
    WorkOrderEvent,
    WorkOrderNoted,
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
    WorkOrderWaitingEnded,
    WorkOrderWaitingStarted,
)
from tests.unit.dispatch.given import (
    ACCEPTED,
    ACCEPTED_ORDER,
    ASSIGNED_ORDER,
    CANCELLED_ORDER,
    OPENED,
    QUEUED_ORDER,
    RESOLVED,
    RESOLVED_ORDER,
    STARTED,
    STARTED_ORDER,
    TO_AGENT,
    TO_TEAM,
    UNROUTED_ORDER,
    WAITING,
    WAITING_ORDER,
    given,
    observed,
    refusal,
)

PASSING: list[tuple[WorkOrder, WorkOrderEvent]] = [
    (WorkOrder(), OPENED),
    (WorkOrder(), TO_TEAM),
    (UNROUTED_ORDER, TO_TEAM),
    (QUEUED_ORDER, WorkOrderReassignedToTeam(team="b")),
    (QUEUED_ORDER, WorkOrderReturnedToQueue()),
    (QUEUED_ORDER, WorkOrderRequirementChanged(skill="sql", skill_level=2)),
    (QUEUED_ORDER, WorkOrderQueued(excluded={})),
    (QUEUED_ORDER, TO_AGENT),
    (ASSIGNED_ORDER, WorkOrderReassignedToAgent(agent="b")),
    (ASSIGNED_ORDER, WorkOrderReleased()),
    (ASSIGNED_ORDER, ACCEPTED),
    (QUEUED_ORDER, ACCEPTED),
    (ACCEPTED_ORDER, STARTED),
    (STARTED_ORDER, WAITING),
    (WAITING_ORDER, WorkOrderWaitingEnded()),
    (ACCEPTED_ORDER, WorkOrderResumed()),
    (STARTED_ORDER, RESOLVED),
    (RESOLVED_ORDER, WorkOrderResolutionAmended()),
    (RESOLVED_ORDER, WorkOrderReopened()),
    (WAITING_ORDER, WorkOrderCancelled()),
    (CANCELLED_ORDER, WorkOrderNoted(note="a")),
]

REFUSED: list[tuple[WorkOrder, WorkOrderEvent, str]] = [
    (QUEUED_ORDER, OPENED, "already-opened"),
    (QUEUED_ORDER, WorkOrderAssignedToTeam(team="b", initial=False), "already-routed"),
    (UNROUTED_ORDER, WorkOrderReassignedToTeam(team="b"), "not-routed"),
    (UNROUTED_ORDER, WorkOrderReturnedToQueue(), "not-routed"),
    (UNROUTED_ORDER, WorkOrderRequirementChanged(skill="sql"), "not-routed"),
    (ASSIGNED_ORDER, WorkOrderRequirementChanged(skill="sql"), "already-assigned"),
    (ASSIGNED_ORDER, WorkOrderAssignedToAgent(agent="b"), "already-assigned"),
    (ASSIGNED_ORDER, WorkOrderQueued(excluded={}), "already-assigned"),
    (QUEUED_ORDER, WorkOrderReassignedToAgent(agent="b"), "not-assigned"),
    (QUEUED_ORDER, WorkOrderReleased(), "not-assigned"),
    (ACCEPTED_ORDER, ACCEPTED, "already-accepted"),
    (ASSIGNED_ORDER, WorkOrderAccepted(agent="b"), "assigned-to-another"),
    (ASSIGNED_ORDER, WorkOrderStarted(), "not-accepted"),
    (WorkOrder(), WorkOrderStarted(), "not-accepted"),
    (WAITING_ORDER, WorkOrderResumed(), "already-waiting"),
    (ACCEPTED_ORDER, WorkOrderWaitingStarted(reason="customer"), "not-started"),
    (STARTED_ORDER, WorkOrderWaitingEnded(), "not-waiting"),
    (WAITING_ORDER, WorkOrderResolved(), "already-waiting"),
    (RESOLVED_ORDER, WorkOrderResolved(), "already-resolved"),
    (STARTED_ORDER, WorkOrderResolutionAmended(), "not-resolved"),
    (STARTED_ORDER, WorkOrderReopened(), "not-resolved"),
    (CANCELLED_ORDER, TO_AGENT, "work-order-cancelled"),
    (RESOLVED_ORDER, WorkOrderCancelled(), "already-resolved"),
    (WorkOrder(), WorkOrderCancelled(), "work-order-unknown"),
]


@pytest.mark.parametrize(("order", "event"), PASSING)
def test_what_a_command_would_do_may_be_published(order: WorkOrder, event: WorkOrderEvent) -> None:
    guard(order, event)


@pytest.mark.parametrize(("order", "event", "code"), REFUSED)
def test_what_a_command_would_refuse_is_refused(
    order: WorkOrder, event: WorkOrderEvent, code: str
) -> None:
    assert refusal(lambda: guard(order, event)) == code


def test_observed_history_keeps_the_status_of_its_source() -> None:
    order = given(observed(TO_TEAM), observed(STARTED))
    assert (order.status, order.live) == (Status.IN_PROGRESS, False)
    for event in (TO_AGENT, WorkOrderReassignedToAgent(agent="b"), WorkOrderReleased()):
        order = given(observed(TO_TEAM), observed(STARTED), observed(event))
        assert order.status is Status.IN_PROGRESS
    assert given(observed(TO_AGENT)).status is Status.ASSIGNED
    assert given(observed(WAITING), observed(WorkOrderWaitingEnded())).status is Status.QUEUED
    resolved = given(observed(RESOLVED), observed(WorkOrderWaitingEnded()))
    assert (resolved.status, resolved.resolution_code) == (Status.RESOLVED, "fixed")
