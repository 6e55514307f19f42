from casebook.events.definitions import PRIORITY_MATRIX
from casebook.events.request import RequestPrioritised, RequestReprioritised
from casebook.intake.domain.lifecycle import prioritise
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


def test_a_request_without_a_priority_gets_its_first() -> None:
    assert prioritise(given(SUBMITTED), impact=1, urgency=2) == [
        RequestPrioritised(impact=1, urgency=2, priority=2, matrix=PRIORITY_MATRIX.reference)
    ]


def test_a_priority_is_changed_with_a_reason() -> None:
    assert prioritise(OPEN, impact=1, urgency=1, reason="整个部门受影响") == [
        RequestReprioritised(
            impact=1,
            urgency=1,
            priority=1,
            matrix=PRIORITY_MATRIX.reference,
            reason="整个部门受影响",
        )
    ]


def test_another_assessment_with_the_same_priority_is_recorded() -> None:
    [event] = prioritise(OPEN, impact=1, urgency=3)
    assert isinstance(event, RequestReprioritised)
    assert event.priority == OPEN.priority == 3


def test_the_same_assessment_adds_nothing() -> None:
    assert prioritise(OPEN, impact=2, urgency=2, reason="again") == []


def test_a_published_change_is_the_whole_new_assessment() -> None:
    changed = then(OPEN, RequestReprioritised(impact=1, urgency=1, priority=1))
    assert (changed.impact, changed.urgency, changed.priority) == (1, 1, 1)


def test_done_work_keeps_its_priority() -> None:
    assert refusal(lambda: prioritise(RESOLVED, impact=1, urgency=1)) == "already-resolved"


def test_a_level_that_does_not_exist_is_refused() -> None:
    assert refusal(lambda: prioritise(OPEN, impact=4, urgency=1)) == "unknown-level"


def test_a_request_that_is_over_is_refused() -> None:
    assert refusal(lambda: prioritise(CLOSED, impact=1, urgency=1)) == "request-closed"


def test_a_request_of_another_system_is_refused() -> None:
    history = given(observed(SUBMITTED))
    assert refusal(lambda: prioritise(history, impact=1, urgency=1)) == "observed-history"
