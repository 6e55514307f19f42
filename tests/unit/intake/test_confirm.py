from casebook.events.request import (
    RequestCancelled,
    RequestClosed,
    RequestResolutionConfirmed,
)
from casebook.intake.domain.lifecycle import confirm
from casebook.intake.domain.request import Request, Status
from tests.unit.intake.given import (
    CLOSED,
    NOON,
    OPEN,
    PROPOSED,
    RESOLVED,
    SUBMITTED,
    given,
    observed,
    refusal,
    then,
)


def test_a_confirmed_resolution_closes_the_request() -> None:
    assert confirm(RESOLVED) == [RequestResolutionConfirmed(), RequestClosed(basis="confirmed")]


def test_a_confirmed_request_is_closed() -> None:
    request = then(RESOLVED, *confirm(RESOLVED))
    assert request.status is Status.CLOSED
    assert request.closed_basis == "confirmed"
    assert request.confirmed_at == request.closed_at == NOON


def test_a_second_confirmation_adds_nothing() -> None:
    assert confirm(CLOSED) == []


def test_a_published_confirmation_only_lacks_the_closure() -> None:
    assert confirm(then(RESOLVED, RequestResolutionConfirmed())) == [
        RequestClosed(basis="confirmed")
    ]


def test_work_in_progress_cannot_be_confirmed() -> None:
    assert refusal(lambda: confirm(OPEN)) == "resolution-not-proposed"


def test_a_request_closed_otherwise_cannot_be_confirmed() -> None:
    closed = then(RESOLVED, RequestClosed(basis="announced"))
    assert refusal(lambda: confirm(closed)) == "request-closed"


def test_a_cancelled_request_cannot_be_confirmed() -> None:
    assert refusal(lambda: confirm(then(OPEN, RequestCancelled()))) == "request-cancelled"


def test_a_request_that_nobody_submitted_is_refused() -> None:
    assert refusal(lambda: confirm(Request())) == "request-unknown"


def test_a_request_of_another_system_is_refused() -> None:
    history = given(observed(SUBMITTED), observed(PROPOSED))
    assert refusal(lambda: confirm(history)) == "observed-history"
