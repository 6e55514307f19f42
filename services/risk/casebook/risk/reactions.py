"""What risk does about the facts of others: it looks for candidates (handbook 5.1, 5.3).

A rate is made of many facts of many requests, and changes as the window moves; so no single fact
is reacted to: every service is measured anew whenever facts were applied, and now and then,
because breaches leave the window as time passes. The id of a candidate derives from its service
and its generation, and its stream knows what was said, so being killed at any moment costs a
round and no more.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Text, column, literal_column, select, table, text

from casebook.events.definitions import BREACH_RATE_RULE
from casebook.events.risk import RiskEvent
from casebook.events.service_level import (
    ServiceLevelBreachWithdrawn,
    ServiceLevelClockStopped,
    ServiceLevelTargetBreached,
)
from casebook.kit.decider import Reaction
from casebook.kit.postgres.database import fetch
from casebook.kit.reading.following import keep_following
from casebook.kit.service import Worker
from casebook.kit.store.store import Cause
from casebook.risk.domain import register
from casebook.risk.domain.breach_rate import (
    Rate,
    ResolutionClock,
    current_candidate,
    measure,
    window_start,
)
from casebook.risk.domain.risk import Risk
from casebook.risk.projections.resolution_breaches import causes
from casebook.risk.projections.resolution_clocks import clocks_between, rates_between

if TYPE_CHECKING:
    from casebook.kit.runtime import Runtime

_CANDIDATES = (
    select(
        column("stream", Text),
        literal_column("state->>'service'", Text).label("service"),
        literal_column("state->'candidacy'->>'recovered_at'", Text).label("recovered_at"),
    )
    .select_from(table("streams"))
    .where(
        text("stream LIKE 'risk/%'"),
        literal_column("state->'candidacy'->>'rule'", Text) == BREACH_RATE_RULE.id,
    )
)
_UNKNOWN: Mapping[str, Any] = MappingProxyType({"recorded_at": None, "traceparent": None})


async def keep_measuring(runtime: "Runtime") -> None:
    """Raise and recover candidates whenever facts were applied, until cancelled."""
    await keep_following(runtime, measure_services)


async def measure_services(runtime: "Runtime") -> int:
    """Measure every service now; return how many candidates were raised or have recovered."""
    now = runtime.clock.now()
    async with runtime.database.background() as connection:
        measured = await fetch(connection, rates_between(window_start(now), now))
        candidates = await fetch(connection, _CANDIDATES)
    rates = {row["service"]: Rate(row["measured"], row["breached"]) for row in measured}
    recovered = {
        UUID(row["stream"].removeprefix("risk/")): row["recovered_at"] is not None
        for row in candidates
    }
    changed = 0
    for service in sorted({*rates, *(row["service"] for row in candidates)}):
        rate = rates.get(service, Rate(measured=0, breached=0))
        candidate, is_open = current_candidate(service, recovered)
        if is_open and rate.tolerated:
            changed += await _recover(runtime, candidate, rate, now)
        elif not is_open and rate.alarming:
            changed += await _raise(runtime, candidate, service, now)
    return changed


async def _raise(runtime: "Runtime", candidate: UUID, service: str, now: datetime) -> int:
    """Raise a candidate with its evidence; return how many events it took.

    It follows from the last breach that it counts, in the trace of that.
    """
    start = window_start(now)
    async with runtime.database.background() as connection:
        rows = await fetch(connection, clocks_between(service, start, now))
    measurement = measure([ResolutionClock(**row) for row in rows], start=start, end=now)
    if not measurement.rate.alarming:
        return 0
    tipping = measurement.evidence[-1]
    async with runtime.database.background() as connection:
        [followed] = await fetch(connection, causes(tipping)) or [_UNKNOWN]
    cause = Cause(
        actor=f"service:{runtime.service.name}",
        causationid=tipping,
        after=followed["recorded_at"] or start,
        time=now,
        traceparent=followed["traceparent"],
    )
    return await _append(
        runtime,
        candidate,
        lambda risk: register.raise_candidate(risk, service=service, measurement=measurement),
        cause,
    )


async def _recover(runtime: "Runtime", candidate: UUID, rate: Rate, now: datetime) -> int:
    """Say that a candidate's rate is back; return how many events it took.

    No fact leads to that but time, which lets breaches leave the window, or others withdraw.
    """
    cause = Cause(actor=f"service:{runtime.service.name}", time=now)
    return await _append(runtime, candidate, lambda risk: register.recover(risk, rate=rate), cause)


async def _append(
    runtime: "Runtime", candidate: UUID, decide: Callable[[Risk], list[RiskEvent]], cause: Cause
) -> int:
    """Decide under the lock of the candidate's stream, which knows what was said before."""
    stream = f"risk/{candidate}"
    async with runtime.database.transaction() as connection:
        work = runtime.store.begin(connection)
        await work.lock([stream])
        events = decide(work.head(stream).state)
        await work.append(stream, str(candidate), events, cause)
        await work.flush()
    return len(events)


REACTIONS: tuple[Reaction, ...] = ()
WORKERS = (
    Worker(
        on=(ServiceLevelTargetBreached, ServiceLevelBreachWithdrawn, ServiceLevelClockStopped),
        run=keep_measuring,
    ),
)
