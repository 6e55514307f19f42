"""What monitoring does about live facts of intake and dispatch: it runs the clocks.

Observed history never gets here (decisions 3.7): its service levels are folded for the KPI table,
from the times of its own facts. Where one is reopened here, a worker resumes its clock, because
that takes the whole history.
"""

from casebook.events.request import (
    RequestCancelled,
    RequestPrioritised,
    RequestReopened,
    RequestReprioritised,
    RequestSubmitted,
)
from casebook.events.service_level import ServiceLevelEvent
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderResolved,
    WorkOrderWaitingEnded,
    WorkOrderWaitingStarted,
)
from casebook.kit.decider import Fact, Reaction
from casebook.kit.service import Worker
from casebook.monitoring.domain import promises
from casebook.monitoring.domain.service_level import ServiceLevel
from casebook.monitoring.domain.targets import PAUSING_REASON
from casebook.monitoring.reactions.resumption import keep_resuming


def open_promises(level: ServiceLevel, fact: Fact) -> list[ServiceLevelEvent]:
    """Count the time of a new request."""
    event = fact.event
    service = event.service if isinstance(event, RequestSubmitted) else None
    return promises.open_promises(level, service=service)


def follow_priority(level: ServiceLevel, fact: Fact) -> list[ServiceLevelEvent]:
    """Start the clocks with the first priority, retarget them with the next."""
    event = fact.event
    if not isinstance(event, RequestPrioritised | RequestReprioritised):
        return []
    at, seen_at = fact.envelope.time, fact.envelope.recordedtime
    return promises.follow_priority(level, priority=event.priority, at=at, seen_at=seen_at)


def stop_response_clock(level: ServiceLevel, fact: Fact) -> list[ServiceLevelEvent]:
    """Stop the response clock when an agent accepts the work."""
    return promises.respond(level, at=fact.envelope.time, seen_at=fact.envelope.recordedtime)


def pause_clocks(level: ServiceLevel, fact: Fact) -> list[ServiceLevelEvent]:
    """Pause while the work waits for the customer; other waiting is our own time."""
    event = fact.event
    if not isinstance(event, WorkOrderWaitingStarted) or event.reason != PAUSING_REASON:
        return []
    return promises.pause(level, at=fact.envelope.time, seen_at=fact.envelope.recordedtime)


def resume_clocks(level: ServiceLevel, fact: Fact) -> list[ServiceLevelEvent]:
    """Run on after the customer's answer."""
    return promises.resume(level, at=fact.envelope.time, seen_at=fact.envelope.recordedtime)


def stop_clocks(level: ServiceLevel, fact: Fact) -> list[ServiceLevelEvent]:
    """Stop what runs when the work is resolved."""
    return promises.resolve(level, at=fact.envelope.time, seen_at=fact.envelope.recordedtime)


def reopen_resolution_clock(level: ServiceLevel, fact: Fact) -> list[ServiceLevelEvent]:
    """Run the resolution clock on when the request is reopened."""
    return promises.reopen(level, at=fact.envelope.time, seen_at=fact.envelope.recordedtime)


def cancel_clocks(level: ServiceLevel, fact: Fact) -> list[ServiceLevelEvent]:
    """End what is promised when the request is cancelled."""
    return promises.cancel(level, at=fact.envelope.time, seen_at=fact.envelope.recordedtime)


REACTIONS: tuple[Reaction, ...] = (
    Reaction((RequestSubmitted,), "service-level", open_promises),
    Reaction((RequestPrioritised, RequestReprioritised), "service-level", follow_priority),
    Reaction((WorkOrderAccepted,), "service-level", stop_response_clock),
    Reaction((WorkOrderWaitingStarted,), "service-level", pause_clocks),
    Reaction((WorkOrderWaitingEnded,), "service-level", resume_clocks),
    Reaction((WorkOrderResolved,), "service-level", stop_clocks),
    Reaction((RequestReopened,), "service-level", reopen_resolution_clock),
    Reaction((RequestCancelled,), "service-level", cancel_clocks),
)
WORKERS = (Worker((RequestReopened,), keep_resuming),)
