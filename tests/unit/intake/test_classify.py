from casebook.events.request import RequestClassified, RequestReclassified
from casebook.intake.domain.lifecycle import classify
from casebook.intake.domain.request import Classification, Request
from tests.unit.intake.given import (
    CLOSED,
    OPEN,
    RESOLVED,
    SUBMITTED,
    given,
    observed,
    refusal,
    then,
)

MAIL = Classification("data-processing", category="mail")
NETWORK = Classification("infrastructure-maintenance", category="network")
CLASSIFIED = RequestClassified(problem_type="data-processing", category="mail")


def test_a_request_gets_its_problem_type() -> None:
    assert classify(OPEN, classification=MAIL) == [CLASSIFIED]


def test_a_classification_is_corrected() -> None:
    assert classify(then(OPEN, CLASSIFIED), classification=NETWORK) == [
        RequestReclassified(problem_type="infrastructure-maintenance", category="network")
    ]


def test_the_correction_is_the_whole_new_classification() -> None:
    corrected = then(OPEN, CLASSIFIED, RequestReclassified(problem_type="other"))
    assert corrected.classification == Classification("other")


def test_the_same_classification_adds_nothing() -> None:
    assert classify(then(OPEN, CLASSIFIED), classification=MAIL) == []


def test_a_resolved_request_may_still_be_classified() -> None:
    assert classify(RESOLVED, classification=MAIL) == [CLASSIFIED]


def test_an_unknown_problem_type_is_refused() -> None:
    weather = Classification("weather")
    assert refusal(lambda: classify(OPEN, classification=weather)) == "unknown-problem-type"
    known = then(OPEN, CLASSIFIED)
    assert refusal(lambda: classify(known, classification=weather)) == "unknown-problem-type"


def test_a_request_that_is_over_is_refused() -> None:
    assert refusal(lambda: classify(CLOSED, classification=MAIL)) == "request-closed"


def test_a_request_that_nobody_submitted_is_refused() -> None:
    assert refusal(lambda: classify(Request(), classification=MAIL)) == "request-unknown"


def test_a_request_of_another_system_is_refused() -> None:
    history = given(observed(SUBMITTED))
    assert refusal(lambda: classify(history, classification=MAIL)) == "observed-history"
