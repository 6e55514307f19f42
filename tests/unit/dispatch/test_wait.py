from casebook.dispatch.domain.handling import resume, wait
from casebook.dispatch.domain.work_order import Status
from casebook.events.work_order import (
    WorkOrderResumed,
    WorkOrderWaitingEnded,
    WorkOrderWaitingStarted,
)
from tests.unit.dispatch.given import (
    ACCEPTED_ORDER,
    ASSIGNED_ORDER,
    CANCELLED_ORDER,
    OBSERVED_ORDER,
    RESOLVED_ORDER,
    STARTED_ORDER,
    WAITING_ORDER,
    refusal,
    then,
)


def test_work_waits_for_a_reason() -> None:
    events = wait(STARTED_ORDER, reason="customer", note="等待用户提供日志")
    assert events == [WorkOrderWaitingStarted(reason="customer", note="等待用户提供日志")]
    order = then(STARTED_ORDER, *events)
    assert (order.status, order.waiting_reason) == (Status.WAITING, "customer")


def test_a_second_wait_for_the_same_reason_adds_nothing() -> None:
    assert wait(WAITING_ORDER, reason="customer") == []


def test_a_wait_ends_before_another_begins() -> None:
    assert refusal(lambda: wait(WAITING_ORDER, reason="supplier")) == "already-waiting"
    assert refusal(lambda: wait(WAITING_ORDER, reason="customer", note="x")) == "already-waiting"


def test_only_work_in_progress_waits() -> None:
    refused = {
        "not-accepted": ASSIGNED_ORDER,
        "not-started": ACCEPTED_ORDER,
        "already-resolved": RESOLVED_ORDER,
        "work-order-cancelled": CANCELLED_ORDER,
        "observed-history": OBSERVED_ORDER,
    }
    for code, order in refused.items():
        assert refusal(lambda order=order: wait(order, reason="customer")) == code


def test_work_goes_on() -> None:
    events = resume(WAITING_ORDER)
    assert events == [WorkOrderWaitingEnded(), WorkOrderResumed()]
    order = then(WAITING_ORDER, *events)
    assert (order.status, order.waiting_reason) == (Status.IN_PROGRESS, None)


def test_a_wait_that_only_ended_leaves_the_work_where_it_was() -> None:
    assert then(WAITING_ORDER, WorkOrderWaitingEnded()).status is Status.IN_PROGRESS
    early = then(ACCEPTED_ORDER, WorkOrderWaitingStarted(reason="customer"))
    assert then(early, WorkOrderWaitingEnded()).status is Status.ACCEPTED


def test_a_second_resumption_adds_nothing() -> None:
    assert resume(STARTED_ORDER) == []


def test_what_never_began_does_not_go_on() -> None:
    assert refusal(lambda: resume(ASSIGNED_ORDER)) == "not-accepted"
    assert refusal(lambda: resume(ACCEPTED_ORDER)) == "not-started"
    assert refusal(lambda: resume(RESOLVED_ORDER)) == "already-resolved"
    assert refusal(lambda: resume(CANCELLED_ORDER)) == "work-order-cancelled"
