"""What a request's own times say about its handling and its service levels (handbook 2.3, 6.1).

The course of a request is a list of ``[microseconds since 1970, step, value, live]``, one for each
fact that a KPI counts, in the order of the log; a row of the KPI table keeps it. Its history is
what of it moves a clock or a wait: observed facts in the order of the log, which is that of their
source; live ones, of several services, in the order of their times. Live and observed requests
are read by the same arithmetic, that of :mod:`casebook.monitoring.domain.clock`.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

from casebook.monitoring.domain.clock import Mark, Reading, Stop, read
from casebook.monitoring.domain.targets import PAUSING_REASON, target_seconds

Step: TypeAlias = Literal[
    "submission", "priority", "team", "group-change", "progress", "response", "waiting", "ready",
    "resolution", "amendment", "closure", "reopening", "cancellation", "source-result",
]  # fmt: skip
Entry: TypeAlias = list[Any]

ENDS: frozenset[Step] = frozenset({"response", "resolution", "cancellation"})
"""The steps that end a clock."""

CLOCK_STEPS: frozenset[Step] = ENDS | frozenset[Step](
    {"priority", "waiting", "ready", "closure", "reopening"}
)
"""The steps that a clock or a wait is read from."""

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Return the microseconds since 1970."""
    return (moment - _BEGINNING) // _MICROSECOND


def month(moment: datetime) -> str:
    """Return the month of a moment in UTC, such as ``2016-03``."""
    utc = moment.astimezone(UTC)
    return f"{utc.year:04d}-{utc.month:02d}"


def moment_of(at: int) -> datetime:
    """Return the moment of an entry."""
    return _BEGINNING + at * _MICROSECOND


def clock_history(course: Iterable[Entry]) -> list[Entry]:
    """Return what of a course its clocks and waits are read from.

    What is observed stands in the order of the log, what is live in the order of its times.
    """
    history: list[Entry] = []
    for at, step, value, live in course:
        if step not in CLOCK_STEPS or (step == "response" and _responded(history, at, live=live)):
            continue
        place = len(history)
        while live and place > 0 and history[place - 1][0] > at:
            place -= 1
        history.insert(place, [at, step, value])
    return history


def _responded(history: Iterable[Entry], at: int, *, live: bool) -> bool:
    """Say whether a response is known that came first."""
    return any(step == "response" and (not live or before <= at) for before, step, _ in history)


def stop_of(
    clock: Literal["response", "resolution"], opened_at: datetime, history: Sequence[Entry]
) -> Stop | None:
    """Return how the clock last stopped; ``None`` while it never did, or when it was cancelled.

    A request whose priority was not known by then has no promise to judge, and no stop.
    """
    reading = reading_of(clock, opened_at, history)
    stop = reading.last_stop
    if reading.status == "cancelled" or stop is None or stop.met is None:
        return None
    return stop


def reading_of(
    clock: Literal["response", "resolution"], opened_at: datetime, history: Sequence[Entry]
) -> Reading:
    """Return what a clock of the request shows after its history."""
    return read(Reading(since=opened_at), _marks(clock, opened_at, history))


def waiting_microseconds(history: Sequence[Entry], begin: datetime, end: datetime) -> int:
    """Return how long the request was in any waiting state between ``begin`` and ``end``.

    A resolution ends the wait that it meets; a wait that nothing ended lasts until ``end``.
    """
    first, last = microseconds(begin), microseconds(end)
    total = 0
    since: int | None = None
    for at, step, _ in history:
        if step == "waiting" and since is None:
            since = at
        elif step in {"ready", "resolution", "cancellation"} and since is not None:
            total += max(0, min(at, last) - max(since, first))
            since = None
    if since is not None:
        total += max(0, last - max(since, first))
    return total


def _marks(
    clock: Literal["response", "resolution"], opened_at: datetime, history: Sequence[Entry]
) -> Iterator[Mark]:
    """Yield the marks that the history puts on a clock; the first priority counts from the start.

    Assumption: what is resolved has been responded to, even if nobody accepted it before; and
    nobody waits for the resolution of what was closed without one, until it is reopened.
    """
    first = next((each for each in history if each[1] == "priority" and each[2]), None)
    if first is not None:
        yield Mark(opened_at, "target", first[2], target_seconds(clock, first[2]))
    closed = False
    for each in history:
        at, step, value = each
        moment = moment_of(at)
        if step == "priority" and value is not None and each is not first:
            yield Mark(moment, "target", value, target_seconds(clock, value))
        elif step == "waiting" and value == PAUSING_REASON:
            yield Mark(moment, "pause")
        elif step == "ready":
            yield Mark(moment, "resume")
        elif step == "resolution" or (step == "response" and clock == "response"):
            yield Mark(moment, "stop")
        elif step == "closure" and clock == "resolution":
            closed = True
            yield Mark(moment, "pause")
        elif step == "reopening" and clock == "resolution":
            if closed:
                yield Mark(moment, "resume")
            closed = False
            yield Mark(moment, "reopen")
        elif step == "cancellation":
            yield Mark(moment, "cancel")
