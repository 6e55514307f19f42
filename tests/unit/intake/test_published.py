"""What other systems publish about requests: strict for live sources, counted for observed ones."""

import pytest

from casebook.events.request import (
    RequestCancelled,
    RequestClassified,
    RequestClosed,
    RequestClosureAnnounced,
    RequestCommented,
    RequestConfigurationItemLinked,
    RequestEvent,
    RequestInternallyCommented,
    RequestPrioritised,
    RequestPriorityConfirmed,
    RequestReclassified,
    RequestReopened,
    RequestReprioritised,
    RequestResolutionConfirmed,
    RequestResolutionProposed,
    RequestSubmitted,
)
from casebook.intake.domain.published import guard
from casebook.intake.domain.request import Request
from tests.unit.intake.given import (
    CLOSED,
    NOON,
    OPEN,
    PROPOSED,
    REOPENED,
    RESOLVED,
    SUBMITTED,
    given,
    observed,
    refusal,
    then,
)

UNKNOWN = Request()
CLASSIFIED = RequestClassified(problem_type="other")
RECLASSIFIED = RequestReclassified(problem_type="security-policy")
CONFIRMED = RequestResolutionConfirmed()
ANNOUNCED = RequestClosureAnnounced(closes_at=NOON)
CANCELLED = then(OPEN, RequestCancelled())
HISTORY = given(observed(SUBMITTED))


@pytest.mark.parametrize(
    ("request_", "event"),
    [
        (UNKNOWN, SUBMITTED),
        (OPEN, CLASSIFIED),
        (then(OPEN, CLASSIFIED), RECLASSIFIED),
        (given(SUBMITTED), RequestPrioritised(impact=1, urgency=1, priority=1)),
        (OPEN, RequestReprioritised(impact=3, urgency=3, priority=4)),
        (OPEN, RequestPriorityConfirmed()),
        (OPEN, RequestCommented(body="a")),
        (OPEN, RequestInternallyCommented(body="a")),
        (OPEN, RequestConfigurationItemLinked(configuration_item="srv-1")),
        (OPEN, PROPOSED),
        (RESOLVED, RequestResolutionProposed(resolved_at=NOON)),
        (RESOLVED, CONFIRMED),
        (RESOLVED, ANNOUNCED),
        (then(RESOLVED, CONFIRMED), RequestClosed(basis="confirmed")),
        (then(RESOLVED, ANNOUNCED), RequestClosed(basis="announced")),
        (RESOLVED, RequestClosed(basis="direct", reason="a")),
        (HISTORY, RequestClosed(basis="observed")),
        (RESOLVED, REOPENED),
        (CLOSED, REOPENED),
        (HISTORY, REOPENED),
        (OPEN, RequestCancelled()),
    ],
)
def test_what_a_command_would_do_is_accepted(request_: Request, event: RequestEvent) -> None:
    guard(request_, event)


@pytest.mark.parametrize(
    ("request_", "event", "code"),
    [
        (OPEN, SUBMITTED, "request-exists"),
        (
            UNKNOWN,
            RequestSubmitted(number="INC1", kind="wish", requester="caller 1"),
            "unknown-kind",
        ),
        (UNKNOWN, CLASSIFIED, "request-unknown"),
        (UNKNOWN, RequestPriorityConfirmed(), "request-unknown"),
        (UNKNOWN, REOPENED, "request-unknown"),
        (OPEN, RequestClassified(problem_type="weather"), "unknown-problem-type"),
        (then(OPEN, CLASSIFIED), CLASSIFIED, "already-classified"),
        (OPEN, RECLASSIFIED, "not-classified"),
        (CLOSED, CLASSIFIED, "request-closed"),
        (CANCELLED, CLASSIFIED, "request-cancelled"),
        (OPEN, RequestPrioritised(impact=1, urgency=1, priority=1), "already-prioritised"),
        (
            given(SUBMITTED),
            RequestReprioritised(impact=1, urgency=1, priority=1),
            "not-prioritised",
        ),
        (OPEN, RequestReprioritised(impact=1, urgency=1, priority=4), "priority-not-by-matrix"),
        (OPEN, RequestReprioritised(priority=4), "priority-not-by-matrix"),
        (RESOLVED, RequestReprioritised(impact=1, urgency=1, priority=1), "already-resolved"),
        (CLOSED, PROPOSED, "request-closed"),
        (OPEN, CONFIRMED, "resolution-not-proposed"),
        (OPEN, ANNOUNCED, "resolution-not-proposed"),
        (OPEN, RequestClosed(basis="direct", reason="a"), "resolution-not-proposed"),
        (RESOLVED, RequestClosed(basis="confirmed"), "closure-without-basis"),
        (RESOLVED, RequestClosed(basis="announced"), "closure-without-basis"),
        (RESOLVED, RequestClosed(basis="direct"), "closure-without-basis"),
        (RESOLVED, RequestClosed(basis="observed"), "closure-without-basis"),
        (RESOLVED, RequestClosed(basis="whim"), "closure-without-basis"),
        (CLOSED, RequestClosed(basis="confirmed"), "request-closed"),
        (OPEN, REOPENED, "resolution-not-proposed"),
        (CANCELLED, RequestReopened(), "request-cancelled"),
        (RESOLVED, RequestCancelled(), "already-resolved"),
        (then(HISTORY, observed(RequestCancelled())), RequestCancelled(), "request-cancelled"),
    ],
)
def test_what_a_command_would_refuse_is_refused(
    request_: Request, event: RequestEvent, code: str
) -> None:
    assert refusal(lambda: guard(request_, event)) == code
