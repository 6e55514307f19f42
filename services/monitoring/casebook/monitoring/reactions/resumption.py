"""Resumes the resolution clock of another system's request that was reopened here (handbook 2.3).

What the clock has to show follows from the whole history, which the reopening does not carry; so
this follows the read models. It also catches up with what happened since the reopening, to which
the reactions had nothing to say while there was no clock. Meanwhile the reader is held up, so that
each fact is either in the row that is read here, or still to be told to the reactions.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from casebook.events.kafka import partition
from casebook.events.service_level import ServiceLevelEvent
from casebook.kit.bookkeeping.checkpoints import LIVE, lock_checkpoints
from casebook.kit.ids import derived_id
from casebook.kit.postgres.database import fetch
from casebook.kit.reading.following import keep_following, work_through
from casebook.kit.store.store import Cause
from casebook.monitoring.domain import promises
from casebook.monitoring.domain.history import Entry, clock_history, moment_of, reading_of
from casebook.monitoring.domain.service_level import ServiceLevel
from casebook.monitoring.domain.targets import PAUSING_REASON
from casebook.monitoring.projections.kpi_facts import TABLE
from casebook.monitoring.projections.reopenings import Reopenings

if TYPE_CHECKING:
    from uuid import UUID

    from casebook.kit.runtime import Runtime

_PENDING = Reopenings.table

Decide = Callable[[ServiceLevel], list[ServiceLevelEvent]]


async def keep_resuming(runtime: "Runtime") -> None:
    """Resume what waits for it whenever facts were applied, until cancelled."""
    await keep_following(runtime, resume_clocks)


async def resume_clocks(runtime: "Runtime") -> int:
    """Resume the clock of every reopened history that has none; return how many were resumed."""
    pending = select(_PENDING).where(_PENDING.c.pending)
    resumed = await work_through(runtime, pending, _PENDING.c.request_id, _resume)
    if resumed:
        runtime.signals.timers.set()
    return resumed


async def _resume(runtime: "Runtime", reopened: Mapping[str, Any]) -> int:
    """Resume one, unless it runs and only the read model is behind; return how many."""
    request_id: UUID = reopened["request_id"]
    stream, case = f"service-level/{request_id}", str(request_id)
    course = select(TABLE.c.course).where(TABLE.c.request_id == request_id)
    async with runtime.database.transaction() as connection:
        await lock_checkpoints(connection, LIVE, [partition(case)])
        work = runtime.store.begin(connection)
        await work.lock([stream])
        if work.head(stream).state.opened_at is not None:
            return 0
        known = 0
        for row in await fetch(connection, course):
            for at, decide in plan(row["course"], seen_at=runtime.clock.now()):
                events = decide(work.head(stream).state)
                cause = _cause(runtime, reopened, at, known)
                await work.append(stream, case, events, cause)
                known += len(events)
        await work.flush()
    return min(known, 1)


def _cause(runtime: "Runtime", reopened: Mapping[str, Any], at: datetime, known: int) -> Cause:
    """Return why a clock has its next events; ``known`` is how many it has from here already."""
    reopening: UUID = reopened["reopening"]
    return Cause(
        actor=f"service:{runtime.service.name}",
        causationid=reopening,
        after=reopened["recordedtime"],
        time=at,
        traceparent=reopened["traceparent"],
        event_id=lambda index: derived_id(reopening, "resumption", known + index),
    )


def plan(course: Sequence[Entry], *, seen_at: datetime) -> list[tuple[datetime, Decide]]:
    """Return what to decide, each with when it happened, for a history that was reopened here.

    First what the history leaves behind at its reopening, then what has happened since. Nothing
    for a history that does not tell of a submission and a reopening here.
    """
    reopened = next(
        (place for place, each in enumerate(course) if each[1] == "reopening" and each[3]), None
    )
    submitted = next((each for each in course if each[1] == "submission"), None)
    if reopened is None or submitted is None:
        return []
    reading = reading_of("resolution", moment_of(submitted[0]), clock_history(course[:reopened]))
    at = moment_of(course[reopened][0])
    service = submitted[2]["service"]
    return [
        (at, lambda level: promises.carry_on(level, service=service, history=reading, at=at)),
        (
            at,
            lambda level: promises.follow_priority(
                level, priority=reading.priority, at=at, seen_at=seen_at
            ),
        ),
        *(
            (moment_of(each[0]), _following(each, seen_at))
            for each in course[reopened + 1 :]
            if each[3]
        ),
    ]


def _following(entry: Entry, seen_at: datetime) -> Decide:
    """Return what follows from a live fact after the reopening, as in the reactions."""
    at, step, value = moment_of(entry[0]), entry[1], entry[2]
    if step == "priority":
        return lambda level: promises.follow_priority(level, priority=value, at=at, seen_at=seen_at)
    follow = _FOLLOWING.get(step)
    if follow is None or (step == "waiting" and value != PAUSING_REASON):
        return lambda level: []
    return lambda level: follow(level, at=at, seen_at=seen_at)


_FOLLOWING: Mapping[str, Callable[..., list[ServiceLevelEvent]]] = {
    "waiting": promises.pause,
    "ready": promises.resume,
    "resolution": promises.resolve,
    "reopening": promises.reopen,
    "cancellation": promises.cancel,
}
