"""What starts, pauses, resumes, retargets, stops and cancels the clocks of a request."""

from typing import Any

import pytest

from casebook.events.service_level import (
    ServiceLevelClockCancelled,
    ServiceLevelClockPaused,
    ServiceLevelClockResumed,
    ServiceLevelClockStarted,
    ServiceLevelClockStopped,
    ServiceLevelOpened,
)
from casebook.monitoring.domain.service_level import SERVICE_LEVEL
from casebook.monitoring.domain.targets import target_seconds
from tests.unit.monitoring.given import (
    ACCEPTED,
    AMENDED,
    ANSWERED,
    CANCELLED,
    CUSTOMER,
    REOPENED,
    RESOLVED,
    SUBMITTED,
    SUPPLIER,
    Clocks,
    at,
    first,
    given,
    kinds,
    running,
    then,
)

HOUR = 3600


# --- starting ----------------------------------------------------------------------------------


def test_a_submitted_request_is_counted_from_its_submission_on() -> None:
    assert Clocks().tell(SUBMITTED, 0) == [ServiceLevelOpened(service="mail")]


def test_a_second_submission_adds_nothing() -> None:
    assert given((SUBMITTED, 0)).tell(SUBMITTED, 1) == []


def test_the_first_priority_starts_both_clocks_from_the_submission_on() -> None:
    started = given((SUBMITTED, 0)).tell(first(2), 0.25)
    assert all(isinstance(event, ServiceLevelClockStarted) for event in started)
    assert [(event.clock, event.target_seconds, event.due_at) for event in started] == [
        ("response", 30 * 60, at(0.5)),
        ("resolution", 8 * HOUR, at(8)),
    ]
    assert {event.policy.id for event in started} == {"service-levels"}
    assert {event.service for event in started} == {"mail"}


def test_a_priority_without_a_submission_means_nothing() -> None:
    assert Clocks().tell(first(2), 1) == []


@pytest.mark.parametrize("event", [first(None), then(None)])
def test_an_unknown_priority_changes_nothing(event: Any) -> None:
    assert running().tell(event, 1) == []


@pytest.mark.parametrize(
    ("priority", "response", "resolution"),
    [(1, 900, 14_400), (2, 1_800, 28_800), (3, 7_200, 86_400), (4, 14_400, 172_800)],
)
def test_each_priority_has_its_targets(priority: int, response: int, resolution: int) -> None:
    assert target_seconds("response", priority) == response
    assert target_seconds("resolution", priority) == resolution


def test_a_priority_that_comes_after_the_target_is_due_in_the_past() -> None:
    clocks = given((SUBMITTED, 0), (first(1), 1))
    assert kinds(clocks.fire(1)) == [("TargetWarned", "response"), ("TargetBreached", "response")]


# --- stopping ----------------------------------------------------------------------------------


def test_the_first_acceptance_stops_the_response_clock() -> None:
    assert running().tell(ACCEPTED, 1) == [
        ServiceLevelClockStopped(clock="response", elapsed_seconds=HOUR, met=True, service="mail")
    ]


def test_a_second_acceptance_adds_nothing() -> None:
    clocks = running()
    clocks.tell(ACCEPTED, 1)
    assert clocks.tell(ACCEPTED, 2) == []


def test_the_resolution_stops_both_clocks() -> None:
    stopped = running().tell(RESOLVED, 1.5)
    assert kinds(stopped) == [("ClockStopped", "response"), ("ClockStopped", "resolution")]
    assert {event.met for event in stopped} == {True}


def test_an_amended_resolution_adds_nothing() -> None:
    clocks = running()
    clocks.tell(RESOLVED, 1)
    assert clocks.tell(AMENDED, 90) == []


def test_elapsed_time_is_rounded_up_so_that_it_shows_a_miss() -> None:
    just_late = running().tell(ACCEPTED, 2 + 0.1 / HOUR)
    assert just_late[-1] == ServiceLevelClockStopped(
        clock="response", elapsed_seconds=2 * HOUR + 1, met=False, service="mail"
    )


def test_an_acceptance_before_the_first_priority_is_judged_when_that_comes() -> None:
    clocks = given((SUBMITTED, 0))
    assert clocks.tell(ACCEPTED, 1)[0].met is None
    decided = clocks.tell(first(1), 2)
    assert kinds(decided) == [
        ("ClockStarted", "response"),
        ("TargetBreached", "response"),
        ("ClockStopped", "response"),
        ("ClockStarted", "resolution"),
    ]
    assert (decided[2].elapsed_seconds, decided[2].met) == (HOUR, False)


# --- pausing -----------------------------------------------------------------------------------


def test_waiting_for_the_customer_pauses_what_runs() -> None:
    assert running().tell(CUSTOMER, 1) == [
        ServiceLevelClockPaused(clock="response", elapsed_seconds=HOUR),
        ServiceLevelClockPaused(clock="resolution", elapsed_seconds=HOUR),
    ]


def test_a_stopped_clock_is_not_paused() -> None:
    clocks = running()
    clocks.tell(ACCEPTED, 1)
    assert kinds(clocks.tell(CUSTOMER, 2)) == [("ClockPaused", "resolution")]


def test_waiting_for_anybody_else_is_our_own_time() -> None:
    clocks = running()
    assert clocks.tell(SUPPLIER, 1) == []
    assert clocks.tell(ANSWERED, 2) == []


