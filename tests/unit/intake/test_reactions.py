from datetime import timedelta

from casebook.events.request import RequestCancelled, RequestResolutionProposed
from casebook.events.work_order import WorkOrderResolutionAmended, WorkOrderResolved
from casebook.intake.domain.request import Request, Status
from casebook.intake.reactions import REACTIONS, propose_resolution
from tests.unit.intake.given import (
    CLOSED,
    NOON,
    OPEN,
    REOPENED,
    RESOLVED,
    SUBMITTED,
    At,
    fact,
    given,
    observed,
    then,
)

LATER = NOON + timedelta(hours=2)
RESOLVED_WORK = fact(At(WorkOrderResolved(summary="已更换硬盘"), time=LATER))
AMENDED_WORK = fact(At(WorkOrderResolutionAmended(), time=LATER))
PROPOSED_LATER = RequestResolutionProposed(resolved_at=LATER)


def test_done_work_asks_the_requester_to_confirm() -> None:
    assert propose_resolution(OPEN, RESOLVED_WORK) == [PROPOSED_LATER]


def test_the_proposal_belongs_to_the_request_of_the_work_order() -> None:
    [reaction] = REACTIONS
    assert reaction.target(RESOLVED_WORK) == f"request/{RESOLVED_WORK.case}"


def test_a_better_answer_is_proposed_again() -> None:
    assert propose_resolution(RESOLVED, AMENDED_WORK) == [PROPOSED_LATER]


def test_the_same_fact_proposes_once() -> None:
    proposed = then(OPEN, At(PROPOSED_LATER, time=LATER))
    assert proposed.status is Status.RESOLVED
    assert propose_resolution(proposed, RESOLVED_WORK) == []


def test_a_cancellation_that_crossed_the_resolution_wins() -> None:
    assert propose_resolution(then(OPEN, RequestCancelled()), RESOLVED_WORK) == []


def test_a_closed_request_stays_closed() -> None:
    assert propose_resolution(CLOSED, RESOLVED_WORK) == []


def test_an_amendment_that_a_reopening_overtook_means_nothing() -> None:
    assert propose_resolution(then(RESOLVED, REOPENED), AMENDED_WORK) == []


def test_a_reopened_request_is_resolved_again() -> None:
    assert propose_resolution(then(RESOLVED, REOPENED), RESOLVED_WORK) == [PROPOSED_LATER]


def test_observed_and_unknown_requests_are_left_alone() -> None:
    assert propose_resolution(given(observed(SUBMITTED)), RESOLVED_WORK) == []
    assert propose_resolution(Request(), RESOLVED_WORK) == []
