"""Warnings and breaches: when they fire, and what takes them back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.events.event import Event
from casebook.events.service_level import (
    ServiceLevelBreachWithdrawn,
    ServiceLevelClockStopped,
    ServiceLevelTargetBreached,
    ServiceLevelTargetWarned,
)
from casebook.monitoring.domain.service_level import SERVICE_LEVEL, on_deadline
from tests.unit.monitoring.given import (
    ACCEPTED,
    ANSWERED,
    CANCELLED,
    CUSTOMER,
    RESOLVED,
    Clocks,
    at,
    kinds,
    running,
    then,
)

HOUR = 3600


def resolution(clocks: Clocks) -> Any:
    reading = clocks.state.resolution.reading
    assert reading is not None
    return reading


# --- deadlines ---------------------------------------------------------------------------------


def test_a_running_clock_wants_to_warn_at_three_quarters_and_to_breach_at_the_target() -> None:
    assert SERVICE_LEVEL.deadlines(running(3).state) == {
        "response-warning": at(1.5),
        "response-breach": at(2),
        "resolution-warning": at(18),
        "resolution-breach": at(24),
    }


def test_a_warning_says_when_it_was_due_and_when_it_fired() -> None:
    assert running(3).fire(1.75) == [
        ServiceLevelTargetWarned(clock="response", due_at=at(1.5), fired_at=at(1.75))
    ]


def test_a_breach_says_when_it_was_due_and_when_it_fired() -> None:
    clocks = running(3)
    fired = clocks.fire(2.25)
    assert fired[1] == ServiceLevelTargetBreached(
        clock="response",
        priority=3,
        target_seconds=2 * HOUR,
        due_at=at(2),
        fired_at=at(2.25),
        service="mail",
    )
    assert "response-breach" not in SERVICE_LEVEL.deadlines(clocks.state)
    assert clocks.fire(3) == []


@pytest.mark.parametrize(
    ("kind", "due", "now"),
    [
        ("response-breach", 2, 1.9),  # not yet
        ("response-breach", 1, 3),  # of another time
        ("update-breach", 2, 3),  # of another clock
    ],
)
def test_a_deadline_that_is_not_wanted_gives_nothing(kind: str, due: float, now: float) -> None:
    assert on_deadline(running(3).state, kind, at(due), at(now)) == []


def test_a_breach_that_no_timer_saw_is_recorded_by_the_stop() -> None:
    decided = running(3).tell(ACCEPTED, 3, seen=3.5)
    assert kinds(decided) == [("TargetBreached", "response"), ("ClockStopped", "response")]
    assert (decided[0].due_at, decided[0].fired_at) == (at(2), at(3.5))


# --- what becomes known late -------------------------------------------------------------------


def breached() -> Clocks:
    clocks = running(3)
    clocks.fire(2.5)
    return clocks


def test_a_breach_is_withdrawn_by_an_earlier_stop() -> None:
    clocks = breached()
    breach = clocks.facts[-1].envelope.id
    assert clocks.tell(ACCEPTED, 1.9, seen=3) == [
        ServiceLevelBreachWithdrawn(clock="response", breach=breach, service="mail"),
        ServiceLevelClockStopped(clock="response", elapsed_seconds=6840, met=True, service="mail"),
    ]


def test_a_stop_at_the_very_end_keeps_the_promise() -> None:
    assert kinds(breached().tell(ACCEPTED, 2, seen=3))[0] == ("BreachWithdrawn", "response")


def test_a_breach_is_withdrawn_by_an_earlier_pause_and_comes_later() -> None:
    clocks = breached()
    paused = clocks.tell(CUSTOMER, 1, seen=3)
    assert ("BreachWithdrawn", "response") in kinds(paused)
    clocks.tell(ANSWERED, 4, seen=4)
    assert kinds(clocks.fire(5.5)) == [("TargetBreached", "response")]


def test_a_later_stop_lets_the_breach_stand() -> None:
    assert kinds(breached().tell(ACCEPTED, 2.1, seen=3)) == [("ClockStopped", "response")]


def test_an_earlier_change_to_a_milder_priority_withdraws_a_breach() -> None:
    decided = breached().tell(then(4), 1.5, seen=3)
    assert kinds(decided)[:2] == [("ClockRetargeted", "response"), ("BreachWithdrawn", "response")]


def test_a_breach_that_also_missed_the_milder_target_stands() -> None:
    clocks = running(3)
    clocks.fire(5)
    assert kinds(clocks.tell(then(4), 1.5, seen=6)) == [
        ("ClockRetargeted", "response"),
        ("ClockRetargeted", "resolution"),
    ]


def test_a_cancellation_before_the_breach_withdraws_it() -> None:
    assert kinds(breached().tell(CANCELLED, 1, seen=3)) == [
        ("BreachWithdrawn", "response"),
        ("ClockCancelled", "response"),
        ("ClockCancelled", "resolution"),
    ]


def test_a_pause_before_an_earlier_breach_withdraws_it_even_from_a_cancelled_clock() -> None:
    clocks = running(3)
    clocks.tell(then(1), 0.5)
    clocks.tell(CANCELLED, 1)
    assert kinds(clocks.tell(CUSTOMER, 0.25, seen=2)) == [
        ("BreachWithdrawn", "response"),
        ("ClockPaused", "response"),
        ("ClockPaused", "resolution"),
    ]


def test_a_resolution_before_the_cancellation_wins_although_it_comes_later() -> None:
    clocks = running(3)
    clocks.tell(CANCELLED, 2, seen=2)
    decided = clocks.tell(RESOLVED, 1.5, seen=3)
    assert kinds(decided) == [("ClockStopped", "response"), ("ClockStopped", "resolution")]
    assert resolution(clocks).status == "stopped"


INTAKES: list[Event] = [then(1), then(2), then(4), CANCELLED]
DISPATCHES: list[Event] = [ACCEPTED, CUSTOMER, ANSWERED, RESOLVED]


@st.composite
def two_services(draw: st.DrawFn) -> tuple[list[tuple[Event, float]], list[tuple[Event, float]]]:
    """Draw facts of two services in the order of their times, and in one of arrival.

    Each service's own facts arrive in order, whatever the other one does.
    """
    quarters = draw(st.lists(st.integers(1, 240), max_size=8, unique=True).map(sorted))
    by_time: list[tuple[Event, float]] = []
    queues: tuple[list[tuple[Event, float]], list[tuple[Event, float]]] = ([], [])
    for quarter in quarters:
        which = draw(st.integers(0, 1))
        told = draw(st.sampled_from((INTAKES, DISPATCHES)[which])), quarter / 4
        by_time.append(told)
        queues[which].append(told)
    arrived: list[tuple[Event, float]] = []
    while any(queues):
        which = draw(st.integers(0, 1))
        queue = queues[which] or queues[1 - which]
        arrived.append(queue.pop(0))
    return by_time, arrived


@given(two_services(), st.integers(0, 40))
def test_event_time_decides_whatever_arrives_first(
    facts: tuple[list[tuple[Event, float]], list[tuple[Event, float]]], lag: int
) -> None:
    by_time, arrived = facts
    late, in_time = running(3), running(3)
    for event, hour in by_time:
        in_time.fire(hour - 0.01)
        in_time.tell(event, hour)
    now = 0.0
    for event, hour in arrived:
        now = max(now, hour + lag / 4)
        late.fire(now)
        late.tell(event, hour, seen=now)
    end = max(now, 100.0)
    late.fire(end)
    in_time.fire(end)
    for name in ("response", "resolution"):
        mine, theirs = late.state.clock(name), in_time.state.clock(name)
        assert mine.reading is not None
        assert theirs.reading is not None
        assert mine.reading.status == theirs.reading.status
        assert mine.reading.last_stop == theirs.reading.last_stop
        missed = mine.reading.missed_at(at(end)) is not None
        assert missed == (theirs.reading.missed_at(at(end)) is not None)
        assert (mine.breach is not None) == (theirs.breach is not None) == missed
