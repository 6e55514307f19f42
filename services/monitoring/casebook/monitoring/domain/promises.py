"""What happens to the promises about a request when something is known about it (handbook 2.3).

Each function returns the facts to add, none where nothing changes: a fact that comes again, or
that means nothing to a clock, adds nothing. ``at`` is when it happened and ``seen_at`` when it was
recorded; what becomes known late takes its place in time, and a breach that it contradicts is
withdrawn (decisions 3.11).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from casebook.events.definitions import SERVICE_LEVELS
from casebook.events.service_level import (
    CarriedBreach,
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
    ServiceLevelTargetBreached,
)
from casebook.monitoring.domain.clock import (
    Mark,
    Reading,
    Step,
    insert,
    is_open,
    whole_seconds,
)
from casebook.monitoring.domain.service_level import (
    CLOCKS,
    ClockName,
    RecordedBreach,
    ServiceLevel,
)
from casebook.monitoring.domain.targets import target_seconds

_MICROSECOND = timedelta(microseconds=1)


def open_promises(level: ServiceLevel, *, service: str | None) -> list[ServiceLevelEvent]:
    """Begin to count the time of a new request."""
    return [] if level.opened_at is not None else [ServiceLevelOpened(service=service)]


def carry_on(
    level: ServiceLevel, *, service: str | None, history: Reading, at: datetime
) -> list[ServiceLevelEvent]:
    """Let the resolution clock of a history that is reopened ``at`` a moment run on.

    The response was another's to give. Assumption: the time that passed in the history counts, as
    it does in the KPI table, because the customer has waited for it; but a target that was missed
    in it is not breached again, so that nothing follows here from what was only observed.
    """
    if level.opened_at is not None:
        return []
    missed = history.overrun
    breach = missed and CarriedBreach(
        at=missed.at, priority=missed.priority, target_seconds=missed.target_seconds
    )
    elapsed = history.elapsed_at(at) // _MICROSECOND
    return [
        ServiceLevelOpened(
            service=service, carried=CarriedTime(elapsed_microseconds=elapsed, breach=breach)
        )
    ]


def follow_priority(
    level: ServiceLevel, *, priority: int | None, at: datetime, seen_at: datetime
) -> list[ServiceLevelEvent]:
    """Start both clocks with the targets of the first priority, or give them new targets.

    The first priority counts from the submission on. Assumption: a priority that becomes unknown
    leaves the targets as they were.
    """
    if priority is None or level.opened_at is None:
        return []
    events: list[ServiceLevelEvent] = []
    for name in CLOCKS:
        reading = level.clock(name).reading
        first = reading is None or reading.target_seconds is None
        mark = Mark(
            level.opened_at if first else at, "target", priority, target_seconds(name, priority)
        )
        events.extend(_record(level, name, mark, seen_at))
    return events


def pause(level: ServiceLevel, *, at: datetime, seen_at: datetime) -> list[ServiceLevelEvent]:
    """Let both clocks stand still while the work waits for the customer.

    Assumption: the response clock too, as far as it still runs.
    """
    return _record_all(level, CLOCKS, Mark(at, "pause"), seen_at)


def resume(level: ServiceLevel, *, at: datetime, seen_at: datetime) -> list[ServiceLevelEvent]:
    """Let the paused clocks run again."""
    return _record_all(level, CLOCKS, Mark(at, "resume"), seen_at)


def respond(level: ServiceLevel, *, at: datetime, seen_at: datetime) -> list[ServiceLevelEvent]:
    """Stop the response clock at the first acceptance by an agent (handbook 2.2)."""
    return _record_all(level, ("response",), Mark(at, "stop"), seen_at)


def resolve(level: ServiceLevel, *, at: datetime, seen_at: datetime) -> list[ServiceLevelEvent]:
    """Stop the resolution clock; what is resolved has also been responded to."""
    return _record_all(level, CLOCKS, Mark(at, "stop"), seen_at)


def reopen(level: ServiceLevel, *, at: datetime, seen_at: datetime) -> list[ServiceLevelEvent]:
    """Let the resolution clock run on; the response was given, and a breach stays."""
    return _record_all(level, ("resolution",), Mark(at, "reopen"), seen_at)


def cancel(level: ServiceLevel, *, at: datetime, seen_at: datetime) -> list[ServiceLevelEvent]:
    """End what is still promised about a cancelled request; it no longer counts."""
    return _record_all(level, CLOCKS, Mark(at, "cancel"), seen_at)


def _record_all(
    level: ServiceLevel, names: Iterable[ClockName], mark: Mark, seen_at: datetime
) -> list[ServiceLevelEvent]:
    return [event for name in names for event in _record(level, name, mark, seen_at)]


def _record(
    level: ServiceLevel, name: ClockName, mark: Mark, seen_at: datetime
) -> list[ServiceLevelEvent]:
    """Return what a mark changes about one clock: the mark, and a breach made or unmade by it."""
    clock = level.clock(name)
    before = clock.reading
    if before is None or level.opened_at is None:
        return []
    marks = insert(clock.marks, mark)
    after = clock.read(level.opened_at, marks)
    if after == before or (name == "response" and _is_over(before, after)):
        return []
    shown = clock.read(level.opened_at, _until(marks, mark))
    outcome = _outcome(level, name, clock.breach, after, seen_at)
    if mark.step != "target":
        return [*outcome, _event(level, name, mark.step, shown)]
    first = before.target_seconds is None
    event = _started(level, name, shown) if first else _retargeted(name, mark, shown)
    late = [_stopped(level, name, after)] if first and after.status == "stopped" else []
    return [event, *outcome, *late]


def _is_over(before: Reading, after: Reading) -> bool:
    """Say whether only the target of a clock changed that was over before; nobody asks for it."""
    if is_open(before) or is_open(after):
        return False
    return (before.last_stop, before.overrun, before.elapsed) == (
        after.last_stop,
        after.overrun,
        after.elapsed,
    )


def _until(marks: Iterable[Mark], last: Mark) -> Iterable[Mark]:
    for mark in marks:
        yield mark
        if mark is last:
            return


def _event(level: ServiceLevel, name: ClockName, step: Step, shown: Reading) -> ServiceLevelEvent:
    """Return the fact that a clock was paused, resumed, stopped or cancelled."""
    elapsed = whole_seconds(shown.elapsed)
    match step:
        case "pause":
            return ServiceLevelClockPaused(clock=name, elapsed_seconds=elapsed)
        case "stop":
            return _stopped(level, name, shown)
        case "cancel":
            return ServiceLevelClockCancelled(clock=name)
        case "resume" | "reopen" | "target":
            return ServiceLevelClockResumed(
                clock=name, elapsed_seconds=elapsed, due_at=shown.due_at
            )


def _started(level: ServiceLevel, name: ClockName, shown: Reading) -> ServiceLevelEvent:
    """Return the fact that a promise runs."""
    return ServiceLevelClockStarted(
        clock=name,
        priority=shown.priority or 0,
        target_seconds=shown.target_seconds or 0,
        due_at=shown.due_at,
        policy=SERVICE_LEVELS.reference,
        service=level.service,
    )


def _retargeted(name: ClockName, mark: Mark, shown: Reading) -> ServiceLevelEvent:
    """Return the fact that a promise has another target."""
    return ServiceLevelClockRetargeted(
        clock=name,
        priority=mark.priority or 0,
        target_seconds=mark.target_seconds or 0,
        elapsed_seconds=whole_seconds(shown.elapsed_at(mark.at)),
        due_at=shown.due_at,
        policy=SERVICE_LEVELS.reference,
    )


def _stopped(level: ServiceLevel, name: ClockName, shown: Reading) -> ServiceLevelEvent:
    """Return the fact that a promise ended, kept or not."""
    stop = shown.last_stop
    return ServiceLevelClockStopped(
        clock=name,
        elapsed_seconds=whole_seconds(shown.elapsed if stop is None else stop.elapsed),
        met=None if stop is None else stop.met,
        service=level.service,
    )


def _outcome(
    level: ServiceLevel,
    name: ClockName,
    recorded: RecordedBreach | None,
    after: Reading,
    seen_at: datetime,
) -> list[ServiceLevelEvent]:
    """Record a breach that no timer has seen yet, or withdraw one that did not happen."""
    overrun = after.overrun
    if recorded is None and overrun is not None:
        return [
            ServiceLevelTargetBreached(
                clock=name,
                priority=overrun.priority,
                target_seconds=overrun.target_seconds,
                due_at=overrun.at,
                fired_at=seen_at,
                service=level.service,
            )
        ]
    if recorded is None or overrun is not None or _stands(recorded, after):
        return []
    return [
        ServiceLevelBreachWithdrawn(clock=name, breach=recorded.event_id, service=level.service)
    ]


def _stands(recorded: RecordedBreach, after: Reading) -> bool:
    """Say whether a running clock was past its target when the breach was recorded."""
    due = after.due_at
    return due is not None and due < recorded.fired_at
