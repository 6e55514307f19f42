"""The arithmetic of one promise: a clock that runs, stands still, ends (handbook 2.2, 2.3).

A clock is a sequence of marks, each with the time when it happened, and :func:`read` is its only
evaluation: the streams of live requests and the KPI table of all requests use the same one. What
becomes known late is put in its place by :func:`insert`, so event time decides every outcome.

Time counts around the clock, so that elapsed time is plain subtraction. Assumption: a segment
whose end lies before its beginning, as in an observed history whose times go back, counts zero.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, assert_never

Status: TypeAlias = Literal["running", "paused", "stopped", "cancelled"]
Step: TypeAlias = Literal["target", "pause", "resume", "stop", "reopen", "cancel"]

_ZERO = timedelta(0)
_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened to a clock; a ``target`` mark carries the priority and target."""

    at: datetime
    step: Step
    priority: int | None = None
    target_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Overrun:
    """When the elapsed time went past the target, and which target that was."""

    at: datetime
    priority: int
    target_seconds: int


@dataclass(frozen=True, slots=True)
class Stop:
    """The end of a promise: when, after how much time, under which target, kept or not.

    ``met`` is ``None`` where there was no target yet.
    """

    at: datetime
    elapsed: timedelta
    priority: int | None
    target_seconds: int | None
    met: bool | None

    @property
    def elapsed_microseconds(self) -> int:
        """Return the time without pauses."""
        return self.elapsed // _MICROSECOND


@dataclass(frozen=True, slots=True)
class Reading:
    """What a clock shows after its last mark.

    ``elapsed`` is the time without pauses up to ``since``, the begin of the present status.
    ``overrun`` is there once a mark shows that the target was exceeded before it; it stays.
    """

    since: datetime
    status: Status = "running"
    elapsed: timedelta = _ZERO
    priority: int | None = None
    target_seconds: int | None = None
    overrun: Overrun | None = None
    last_stop: Stop | None = None

    def elapsed_at(self, moment: datetime) -> timedelta:
        """Return the time without pauses up to ``moment``."""
        if self.status != "running":
            return self.elapsed
        return self.elapsed + max(_ZERO, moment - self.since)

    def reached_at(self, percent: int) -> datetime | None:
        """Return when a running clock reaches ``percent`` of its target, perhaps in the past."""
        if self.status != "running" or self.target_seconds is None:
            return None
        share = timedelta(seconds=self.target_seconds) * percent / 100
        return self.since + (share - self.elapsed)

    def missed_at(self, moment: datetime) -> datetime | None:
        """Return when the target was missed, as it looks at ``moment``; ``None`` if it was not."""
        if self.overrun is not None:
            return self.overrun.at
        due = self.due_at
        return due if due is not None and due < moment else None

    @property
    def due_at(self) -> datetime | None:
        """Return when a running clock reaches its target: later is a breach."""
        return self.reached_at(100)


def insert(marks: Sequence[Mark], mark: Mark) -> tuple[Mark, ...]:
    """Return the marks with ``mark`` at its place in time, after those of the same time."""
    place = len(marks)
    while place > 0 and marks[place - 1].at > mark.at:
        place -= 1
    return (*marks[:place], mark, *marks[place:])


def read(reading: Reading, marks: Iterable[Mark]) -> Reading:
    """Return what a clock shows that began with ``reading``; total for every sequence."""
    for mark in marks:
        reading = advance(reading, mark)
    return reading


def advance(reading: Reading, mark: Mark) -> Reading:
    """Return the reading after one more mark; a mark that means nothing now changes nothing."""
    match mark.step:
        case "target":
            return _retargeted(reading, mark)
        case "pause":
            return _ended(reading, mark.at, "paused") if reading.status == "running" else reading
        case "resume":
            return _running(reading, mark.at) if reading.status == "paused" else reading
        case "stop":
            return _stopped(reading, mark.at)
        case "reopen":
            return _running(reading, mark.at) if reading.status == "stopped" else reading
        case "cancel":
            return _ended(reading, mark.at, "cancelled") if is_open(reading) else reading
        case _:
            assert_never(mark.step)


def is_open(reading: Reading) -> bool:
    """Say whether the promise is still to be kept."""
    return reading.status in {"running", "paused"}


def whole_seconds(elapsed: timedelta) -> int:
    """Return the time in whole seconds, rounded up, so that it shows what was exceeded."""
    return -(-elapsed // _SECOND)


def _retargeted(reading: Reading, mark: Mark) -> Reading:
    """Judge what elapsed under the old target, then take the new one.

    What elapsed is kept; above the new target it is a breach at once (decisions 7.3). Assumption:
    a clock that stands still is judged by its target only when it runs on, or when it stops.
    """
    if mark.target_seconds is None or reading.status == "cancelled":
        return reading
    judged = _judged(reading, mark.at, earliest=reading.since)
    taken = replace(judged, priority=mark.priority, target_seconds=mark.target_seconds)
    return _judged(taken, mark.at, earliest=mark.at)


def _ended(reading: Reading, at: datetime, status: Status) -> Reading:
    """Let the clock stand still."""
    judged = _judged(reading, at, earliest=reading.since)
    return replace(judged, since=at, status=status, elapsed=judged.elapsed_at(at))


def _running(reading: Reading, at: datetime) -> Reading:
    """Let the clock run on; a target that was lowered in between may be exceeded already."""
    return _judged(replace(reading, since=at, status="running"), at, earliest=at)


def _stopped(reading: Reading, at: datetime) -> Reading:
    """End the promise, and keep how it ended."""
    if not is_open(reading):
        return reading
    ended = _ended(_running(reading, at) if reading.status == "paused" else reading, at, "stopped")
    met = None if ended.target_seconds is None else ended.overrun is None
    stop = Stop(at, ended.elapsed, ended.priority, ended.target_seconds, met)
    return replace(ended, last_stop=stop)


def _judged(reading: Reading, at: datetime, *, earliest: datetime) -> Reading:
    """Note the overrun if the clock runs past its target at ``at``; the first one stays.

    The target has been this one since ``earliest``, so the overrun cannot be before that.
    """
    target = reading.target_seconds
    if reading.overrun is not None or target is None or reading.priority is None:
        return reading
    if reading.status != "running" or reading.elapsed_at(at) <= timedelta(seconds=target):
        return reading
    overrun = Overrun(max(reading.due_at or at, earliest), reading.priority, target)
    return replace(reading, overrun=overrun)
