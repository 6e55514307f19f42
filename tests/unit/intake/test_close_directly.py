from casebook.events.request import RequestCancelled, RequestClosed
from casebook.intake.domain.lifecycle import close_directly
from casebook.intake.domain.request import Request, Status
from tests.unit.intake.given import (
    CLOSED,
    OPEN,
    PROPOSED,
    RESOLVED,
    SUBMITTED,
    given,
    observed,
    refusal,
    then,
)

CLOSURE = RequestClosed(basis="direct", reason="客户已离职")


def test_a_lead_closes_a_resolved_request_for_a_reason() -> None:
    assert close_directly(RESOLVED, reason="客户已离职") == [CLOSURE]
    assert then(RESOLVED, CLOSURE).status is Status.CLOSED


def test_a_second_direct_closure_adds_nothing() -> None:
    assert close_directly(then(RESOLVED, CLOSURE), reason="again") == []


def test_work_in_progress_cannot_be_closed() -> None:
    assert refusal(lambda: close_directly(OPEN, reason="a")) == "resolution-not-proposed"


def test_a_request_closed_otherwise_is_refused() -> None:
    assert refusal(lambda: close_directly(CLOSED, reason="a")) == "request-closed"


def test_a_cancelled_request_is_refused() -> None:
    cancelled = then(OPEN, RequestCancelled())
    assert refusal(lambda: close_directly(cancelled, reason="a")) == "request-cancelled"


def test_a_request_that_nobody_submitted_is_refused() -> None:
    assert refusal(lambda: close_directly(Request(), reason="a")) == "request-unknown"


def test_a_request_of_another_system_is_refused() -> None:
    history = given(observed(SUBMITTED), observed(PROPOSED))
    assert refusal(lambda: close_directly(history, reason="a")) == "observed-history"
