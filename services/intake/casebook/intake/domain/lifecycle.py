"""What may be done with a request, and when (handbook 2.1, 2.4): the commands and their refusals.

A command returns the facts it adds: none when what it asks for holds already. Refusals that most
commands share, by the state of the request:

- ``request-unknown``: nothing was submitted under this id;
- ``observed-history``: another system handles it, and its history here is not over;
- ``request-cancelled`` and ``request-closed``: it is over.
"""

from datetime import datetime, timedelta

from casebook.events.definitions import PRIORITY_MATRIX
from casebook.events.request import (
    RequestCancelled,
    RequestClassified,
    RequestClosed,
    RequestCommented,
    RequestEvent,
    RequestInternallyCommented,
    RequestPrioritised,
    RequestReclassified,
    RequestReopened,
    RequestReprioritised,
    RequestResolutionConfirmed,
    RequestResolutionProposed,
    RequestSubmitted,
)
from casebook.intake.domain import priority
from casebook.intake.domain.classification import ensure_known_kind, ensure_known_problem_type
from casebook.intake.domain.request import Classification, Request, Status
from casebook.kit.decider import Refused

REOPEN_WINDOW = timedelta(days=7)
"""Assumption: a closed request may be reopened for seven days; later it takes a new one."""


def submit(
    request: Request,
    *,
    number: str,
    kind: str,
    requester: str,
    organisation: str | None = None,
    channel: str | None = None,
    location: str | None = None,
    opened_by: str | None = None,
    service: str | None = None,
    title: str | None = None,
    description: str | None = None,
    classification: Classification | None = None,
    impact: int | None = None,
    urgency: int | None = None,
) -> list[RequestEvent]:
    """Record what a customer asks for, with its priority and, if given, its classification.

    Impact and urgency are 1 (high) to 3 (low), medium when not given.

    :raises Refused: ``request-exists``, ``unknown-kind``, ``unknown-level`` or
        ``unknown-problem-type``.
    """
    ensure_new(request)
    ensure_known_kind(kind)
    events: list[RequestEvent] = [
        RequestSubmitted(
            number=number,
            kind=kind,
            requester=requester,
            organisation=organisation,
            channel=channel,
            location=location,
            opened_by=opened_by,
            service=service,
            title=title,
            description=description,
        )
    ]
    if classification is not None:
        events.append(_first_classification(classification))
    events.append(
        _first_priority(
            priority.DEFAULT_LEVEL if impact is None else impact,
            priority.DEFAULT_LEVEL if urgency is None else urgency,
        )
    )
    return events


def classify(request: Request, *, classification: Classification) -> list[RequestEvent]:
    """Say what the request is about, or correct it (handbook 2.1, needs assessment).

    :raises Refused: ``unknown-problem-type``, or because the request is over or not ours.
    """
    ensure_live(request)
    ensure_not_over(request)
    if request.classification is None:
        return [_first_classification(classification)]
    if request.classification == classification:
        return []
    ensure_known_problem_type(classification.problem_type)
    return [
        RequestReclassified(
            problem_type=classification.problem_type,
            category=classification.category,
            subcategory=classification.subcategory,
            symptom=classification.symptom,
        )
    ]


def prioritise(
    request: Request, *, impact: int, urgency: int, reason: str | None = None
) -> list[RequestEvent]:
    """Assess impact and urgency, 1 (high) to 3 (low); the matrix gives the priority.

    Assumption: not any more once the work is done, since targets depend on the priority.

    :raises Refused: ``already-resolved``, ``unknown-level``, or because the request is over or
        not ours.
    """
    ensure_live(request)
    ensure_not_resolved(request)
    resolved = priority.resolve(impact, urgency)
    if not request.prioritised:
        return [_first_priority(impact, urgency)]
    if (request.impact, request.urgency, request.priority) == (impact, urgency, resolved):
        return []
    return [
        RequestReprioritised(
            impact=impact,
            urgency=urgency,
            priority=resolved,
            matrix=PRIORITY_MATRIX.reference,
            reason=reason,
        )
    ]


def comment(request: Request, *, body: str) -> list[RequestEvent]:
    """Write a comment that the customer reads (handbook 1.2: every step communicates).

    :raises Refused: ``request-unknown`` or ``observed-history``.
    """
    ensure_live(request)
    return [RequestCommented(body=body)]


def comment_internally(request: Request, *, body: str) -> list[RequestEvent]:
    """Write a comment for staff only.

    :raises Refused: ``request-unknown`` or ``observed-history``.
    """
    ensure_live(request)
    return [RequestInternallyCommented(body=body)]


def propose_resolution(
    request: Request, *, resolved_at: datetime, amended: bool
) -> list[RequestEvent]:
    """Ask the requester to confirm that the work is done; quiet where nothing waits for it.

    An amendment only counts while the answer it amends is still proposed: a reopening may have
    come between, and then the work is not done.
    """
    waits = request.status is Status.RESOLVED or (request.status is Status.OPEN and not amended)
    if not request.live or not waits or request.resolved_at == resolved_at:
        return []
    return [RequestResolutionProposed(resolved_at=resolved_at)]


