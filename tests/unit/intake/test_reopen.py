from datetime import timedelta

from casebook.events.request import RequestCancelled, RequestClosed, RequestReopened
from casebook.intake.domain.closure import deadlines
from casebook.intake.domain.lifecycle import REOPEN_WINDOW, reopen
from casebook.intake.domain.request import Request, Status
from tests.unit.intake.given import (
    CLOSED,
    NOON,
    OPEN,
    REOPENED,
    RESOLVED,
    SUBMITTED,
    given,
    observed,
    refusal,
    then,
)

HISTORY = given(observed(SUBMITTED), observed(RequestClosed(basis="observed")))


def test_a_resolution_that_does_not_hold_is_reopened() -> None:
    assert reopen(RESOLVED, reason="问题又出现了", now=NOON) == [
        RequestReopened(reason="问题又出现了")
    ]


def test_a_closed_request_is_reopened_until_the_window_ends() -> None:
    assert reopen(CLOSED, reason=None, now=NOON + REOPEN_WINDOW) == [REOPENED]


def test_a_reopened_request_is_as_open_as_before() -> None:
    request = then(CLOSED, REOPENED)
    assert request.status is Status.OPEN
    assert request.reopenings == 1
    assert request.closed_at is request.confirmed_at is request.resolved_at is None
    assert deadlines(request) == {}


def test_a_second_reopening_adds_nothing() -> None:
    assert reopen(then(CLOSED, REOPENED), reason="again", now=NOON) == []


def test_after_the_window_it_takes_a_new_request() -> None:
    late = NOON + REOPEN_WINDOW + timedelta(microseconds=1)
    assert refusal(lambda: reopen(CLOSED, reason=None, now=late)) == "reopen-window-over"


def test_work_in_progress_cannot_be_reopened() -> None:
    assert refusal(lambda: reopen(OPEN, reason=None, now=NOON)) == "resolution-not-proposed"


def test_a_cancelled_request_cannot_be_reopened() -> None:
    cancelled = then(OPEN, RequestCancelled())
    assert refusal(lambda: reopen(cancelled, reason=None, now=NOON)) == "request-cancelled"


def test_a_request_that_nobody_submitted_is_refused() -> None:
    assert refusal(lambda: reopen(Request(), reason=None, now=NOON)) == "request-unknown"


def test_finished_history_is_reopened_at_any_time_and_is_live_from_then_on() -> None:
    much_later = NOON + timedelta(days=3000)
    assert reopen(HISTORY, reason=None, now=much_later) == [REOPENED]
    assert not HISTORY.live
    assert then(HISTORY, REOPENED).live


def test_history_that_goes_on_cannot_be_reopened() -> None:
    history = given(observed(SUBMITTED))
    assert refusal(lambda: reopen(history, reason=None, now=NOON)) == "observed-history"


def test_a_request_stays_live_whatever_history_follows() -> None:
    request = then(HISTORY, REOPENED, observed(RequestClosed(basis="observed")))
    assert request.live
    assert request.status is Status.CLOSED