def test_a_second_pause_adds_nothing() -> None:
    clocks = running()
    clocks.tell(CUSTOMER, 1)
    assert clocks.tell(CUSTOMER, 2) == []


def test_the_answer_lets_the_clocks_run_on_and_moves_what_is_due() -> None:
    clocks = running()
    clocks.tell(CUSTOMER, 1)
    assert clocks.tell(ANSWERED, 11) == [
        ServiceLevelClockResumed(clock="response", elapsed_seconds=HOUR, due_at=at(12)),
        ServiceLevelClockResumed(clock="resolution", elapsed_seconds=HOUR, due_at=at(34)),
    ]


def test_a_paused_clock_is_never_due() -> None:
    clocks = running()
    clocks.tell(CUSTOMER, 1)
    assert SERVICE_LEVEL.deadlines(clocks.state) == {}
    assert clocks.state.due_microseconds is None


# --- retargeting -------------------------------------------------------------------------------


def test_another_priority_gives_other_targets_and_keeps_what_elapsed() -> None:
    clocks = running(3)
    clocks.tell(ACCEPTED, 1)
    retargeted = clocks.tell(then(2), 3)
    assert kinds(retargeted) == [("ClockRetargeted", "resolution")]
    assert (retargeted[0].elapsed_seconds, retargeted[0].due_at) == (3 * HOUR, at(8))


def test_the_same_priority_again_adds_nothing() -> None:
    assert running(3).tell(then(3), 1) == []


def test_past_the_new_target_is_a_breach_at_once() -> None:
    decided = running(3).tell(then(1), 5)
    assert kinds(decided) == [
        ("ClockRetargeted", "response"),
        ("TargetBreached", "response"),
        ("ClockRetargeted", "resolution"),
        ("TargetBreached", "resolution"),
    ]
    assert (decided[3].due_at, decided[3].target_seconds) == (at(5), 4 * HOUR)


def test_a_paused_clock_past_its_new_target_breaches_when_it_runs_on() -> None:
    clocks = running(3)
    clocks.tell(ACCEPTED, 1)
    clocks.tell(CUSTOMER, 6)
    assert kinds(clocks.tell(then(1), 7)) == [("ClockRetargeted", "resolution")]
    resumed = clocks.tell(ANSWERED, 8)
    assert kinds(resumed) == [("TargetBreached", "resolution"), ("ClockResumed", "resolution")]
    assert resumed[0].due_at == at(8)


def test_a_milder_priority_does_not_take_a_breach_back() -> None:
    clocks = running(1)
    clocks.fire(5)
    assert kinds(clocks.tell(then(4), 6)) == [
        ("ClockRetargeted", "response"),
        ("ClockRetargeted", "resolution"),
    ]
    stopped = clocks.tell(RESOLVED, 7)
    assert [event.met for event in stopped] == [False, False]


def test_a_milder_target_is_warned_about_again() -> None:
    clocks = running(3)
    clocks.tell(ACCEPTED, 1)
    clocks.fire(20)
    clocks.tell(then(4), 21)
    assert SERVICE_LEVEL.deadlines(clocks.state) == {
        "resolution-warning": at(36),
        "resolution-breach": at(48),
    }


def test_a_used_up_target_is_not_warned_about_twice() -> None:
    clocks = running(4)
    clocks.tell(ACCEPTED, 1)
    clocks.fire(40)
    clocks.tell(then(4), 41)
    assert SERVICE_LEVEL.deadlines(clocks.state) == {"resolution-breach": at(48)}


# --- reopening, cancelling ---------------------------------------------------------------------


def test_the_resolution_clock_runs_on_when_the_request_is_reopened() -> None:
    clocks = running(3)
    clocks.tell(RESOLVED, 2)
    assert clocks.tell(REOPENED, 100) == [
        ServiceLevelClockResumed(clock="resolution", elapsed_seconds=2 * HOUR, due_at=at(122))
    ]
    again = clocks.tell(RESOLVED, 110)
    assert kinds(again) == [("ClockStopped", "resolution")]
    assert (again[0].elapsed_seconds, again[0].met) == (12 * HOUR, True)


def test_a_breach_stays_when_the_request_is_reopened() -> None:
    clocks = running(3)
    clocks.fire(30)
    clocks.tell(RESOLVED, 30)
    clocks.tell(REOPENED, 40)
    assert SERVICE_LEVEL.deadlines(clocks.state) == {}
    assert clocks.tell(RESOLVED, 41)[0].met is False


def test_a_second_reopening_adds_nothing() -> None:
    clocks = running(3)
    assert clocks.tell(REOPENED, 1) == []
    clocks.tell(RESOLVED, 2)
    clocks.tell(REOPENED, 3)
    assert clocks.tell(REOPENED, 3) == []


def test_a_cancelled_request_promises_nothing_more() -> None:
    clocks = running(3)
    clocks.tell(ACCEPTED, 1)
    assert clocks.tell(CANCELLED, 2) == [ServiceLevelClockCancelled(clock="resolution")]
    assert SERVICE_LEVEL.deadlines(clocks.state) == {}
    for event in (CUSTOMER, ANSWERED, REOPENED, then(1), CANCELLED):
        assert clocks.tell(event, 3) == []
