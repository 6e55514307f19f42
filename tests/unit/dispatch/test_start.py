from datetime import timedelta

from casebook.dispatch.domain.handling import start
from casebook.dispatch.domain.work_order import Status
from casebook.events.work_order import WorkOrderStarted
from tests.unit.dispatch.given import (
    ACCEPTED_ORDER,
    ASSIGNED_ORDER,
    CANCELLED_ORDER,
    NOON,
    OBSERVED_ORDER,
    QUEUED_ORDER,
    RESOLVED_ORDER,
    STARTED,
    STARTED_ORDER,
    WAITING_ORDER,
    At,
    refusal,
    then,
)


def test_accepted_work_begins() -> None:
    assert start(ACCEPTED_ORDER) == [WorkOrderStarted()]


def test_the_beginning_is_remembered() -> None:
    order = then(ACCEPTED_ORDER, At(STARTED, time=NOON + timedelta(hours=1)))
    assert (order.status, order.started_at) == (Status.IN_PROGRESS, NOON + timedelta(hours=1))


def test_a_second_beginning_adds_nothing() -> None:
    assert start(STARTED_ORDER) == []


def test_only_accepted_work_begins() -> None:
    refused = {
        "not-accepted": (QUEUED_ORDER, ASSIGNED_ORDER),
        "already-waiting": (WAITING_ORDER,),
        "already-resolved": (RESOLVED_ORDER,),
        "work-order-cancelled": (CANCELLED_ORDER,),
        "observed-history": (OBSERVED_ORDER,),
    }
    for code, orders in refused.items():
        for order in orders:
            assert refusal(lambda order=order: start(order)) == code
