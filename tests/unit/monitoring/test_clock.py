"""The arithmetic of a clock over sequences that nobody wrote by hand."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.monitoring.domain.clock import (
    Mark,
    Reading,
    Step,
    insert,
    is_open,
    read,
    whole_seconds,
)
from tests.unit.monitoring.given import START, at

STEPS: list[Step] = ["target", "pause", "resume", "stop", "reopen", "cancel"]
TARGETS = {1: 4 * 3600, 2: 8 * 3600, 3: 24 * 3600, 4: 48 * 3600}
TICK = timedelta(minutes=7)


@st.composite
def marks(draw: st.DrawFn, *, ordered: bool = True) -> list[Mark]:
    """Draw the marks of a clock that has a target from the start on."""
    steps = draw(st.lists(st.sampled_from(STEPS), max_size=12))
    ticks = draw(
        st.lists(st.integers(0, 600), min_size=len(steps), max_size=len(steps)).map(
            sorted if ordered else list
        )
    )
    priorities = draw(st.lists(st.integers(1, 4), min_size=len(steps) + 1, max_size=len(steps) + 1))
    made = [Mark(START, "target", priorities[0], TARGETS[priorities[0]])]
    for step, tick, priority in zip(steps, ticks, priorities[1:], strict=True):
        if step == "target":
            made.append(Mark(START + tick * TICK, step, priority, TARGETS[priority]))
        else:
            made.append(Mark(START + tick * TICK, step))
    return made


MOVES: dict[tuple[Step, str], str] = {
    ("pause", "running"): "paused",
    ("resume", "paused"): "running",
    ("stop", "running"): "stopped",
    ("stop", "paused"): "stopped",
    ("reopen", "stopped"): "running",
    ("cancel", "running"): "cancelled",
    ("cancel", "paused"): "cancelled",
}


def step_by_step(made: list[Mark]) -> tuple[timedelta, bool]:
    """Return elapsed time and whether it was ever above the target, counting every tick."""
    status, elapsed, target, breached = "running", timedelta(0), timedelta.max, False
    now = START
    for mark in made:
        while now < mark.at:
            now += TICK
            if status == "running":
                elapsed += TICK
                breached |= elapsed > target
        if mark.step == "target" and status != "cancelled":
            target = timedelta(seconds=mark.target_seconds or 0)
        ends = mark.step == "stop" and status in {"running", "paused"}
        status = MOVES.get((mark.step, status), status)
        breached |= (ends or status == "running") and elapsed > target
    return elapsed, breached


@given(marks())
def test_elapsed_and_breach_equal_those_of_counting_step_by_step(made: list[Mark]) -> None:
    reading = read(Reading(since=START), made)
    elapsed, breached = step_by_step(made)
    assert reading.elapsed_at(made[-1].at) == elapsed
    assert (reading.missed_at(made[-1].at) is not None) == breached


@given(marks(ordered=False))
def test_elapsed_time_is_never_negative_even_if_times_go_back(made: list[Mark]) -> None:
    reading = read(Reading(since=START), made)
    assert reading.elapsed >= timedelta(0)
    assert reading.elapsed_at(at(-100)) >= timedelta(0)
    if reading.last_stop is not None:
        assert reading.last_stop.elapsed >= timedelta(0)


@given(marks())
def test_a_stop_within_the_target_is_met_unless_an_overrun_was_before(made: list[Mark]) -> None:
    reading = read(Reading(since=START), [*made, Mark(at(1000), "stop")])
    stop = reading.last_stop
    if stop is None or stop.target_seconds is None:
        return
    if stop.elapsed > timedelta(seconds=stop.target_seconds):
        assert stop.met is False
    if stop.met is False:
        assert reading.overrun is not None
        assert reading.overrun.at <= stop.at


@given(marks(), st.integers(1, 500))
def test_the_length_of_a_pause_never_counts(made: list[Mark], ticks: int) -> None:
    """Stretching the time between a pause and its end leaves the elapsed time alone."""
    for index, mark in enumerate(made[:-1]):
        before = read(Reading(since=START), made[: index + 1])
        if mark.step == "pause" and before.status == "paused" and before.since == mark.at:
            later = [
                Mark(each.at + ticks * TICK, each.step, each.priority, each.target_seconds)
                for each in made[index + 1 :]
            ]
            stretched = read(Reading(since=START), [*made[: index + 1], *later])
            assert stretched.elapsed == read(Reading(since=START), made).elapsed
            assert (stretched.overrun is None) == (read(Reading(since=START), made).overrun is None)


@given(marks())
def test_marks_that_come_again_change_nothing(made: list[Mark]) -> None:
    once = read(Reading(since=START), made)
    again: tuple[Mark, ...] = tuple(made)
    for mark in made:
        if mark.step in {"pause", "resume", "stop", "reopen", "cancel"} and is_open(once):
            again = insert(again, mark)
    if len({mark.at for mark in made}) == len(made):
        assert read(Reading(since=START), again) == once


@given(marks(), st.randoms(use_true_random=False))
def test_marks_are_put_in_the_order_of_their_times(made: list[Mark], random: object) -> None:
    if len({mark.at for mark in made}) < len(made):
        return
    shuffled = list(made)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    ordered: tuple[Mark, ...] = ()
    for mark in shuffled:
        ordered = insert(ordered, mark)
    assert list(ordered) == made


def test_of_marks_of_one_time_the_last_told_stands_last() -> None:
    stop, pause = Mark(at(1), "stop"), Mark(at(1), "pause")
    assert insert(insert((), stop), pause) == (stop, pause)


@pytest.mark.parametrize(
    ("elapsed", "seconds"),
    [
        (timedelta(0), 0),
        (timedelta(microseconds=1), 1),
        (timedelta(seconds=1), 1),
        (timedelta(seconds=1, microseconds=1), 2),
    ],
)
def test_whole_seconds_are_rounded_up(elapsed: timedelta, seconds: int) -> None:
    assert whole_seconds(elapsed) == seconds


def test_what_has_no_target_is_never_due() -> None:
    reading = Reading(since=START)
    assert (reading.due_at, reading.reached_at(75)) == (None, None)


def test_a_target_means_nothing_to_a_cancelled_clock() -> None:
    cancelled = read(Reading(since=START), [Mark(at(1), "cancel")])
    assert (
        read(Reading(since=START), [Mark(at(1), "cancel"), Mark(at(2), "target", 1, 900)])
        == cancelled
    )
