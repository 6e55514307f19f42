"""Facts told one after the other: what the unit tests of monitoring start from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid5

from casebook.events.envelope import Envelope
from casebook.events.event import Event
from casebook.events.request import (
    RequestCancelled,
    RequestClosed,
    RequestPrioritised,
    RequestReopened,
    RequestReprioritised,
    RequestSubmitted,
)
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderReassignedToTeam,
    WorkOrderResolutionAmended,
    WorkOrderResolved,
    WorkOrderReturnedToQueue,
    WorkOrderStarted,
    WorkOrderWaitingEnded,
    WorkOrderWaitingStarted,
)
from casebook.kit.decider import Fact
from casebook.monitoring.domain.service_level import (
    SERVICE_LEVEL,
    ServiceLevel,
    deadlines,
    evolve,
    on_deadline,
)
from casebook.monitoring.projections.kpi_facts import KpiFacts
from casebook.monitoring.reactions import REACTIONS

REQUEST_ID = UUID("01890000-0000-7000-8000-000000000001")
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)

SUBMITTED = RequestSubmitted(
    number="REQ0000001", kind="incident", requester="wang.fang", service="mail"
)
ACCEPTED = WorkOrderAccepted(agent="li.na")
ASSIGNED = WorkOrderAssignedToAgent(agent="li.na")
STARTED = WorkOrderStarted()
CUSTOMER = WorkOrderWaitingStarted(reason="customer")
SUPPLIER = WorkOrderWaitingStarted(reason="supplier")
ANSWERED = WorkOrderWaitingEnded()
RESOLVED = WorkOrderResolved()
AMENDED = WorkOrderResolutionAmended()
REOPENED = RequestReopened()
CANCELLED = RequestCancelled()
CLOSED = RequestClosed(basis="confirmed")
QUEUED = WorkOrderReturnedToQueue()


def first(priority: int | None) -> RequestPrioritised:
    return RequestPrioritised(priority=priority)


def then(priority: int | None) -> RequestReprioritised:
    return RequestReprioritised(priority=priority)


def team(name: str, *, initial: bool = False) -> WorkOrderAssignedToTeam:
    return WorkOrderAssignedToTeam(team=name, initial=initial)


def another(name: str) -> WorkOrderReassignedToTeam:
    return WorkOrderReassignedToTeam(team=name)


def at(hours: float) -> datetime:
    """Return a moment so many hours after START."""
    return START + timedelta(hours=hours)


def fact(
    event: Event,
    time: datetime,
    *,
    seen: datetime | None = None,
    origin: Literal["live", "observed"] = "live",
    request_id: UUID = REQUEST_ID,
    version: int = 1,
) -> Fact:
    """Return the event as the log would hold it."""
    stream = f"{event.family}/{request_id}"
    return Fact(
        envelope=Envelope(
            id=uuid5(request_id, f"{stream}:{version}:{event.type}:{time}"),
            source="/test",
            type=event.type,
            subject=stream,
            streamversion=version,
            partitionkey=str(request_id),
            time=time,
            recordedtime=seen or time,
            correlationid=str(request_id),
            actor="test",
            origin=origin,
            audience=event.audience,
            data=event.payload(),
        ),
        event=event,
    )


@dataclass
class Clocks:
    """The stream of one request, fed as the reader and the timers would feed it."""

    state: ServiceLevel = SERVICE_LEVEL.initial
    facts: list[Fact] = field(default_factory=list)

    def tell(self, event: Event, hours: float, *, seen: float | None = None) -> list[Any]:
        """Let a live fact of another service come by; return what is decided about it."""
        told = fact(event, at(hours), seen=None if seen is None else at(seen))
        decided = self.decide(told)
        self.append(decided, told.envelope.time, told.envelope.recordedtime)
        return decided

    def decide(self, told: Fact) -> list[Any]:
        """Return what the service's reactions decide now."""
        return [
            event
            for reaction in REACTIONS
            if isinstance(told.event, reaction.on)
            for event in reaction.decide(self.state, told)
        ]

    def append(self, events: list[Any], time: datetime, seen: datetime) -> None:
        """Fold the service's own facts."""
        for event in events:
            own = fact(event, time, seen=seen, version=len(self.facts) + 1)
            self.state = evolve(self.state, event, own.envelope)
            self.facts.append(own)

    def fire(self, hours: float) -> list[Any]:
        """Let the timers that are due at this hour fire, the first due first."""
        now = at(hours)
        fired: list[Any] = []
        for kind, due in sorted(deadlines(self.state).items(), key=lambda item: item[1]):
            if due <= now:
                events = on_deadline(self.state, kind, due, now)
                self.append(events, now, now)
                fired += events
        return fired


def given(*told: tuple[Event, float]) -> Clocks:
    """Return the clocks after live facts, each with its hour."""
    clocks = Clocks()
    for event, hours in told:
        clocks.tell(event, hours)
    return clocks


def running(priority: int = 3) -> Clocks:
    """Return clocks that have run since START."""
    return given((SUBMITTED, 0), (first(priority), 0))


def row_of(*told: tuple[Event, float], origin: Literal["live", "observed"] = "observed") -> Any:
    """Return the row of the KPI table after facts, each with its hour, in the order of the log."""
    return rows_of(*((event, at(hours)) for event, hours in told), origin=origin)


def rows_of(
    *told: tuple[Event, datetime],
    origin: Literal["live", "observed"] = "observed",
    request_id: UUID = REQUEST_ID,
) -> Any:
    """Return the row of the KPI table after facts, each with its time."""
    row = None
    for event, time in told:
        row = KpiFacts().fold(row, fact(event, time, origin=origin, request_id=request_id))
    return row


def kinds(events: Sequence[Any]) -> list[tuple[str, str]]:
    """Return the events by class and clock."""
    return [(type(event).__name__.removeprefix("ServiceLevel"), event.clock) for event in events]
