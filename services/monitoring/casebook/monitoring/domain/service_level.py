"""The stream ``service-level/<request id>``: two promises to the customer (handbook 2.2, 2.3, 4.2).

The response clock ends with the first acceptance by an agent, the resolution clock with the
resolution; both run from the submission on, stand still while the work waits for the customer,
and follow the priority. Of a history that is reopened here only the resolution clock runs, on from
where the history left it. Every event of the stream puts a mark on its clock, and the state is the
evaluation of the marks in the order of their times (:mod:`casebook.monitoring.domain.clock`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias, assert_never
from uuid import UUID

from casebook.events.definitions import SERVICE_LEVELS
from casebook.events.envelope import Envelope
from casebook.events.service_level import (
    CarriedTime,
    ServiceLevelBreachWithdrawn,
    ServiceLevelClockCancelled,
    ServiceLevelClockPaused,
    ServiceLevelClockResumed,
    ServiceLevelClockRetargeted,
    ServiceLevelClockStarted,
    ServiceLevelClockStopped,
    ServiceLevelEvent,
    ServiceLevelOpened,
    ServiceLevelSourceResultRecorded,
    ServiceLevelTargetBreached,
    ServiceLevelTargetWarned,
)
from casebook.kit.decider import Refused, StreamFamily
from casebook.monitoring.domain.clock import Mark, Overrun, Reading, Step, insert, read

ClockName: TypeAlias = Literal["response", "resolution"]
CLOCKS: tuple[ClockName, ClockName] = ("response", "resolution")
SOURCE_RESULTS = frozenset({"met", "missed"})
"""What another system may say of its own service level."""

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class RecordedBreach:
    """A breach as the log has it: the event, when the target was missed, when that was seen."""

    event_id: UUID
    due_at: datetime
    fired_at: datetime


@dataclass(frozen=True, slots=True)
class Clock:
    """One promise: its marks, what they show, and what was announced about it.

    ``start`` is what it showed before its first mark, for one that runs on from a history.
    """

    start: Reading | None = None
    marks: tuple[Mark, ...] = ()
    reading: Reading | None = None
    breach: RecordedBreach | None = None
    warned: bool = False

    def read(self, opened_at: datetime, marks: Iterable[Mark]) -> Reading:
        """Return what the clock of a request opened at this moment shows after ``marks``."""
        return read(self.start or Reading(since=opened_at), marks)


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """The promises about one request; ``opened_at`` is its submission, or live reopening.

    ``due_microseconds`` since 1970 is when the next target of a running clock is reached; lists
    are filtered and ordered by it.
    """

    origin: str = "observed"
    opened_at: datetime | None = None
    service: str | None = None
    response: Clock = Clock()
    resolution: Clock = Clock()
    source_result: str | None = None
    due_microseconds: int | None = None

    def clock(self, name: str) -> Clock:
        """Return one of the two clocks; an empty one for a name of later days."""
        match name:
            case "response":
                return self.response
            case "resolution":
                return self.resolution
            case _:
                return Clock()


def evolve(level: ServiceLevel, event: ServiceLevelEvent, envelope: Envelope) -> ServiceLevel:
    """Return the state after ``event``; total, and never refuses."""
    if isinstance(event, ServiceLevelSourceResultRecorded):
        return replace(level, source_result=event.result)
    if envelope.origin != "live":
        return level  # another system's clocks are history; ours follow from the facts themselves
    level = replace(level, origin="live")
    match event:
        case ServiceLevelOpened():
            return _opened(level, event, envelope)
        case ServiceLevelClockStarted():
            return _marked(level, event.clock, _target(event, level.opened_at or envelope.time))
        case ServiceLevelClockRetargeted():
            return _retargeted(level, event, envelope)
        case ServiceLevelClockPaused():
            return _marked(level, event.clock, Mark(envelope.time, "pause"))
        case ServiceLevelClockResumed():
            return _resumed(level, event, envelope)
        case ServiceLevelClockStopped():
            return _marked(level, event.clock, Mark(envelope.time, "stop"))
        case ServiceLevelClockCancelled():
            return _marked(level, event.clock, Mark(envelope.time, "cancel"))
        case ServiceLevelTargetWarned():
            return _changed(level, event.clock, warned=True)
        case ServiceLevelTargetBreached():
            breach = RecordedBreach(envelope.id, event.due_at, event.fired_at)
            return _changed(level, event.clock, breach=breach)
        case ServiceLevelBreachWithdrawn():
            return _changed(level, event.clock, breach=None)
        case _:
            assert_never(event)


def guard(level: ServiceLevel, event: ServiceLevelEvent) -> None:
    """Refuse a published fact that contradicts what is known; only results are published.

    :raises Refused: ``service-level-not-publishable`` for facts about Casebook's own clocks,
        ``source-result-unknown`` for anything but ``met`` and ``missed``,
        ``source-result-recorded`` when the request has one already.
    """
    if not isinstance(event, ServiceLevelSourceResultRecorded):
        raise Refused("service-level-not-publishable", "Casebook's clocks are its own account")
    if event.result not in SOURCE_RESULTS:
        raise Refused("source-result-unknown", "a result is met or missed")
    if level.source_result is not None:
        raise Refused("source-result-recorded", "the request has a result of its source already")


def deadlines(level: ServiceLevel) -> dict[str, datetime]:
    """Return when which clock is to warn or to breach; nothing for observed history."""
    wanted: dict[str, datetime] = {}
    for name in CLOCKS:
        clock = level.clock(name)
        if clock.reading is None or clock.breach is not None or clock.reading.due_at is None:
            continue
        wanted[f"{name}-breach"] = clock.reading.due_at
        warning = clock.reading.reached_at(SERVICE_LEVELS.body.warning_percent)
        if not clock.warned and warning is not None:
            wanted[f"{name}-warning"] = warning
    return wanted


def on_deadline(
    level: ServiceLevel, kind: str, due: datetime, now: datetime
) -> list[ServiceLevelEvent]:
    """Warn, or record the breach, with when it was due and when it was seen.

    A deadline that the state no longer wants, or wants at another time, gives nothing.
    """
    if deadlines(level).get(kind) != due or now < due:
        return []
    name, _, what = kind.partition("-")
    reading = level.clock(name).reading
    if what == "warning":
        return [ServiceLevelTargetWarned(clock=name, due_at=due, fired_at=now)]
    if reading is None or reading.priority is None or reading.target_seconds is None:
        return []
    return [
        ServiceLevelTargetBreached(
            clock=name,
            priority=reading.priority,
            target_seconds=reading.target_seconds,
            due_at=due,
            fired_at=now,
            service=level.service,
        )
    ]


def _opened(level: ServiceLevel, event: ServiceLevelOpened, envelope: Envelope) -> ServiceLevel:
    """Begin to count; a second opening changes nothing."""
    if level.opened_at is not None:
        return level
    level = replace(level, opened_at=envelope.time, service=event.service)
    if event.carried is not None:
        return replace(level, resolution=_carried_on(event.carried, envelope))
    clock = Clock(reading=Reading(since=envelope.time))
    return replace(level, response=clock, resolution=clock)


def _carried_on(carried: CarriedTime, envelope: Envelope) -> Clock:
    """Return the resolution clock of a history, running on; its breach is known, and stays."""
    breach = carried.breach
    start = Reading(
        since=envelope.time,
        elapsed=carried.elapsed_microseconds * _MICROSECOND,
        overrun=breach and Overrun(breach.at, breach.priority, breach.target_seconds),
    )
    known = breach and RecordedBreach(envelope.id, breach.at, envelope.time)
    return Clock(start=start, reading=start, breach=known)


def _target(event: ServiceLevelClockStarted | ServiceLevelClockRetargeted, at: datetime) -> Mark:
    return Mark(at, "target", event.priority, event.target_seconds)


def _retargeted(
    level: ServiceLevel, event: ServiceLevelClockRetargeted, envelope: Envelope
) -> ServiceLevel:
    """Take the new target; a warning is due again where the clock is below its share."""
    changed = _marked(level, event.clock, _target(event, envelope.time))
    reading = changed.clock(event.clock).reading
    if reading is None or reading.target_seconds is None:
        return changed
    used_up = reading.elapsed_at(envelope.time).total_seconds() * 100
    if used_up >= reading.target_seconds * SERVICE_LEVELS.body.warning_percent:
        return changed
    return _changed(changed, event.clock, warned=False)


def _resumed(
    level: ServiceLevel, event: ServiceLevelClockResumed, envelope: Envelope
) -> ServiceLevel:
    """End the pause or, if the clock had stopped, reopen it."""
    steps: tuple[Step, Step] = ("resume", "reopen")
    for step in steps:
        changed = _marked(level, event.clock, Mark(envelope.time, step))
        if changed.clock(event.clock).reading != level.clock(event.clock).reading:
            return changed
    return level


def _marked(level: ServiceLevel, name: str, mark: Mark) -> ServiceLevel:
    """Put a mark on a clock and evaluate it again."""
    if level.opened_at is None or level.clock(name).reading is None:
        return level
    clock = level.clock(name)
    marks = insert(clock.marks, mark)
    return _changed(level, name, marks=marks, reading=clock.read(level.opened_at, marks))


def _changed(level: ServiceLevel, name: str, **changes: Any) -> ServiceLevel:
    """Return the state with one clock changed, and with when the next target is reached."""
    clock = replace(level.clock(name), **changes)
    match name:
        case "response":
            level = replace(level, response=clock)
        case "resolution":
            level = replace(level, resolution=clock)
        case _:
            return level
    return replace(level, due_microseconds=_next_due(level))


def _next_due(level: ServiceLevel) -> int | None:
    """Return the earliest time, in microseconds since 1970, when a running clock is due."""
    readings = (level.response.reading, level.resolution.reading)
    dues = [reading.due_at for reading in readings if reading is not None]
    return min(
        ((due - _BEGINNING) // _MICROSECOND for due in dues if due is not None), default=None
    )


SERVICE_LEVEL: StreamFamily[ServiceLevel] = StreamFamily(
    name="service-level",
    initial=ServiceLevel(),
    evolve=evolve,
    guard=guard,
    deadlines=deadlines,
    on_deadline=on_deadline,
)