def confirm(request: Request) -> list[RequestEvent]:
    """Accept the proposed resolution, which closes the request (handbook 2.1, confirmation).

    :raises Refused: ``resolution-not-proposed`` while the work is in progress, or because the
        request is over or not ours.
    """
    if request.status is Status.CLOSED and request.closed_basis == "confirmed":
        return []
    ensure_live(request)
    ensure_resolved(request)
    confirmed: list[RequestEvent] = (
        [] if request.confirmed_at is not None else [RequestResolutionConfirmed()]
    )
    return [*confirmed, RequestClosed(basis="confirmed")]


def reopen(request: Request, *, reason: str | None, now: datetime) -> list[RequestEvent]:
    """Take the work up again, because the resolution did not hold.

    A history that another system finished can be reopened at any time, and is live from then on.

    :raises Refused: ``reopen-window-over`` more than seven days after the closure,
        ``resolution-not-proposed`` while the work is in progress, ``request-cancelled``,
        ``request-unknown`` or ``observed-history``.
    """
    if request.live and request.status is Status.OPEN and request.reopenings > 0:
        return []
    ensure_reopenable(request)
    if request.live and request.closed_at is not None and now > request.closed_at + REOPEN_WINDOW:
        raise Refused("reopen-window-over", "it was closed more than 7 days ago; submit a new one")
    return [RequestReopened(reason=reason)]


def cancel(request: Request, *, reason: str | None) -> list[RequestEvent]:
    """Withdraw the request, as long as the work is not done.

    :raises Refused: ``already-resolved``, ``request-closed``, ``request-unknown`` or
        ``observed-history``.
    """
    if request.status is Status.CANCELLED:
        return []
    ensure_live(request)
    ensure_not_resolved(request)
    return [RequestCancelled(reason=reason)]


def close_directly(request: Request, *, reason: str) -> list[RequestEvent]:
    """Close a resolved request without confirmation or announcement, for a reason.

    Assumption: a lead may; it is what quality's control looks for (handbook 3.4).

    :raises Refused: ``resolution-not-proposed`` while the work is in progress, or because the
        request is over or not ours.
    """
    if request.status is Status.CLOSED and request.closed_basis == "direct":
        return []
    ensure_live(request)
    ensure_resolved(request)
    return [RequestClosed(basis="direct", reason=reason)]


def _first_classification(classification: Classification) -> RequestClassified:
    ensure_known_problem_type(classification.problem_type)
    return RequestClassified(
        problem_type=classification.problem_type,
        category=classification.category,
        subcategory=classification.subcategory,
        symptom=classification.symptom,
    )


def _first_priority(impact: int, urgency: int) -> RequestPrioritised:
    return RequestPrioritised(
        impact=impact,
        urgency=urgency,
        priority=priority.resolve(impact, urgency),
        matrix=PRIORITY_MATRIX.reference,
    )


# --- what a state allows ------------------------------------------------------------------------


def ensure_new(request: Request) -> None:
    """Accept what was never submitted; else ``request-exists``."""
    if request.status is not Status.UNKNOWN:
        raise Refused("request-exists", "a request with this id was submitted before")


def ensure_submitted(request: Request) -> None:
    """Accept what was submitted; else ``request-unknown``."""
    if request.status is Status.UNKNOWN:
        raise Refused("request-unknown", "nothing was submitted under this id")


def ensure_live(request: Request) -> None:
    """Accept what people act on here; else ``request-unknown`` or ``observed-history``."""
    ensure_submitted(request)
    if not request.live:
        raise Refused(
            "observed-history",
            "another system handles it; it can be reopened here when its history is over",
        )


def ensure_not_over(request: Request) -> None:
    """Accept what is open or resolved; else ``request-closed`` or ``request-cancelled``."""
    ensure_submitted(request)
    if request.status is Status.CLOSED:
        raise Refused("request-closed", "the request is closed")
    if request.status is Status.CANCELLED:
        raise Refused("request-cancelled", "the request was cancelled")


def ensure_not_resolved(request: Request) -> None:
    """Accept what is open; else ``already-resolved`` or the code of a request that is over."""
    ensure_not_over(request)
    if request.status is Status.RESOLVED:
        raise Refused("already-resolved", "the work is done; confirm or reopen the request")


def ensure_resolved(request: Request) -> None:
    """Accept what waits for confirmation; else ``resolution-not-proposed`` or what is over."""
    ensure_not_over(request)
    if request.status is not Status.RESOLVED:
        raise Refused("resolution-not-proposed", "no resolution has been proposed yet")


def ensure_reopenable(request: Request) -> None:
    """Accept what is resolved or closed, observed history only when it is closed."""
    if request.status is Status.CLOSED:
        return
    ensure_live(request)
    ensure_resolved(request)
