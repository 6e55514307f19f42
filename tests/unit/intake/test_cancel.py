from casebook.events.request import RequestCancelled
from casebook.intake.domain.lifecycle import cancel
from casebook.intake.domain.request import Request, Status
from tests.unit.intake.given import (
    CLOSED,
    NOON,
    OPEN,
    RESOLVED,
    SUBMITTED,
    given,
    observed,
    refusal,
    then,
)


def test_a_request_is_withdrawn() -> None:
    assert cancel(OPEN, reason="已自行解决") == [RequestCancelled(reason="已自行解决")]


def test_a_withdrawn_request_is_over() -> None:
    request = then(OPEN, RequestCancelled())
    assert request.status is Status.CANCELLED
    assert request.cancelled_at == NOON


def test_a_second_cancellation_adds_nothing() -> None:
    assert cancel(then(OPEN, RequestCancelled()), reason="again") == []


def test_done_work_cannot_be_cancelled() -> None:
    assert refusal(lambda: cancel(RESOLVED, reason=None)) == "already-resolved"


def test_a_closed_request_cannot_be_cancelled() -> None:
    assert refusal(lambda: cancel(CLOSED, reason=None)) == "request-closed"


def test_a_request_that_nobody_submitted_is_refused() -> None:
    assert refusal(lambda: cancel(Request(), reason=None)) == "request-unknown"


def test_a_request_of_another_system_is_refused() -> None:
    history = given(observed(SUBMITTED))
    assert refusal(lambda: cancel(history, reason=None)) == "observed-history"
