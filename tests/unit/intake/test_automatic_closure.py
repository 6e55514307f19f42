from datetime import timedelta

import pytest

from casebook.events.definitions import CLOSURE_POLICY
from casebook.events.request import (
    RequestCancelled,
    RequestClosed,
    RequestClosureAnnounced,
    RequestResolutionProposed,
)
from casebook.events.values import DefinitionReference
from casebook.intake.domain.closure import ANNOUNCEMENT, CLOSURE, deadlines, on_deadline
from casebook.intake.domain.request import Request
from tests.unit.intake.given import (
    CLOSED,
    NOON,
    OPEN,
    PROPOSED,
    REOPENED,
    RESOLVED,
    SUBMITTED,
    At,
    given,
    observed,
    then,
)

DAY = timedelta(days=1)
POLICY = DefinitionReference(id="closure-policy", version=1)
ANNOUNCED = RequestClosureAnnounced(closes_at=NOON + 5 * DAY, policy=POLICY)


def test_version_1_of_the_policy_gives_a_day_of_notice() -> None:
    policy = CLOSURE_POLICY.body
    assert (policy.announced_days, policy.closed_days) == (4, 5)
    assert CLOSURE_POLICY.reference == POLICY


def test_a_proposed_resolution_waits_four_days_for_an_answer() -> None:
    assert deadlines(RESOLVED) == {ANNOUNCEMENT: NOON + 4 * DAY}


def test_the_closure_is_announced_a_day_ahead() -> None:
    due = NOON + 4 * DAY
    assert on_deadline(RESOLVED, ANNOUNCEMENT, due, due) == [ANNOUNCED]
    assert deadlines(then(RESOLVED, ANNOUNCED)) == {CLOSURE: NOON + 5 * DAY}


def test_the_request_closes_when_it_was_announced_to() -> None:
    due = NOON + 5 * DAY
    announced = then(RESOLVED, ANNOUNCED)
    assert on_deadline(announced, CLOSURE, due, due + timedelta(hours=3)) == [
        RequestClosed(basis="announced")
    ]
    assert deadlines(then(announced, RequestClosed(basis="announced"))) == {}


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(Request(), id="unknown"),
        pytest.param(OPEN, id="open"),
        pytest.param(CLOSED, id="closed"),
        pytest.param(then(RESOLVED, REOPENED), id="reopened"),
        pytest.param(then(OPEN, RequestCancelled()), id="cancelled"),
        pytest.param(given(observed(SUBMITTED), observed(PROPOSED)), id="observed"),
    ],
)
def test_nothing_else_waits(request_: Request) -> None:
    assert deadlines(request_) == {}
    assert on_deadline(request_, ANNOUNCEMENT, NOON + 4 * DAY, NOON + 4 * DAY) == []
    assert on_deadline(request_, CLOSURE, NOON + 5 * DAY, NOON + 5 * DAY) == []


def test_a_better_answer_starts_the_wait_again() -> None:
    later = NOON + timedelta(hours=6)
    amended = At(RequestResolutionProposed(resolved_at=later), time=later)
    request = then(RESOLVED, ANNOUNCED, amended)
    assert deadlines(request) == {ANNOUNCEMENT: later + 4 * DAY}
    assert on_deadline(request, CLOSURE, NOON + 5 * DAY, NOON + 5 * DAY) == []


def test_a_deadline_never_fires_early() -> None:
    due = NOON + 4 * DAY
    assert on_deadline(RESOLVED, ANNOUNCEMENT, due, due - timedelta(seconds=1)) == []


@pytest.mark.parametrize("days", [4.5, 5, 9])
def test_after_an_outage_the_requester_still_has_the_whole_day(days: float) -> None:
    now = NOON + days * DAY
    [announced] = on_deadline(RESOLVED, ANNOUNCEMENT, NOON + 4 * DAY, now)
    request = then(RESOLVED, At(announced, time=now))
    assert deadlines(request) == {CLOSURE: now + DAY}
    for early in (now, now + DAY - timedelta(seconds=1)):
        assert on_deadline(request, CLOSURE, now + DAY, early) == []
    assert on_deadline(request, CLOSURE, now + DAY, now + DAY) == [RequestClosed(basis="announced")]
