"""Clocks and waits read from the times of a request's own facts."""

from typing import Any

import pytest

from casebook.monitoring.domain.history import (
    clock_history,
    microseconds,
    moment_of,
    month,
    reading_of,
    stop_of,
    waiting_microseconds,
)
from tests.unit.monitoring.given import START, at

HOUR = 3_600_000_000


def course(*steps: tuple[float, str, Any], live: bool = False) -> list[list[Any]]:
    """Return a course of these steps, in hours after START."""
    return [[microseconds(at(hours)), step, value, live] for hours, step, value in steps]


def test_a_moment_is_kept_to_the_microsecond_and_its_month_is_that_of_utc() -> None:
    assert moment_of(microseconds(START)) == START
    assert month(START) == "2026-03"


def test_what_moves_no_clock_is_no_history() -> None:
    told = course((0, "submission", {}), (0, "priority", 2), (1, "team", "mail"), (2, "closure", 1))
    assert [step for _, step, _ in clock_history(told)] == ["priority", "closure"]


def test_live_facts_stand_in_the_order_of_their_times_and_observed_ones_as_they_came() -> None:
    steps = ((2, "waiting", "customer"), (1, "priority", 3))
    assert [step for _, step, _ in clock_history(course(*steps))] == ["waiting", "priority"]
    assert [step for _, step, _ in clock_history(course(*steps, live=True))] == [
        "priority",
        "waiting",
    ]


def test_the_first_response_counts() -> None:
    history = clock_history(course((0, "priority", 2), (1, "response", None), (2, "response", 1)))
    assert [step for _, step, _ in history] == ["priority", "response"]


@pytest.mark.parametrize(("hours", "met"), [(8, True), (9, False)])
def test_a_resolution_is_judged_by_the_target_of_the_priority(hours: float, met: bool) -> None:
    history = clock_history(course((0, "priority", 2), (hours, "resolution", None)))
    stop = stop_of("resolution", START, history)
    assert stop is not None
    assert (stop.met, stop.elapsed) == (met, at(hours) - START)


def test_only_waiting_for_the_customer_is_not_counted() -> None:
    for reason, hours in (("customer", 3), ("supplier", 5)):
        waits = ((1, "waiting", reason), (3, "ready", None), (5, "resolution", None))
        stop = stop_of("resolution", START, clock_history(course((0, "priority", 4), *waits)))
        assert stop is not None
        assert stop.elapsed == at(hours) - START


def test_without_a_priority_or_after_a_cancellation_there_is_nothing_to_judge() -> None:
    assert stop_of("resolution", START, clock_history(course((1, "resolution", None)))) is None
    done = course((0, "priority", 2), (1, "resolution", None))
    over = course((2, "reopening", None), (3, "cancellation", None))
    assert stop_of("resolution", START, clock_history([*done, *over[1:]])) is not None
    assert stop_of("resolution", START, clock_history([*done, *over])) is None


def test_what_is_resolved_has_been_responded_to() -> None:
    history = clock_history(course((0, "priority", 2), (0.4, "resolution", None)))
    stop = stop_of("response", START, history)
    assert stop is not None
    assert stop.met


def test_nobody_waits_for_what_was_closed_until_it_is_reopened() -> None:
    history = clock_history(
        course((0, "priority", 2), (1, "closure", None), (21, "reopening", None))
    )
    assert reading_of("resolution", START, history).elapsed_at(at(22)) == at(2) - START


def test_waiting_ends_with_the_work_and_counts_within_its_bounds() -> None:
    history = clock_history(
        course((1, "waiting", "supplier"), (2, "ready", None), (3, "waiting", "customer"))
    )
    assert waiting_microseconds(history, START, at(5)) == 3 * HOUR
    assert waiting_microseconds(history, at(1.5), at(4)) == 3 * HOUR // 2
