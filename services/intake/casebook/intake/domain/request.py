"""The request: what a customer asked for, folded from its facts (handbook 2.1, 2.4).

History that another system published may come in any order, so folding never refuses; the rules
are in :mod:`casebook.intake.domain.lifecycle`.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from casebook.events.envelope import Envelope
from casebook.events.request import (
    RequestCancelled,
    RequestClassified,
    RequestClosed,
    RequestClosureAnnounced,
    RequestCommented,
    RequestConfigurationItemLinked,
    RequestEvent,
    RequestInternallyCommented,
    RequestPrioritised,
    RequestPriorityConfirmed,
    RequestReclassified,
    RequestReopened,
    RequestReprioritised,
    RequestResolutionConfirmed,
    RequestResolutionProposed,
    RequestSubmitted,
)
from casebook.kit.decider import Access, SealedText, StoredMoment, sealed_text

# One width for every moment, so that moments as text sort like moments.


class Status(StrEnum):
    """Where the promise to the customer stands; how the work goes is dispatch's to say."""

    UNKNOWN = "unknown"
    OPEN = "open"
    RESOLVED = "resolved"
    CLOSED = "closed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Classification:
    """Problem type and category (handbook 2.1, needs assessment)."""

    problem_type: str
    category: str | None = None
    subcategory: str | None = None
    symptom: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request as its facts tell it; ``origin`` becomes live with the first live fact."""

    status: Status = Status.UNKNOWN
    origin: str = "observed"
    number: str = ""
    kind: str = ""
    requester: str | None = None
    organisation: str | None = None
    channel: str | None = None
    location: str | None = None
    opened_by: str | None = None
    service: str | None = None
    title: SealedText | None = None
    description: SealedText | None = None
    configuration_item: str | None = None
    classification: Classification | None = None
    impact: int | None = None
    urgency: int | None = None
    priority: int | None = None
    prioritised: bool = False
    priority_confirmed: bool = False
    submitted_at: StoredMoment | None = None
    updated_at: StoredMoment | None = None
    proposed_at: StoredMoment | None = None
    resolved_at: StoredMoment | None = None
    closes_at: StoredMoment | None = None
    confirmed_at: StoredMoment | None = None
    closed_at: StoredMoment | None = None
    closed_basis: str | None = None
    closed_code: str | None = None
    cancelled_at: StoredMoment | None = None
    reopenings: int = 0

    @property
    def live(self) -> bool:
        """Say whether people act on it here, rather than in the system it was observed in."""
        return self.origin == "live"


def access(request: Request) -> Access:
    """Return whose request it is."""
    return Access(requester=request.requester, organisation=request.organisation)


def evolve(request: Request, event: RequestEvent, envelope: Envelope) -> Request:
    """Return the request after ``event``; total, and never refuses."""
    return replace(
        _changed(request, event, envelope),
        origin="live" if envelope.origin == "live" else request.origin,
        updated_at=envelope.time,
    )


def _changed(request: Request, event: RequestEvent, envelope: Envelope) -> Request:
    match event:
        case RequestSubmitted():
            return _submitted(request, event, envelope)
        case RequestClassified() | RequestReclassified():
            return replace(request, classification=classification_of(event))
        case RequestPrioritised() | RequestReprioritised():
            return replace(
                request,
                impact=event.impact,
                urgency=event.urgency,
                priority=event.priority,
                prioritised=True,
            )
        case RequestPriorityConfirmed():
            return replace(request, priority_confirmed=True)
        case RequestCommented() | RequestInternallyCommented():
            return request
        case RequestResolutionProposed():
            return _resolved(request, event, envelope)
        case RequestResolutionConfirmed():
            return replace(request, confirmed_at=envelope.time)
        case RequestClosureAnnounced():
            return replace(request, closes_at=event.closes_at)
        case RequestClosed():
            return _closed(request, event, envelope)
        case RequestReopened():
            return _reopened(request)
        case RequestCancelled():
            return replace(request, status=Status.CANCELLED, cancelled_at=envelope.time)
        case RequestConfigurationItemLinked():
            return replace(request, configuration_item=event.configuration_item)
        case _:
            assert_never(event)


def classification_of(event: RequestClassified | RequestReclassified) -> Classification:
    """Return the classification that ``event`` gives."""
    return Classification(
        problem_type=event.problem_type,
        category=event.category,
        subcategory=event.subcategory,
        symptom=event.symptom,
    )


def _submitted(request: Request, event: RequestSubmitted, envelope: Envelope) -> Request:
    return replace(
        request,
        # Observed history may tell of the end before the beginning.
        status=Status.OPEN if request.status is Status.UNKNOWN else request.status,
        number=event.number,
        kind=event.kind,
        requester=event.requester,
        organisation=event.organisation,
        channel=event.channel,
        location=event.location,
        opened_by=event.opened_by,
        service=event.service,
        title=sealed_text(event.title, envelope, "title"),
        description=sealed_text(event.description, envelope, "description"),
        submitted_at=envelope.time,
    )


def _resolved(request: Request, event: RequestResolutionProposed, envelope: Envelope) -> Request:
    return replace(
        request,
        status=Status.RESOLVED,
        proposed_at=envelope.time,
        resolved_at=event.resolved_at,
        closes_at=None,  # what was announced for an earlier answer no longer holds
        confirmed_at=None,
    )


def _closed(request: Request, event: RequestClosed, envelope: Envelope) -> Request:
    return replace(
        request,
        status=Status.CLOSED,
        closed_at=envelope.time,
        closed_basis=event.basis,
        closed_code=event.code,
    )


def _reopened(request: Request) -> Request:
    return replace(
        request,
        status=Status.OPEN,
        proposed_at=None,
        resolved_at=None,
        closes_at=None,
        confirmed_at=None,
        closed_at=None,
        closed_basis=None,
        closed_code=None,
        cancelled_at=None,
        reopenings=request.reopenings + 1,
    )
