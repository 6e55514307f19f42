from casebook.dispatch.domain.assignment import cancel
from casebook.dispatch.domain.handling import note, resolve
from casebook.dispatch.domain.work_order import Status, WorkOrder
from casebook.events.work_order import (
    WorkOrderCancelled,
    WorkOrderNoted,
    WorkOrderResolutionAmended,
    WorkOrderResolved,
    WorkOrderWaitingEnded,
)
from tests.unit.dispatch.given import (
    ACCEPTED_ORDER,
    ASSIGNED_ORDER,
    CANCELLED_ORDER,
    NOON,
    OBSERVED_ORDER,
    QUEUED_ORDER,
    RESOLVED_ORDER,
    STARTED_ORDER,
    WAITING_ORDER,
    refusal,
    then,
)


def test_work_is_done() -> None:
    events = resolve(STARTED_ORDER, code="fixed", summary="已更换交换机")
    assert events == [WorkOrderResolved(code="fixed", summary="已更换交换机")]
    order = then(STARTED_ORDER, *events)
    assert (order.status, order.resolution_code) == (Status.RESOLVED, "fixed")
    assert order.resolved_at == NOON
    assert order.resolution_summary is not None
    assert order.resolution_summary.field == "summary"


def test_waiting_work_is_resolved_directly() -> None:
    assert resolve(WAITING_ORDER) == [WorkOrderWaitingEnded(), WorkOrderResolved()]


def test_the_same_resolution_again_adds_nothing() -> None:
    assert resolve(RESOLVED_ORDER, code="fixed") == []


def test_another_resolution_is_refused() -> None:
    assert refusal(lambda: resolve(RESOLVED_ORDER, code="other")) == "already-resolved"
    assert refusal(lambda: resolve(RESOLVED_ORDER, code="fixed", summary="x")) == (
        "already-resolved"
    )


def test_what_has_not_begun_is_not_done() -> None:
    refused = {
        "not-accepted": ASSIGNED_ORDER,
        "not-started": ACCEPTED_ORDER,
        "observed-history": OBSERVED_ORDER,
        "work-order-unknown": WorkOrder(),
    }
    for code, order in refused.items():
        assert refusal(lambda order=order: resolve(order, code="fixed")) == code


def test_cancelling_and_resolving_cross_and_the_first_wins() -> None:
    assert cancel(RESOLVED_ORDER) == []
    assert refusal(lambda: resolve(CANCELLED_ORDER)) == "work-order-cancelled"


def test_cancelled_work_is_over() -> None:
    assert cancel(QUEUED_ORDER) == [WorkOrderCancelled()]
    assert cancel(WAITING_ORDER) == [WorkOrderWaitingEnded(), WorkOrderCancelled()]
    assert cancel(CANCELLED_ORDER) == []
    assert cancel(WorkOrder()) == []
    assert CANCELLED_ORDER.status is Status.CANCELLED


def test_an_amended_resolution_replaces_the_first() -> None:
    order = then(RESOLVED_ORDER, WorkOrderResolutionAmended(code="workaround"))
    assert (order.resolution_code, order.resolution_summary) == ("workaround", None)


def test_notes_change_nothing_else() -> None:
    for order in (QUEUED_ORDER, WAITING_ORDER, RESOLVED_ORDER, CANCELLED_ORDER):
        assert note(order, text="已联系供应商") == [WorkOrderNoted(note="已联系供应商")]
        assert then(order, WorkOrderNoted(note="a")) == order


def test_there_must_be_a_work_order_of_ours_to_note_on() -> None:
    assert refusal(lambda: note(WorkOrder(), text="a")) == "work-order-unknown"
    assert refusal(lambda: note(OBSERVED_ORDER, text="a")) == "observed-history"
