from casebook.dispatch.domain.handling import accept
from casebook.dispatch.domain.work_order import Status, WorkOrder
from casebook.events.work_order import WorkOrderAccepted, WorkOrderAssignedToAgent
from tests.unit.dispatch.given import (
    ACCEPTED_ORDER,
    ASSIGNED_ORDER,
    CANCELLED_ORDER,
    NOON,
    OBSERVED_ORDER,
    QUEUED_ORDER,
    RESOLVED_ORDER,
    STARTED_ORDER,
    UNROUTED_ORDER,
    WAITING_ORDER,
    refusal,
    then,
)


def test_the_assigned_agent_accepts() -> None:
    assert accept(ASSIGNED_ORDER, agent="li.na") == [WorkOrderAccepted(agent="li.na")]


def test_queued_work_is_taken_by_whoever_comes_first() -> None:
    events = accept(QUEUED_ORDER, agent="wang.wei")
    assert events == [
        WorkOrderAssignedToAgent(agent="wang.wei"),
        WorkOrderAccepted(agent="wang.wei"),
    ]
    order = then(QUEUED_ORDER, *events)
    assert (order.status, order.agent, order.accepted_at) == (Status.ACCEPTED, "wang.wei", NOON)
    assert refusal(lambda: accept(order, agent="li.na")) == "already-accepted"


def test_a_second_acceptance_adds_nothing() -> None:
    for order in (ACCEPTED_ORDER, STARTED_ORDER, WAITING_ORDER):
        assert accept(order, agent="li.na") == []


def test_work_of_another_agent_is_not_taken() -> None:
    assert refusal(lambda: accept(ASSIGNED_ORDER, agent="wang.wei")) == "assigned-to-another"
    assert refusal(lambda: accept(WAITING_ORDER, agent="wang.wei")) == "already-accepted"


def test_there_must_be_something_to_accept() -> None:
    refused = {
        "work-order-unknown": WorkOrder(),
        "not-routed": UNROUTED_ORDER,
        "observed-history": OBSERVED_ORDER,
        "already-resolved": RESOLVED_ORDER,
        "work-order-cancelled": CANCELLED_ORDER,
    }
    for code, order in refused.items():
        assert refusal(lambda order=order: accept(order, agent="li.na")) == code
