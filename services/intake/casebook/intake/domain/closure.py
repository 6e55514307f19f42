"""Closing without an answer: announced after four days, done after five (handbook 2.4).

The handbook asks for a final confirmation (2.1) and does not say what to do without an answer.
Assumption: the requester is told, and may still confirm or reopen until it closes. The notice
they are given is a whole day, also where an outage made the announcement late.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from casebook.events.definitions import CLOSURE_POLICY
from casebook.events.request import RequestClosed, RequestClosureAnnounced, RequestEvent
from casebook.intake.domain.request import Request, Status

ANNOUNCED_AFTER = timedelta(days=CLOSURE_POLICY.body.announced_days)
CLOSED_AFTER = timedelta(days=CLOSURE_POLICY.body.closed_days)
NOTICE = CLOSED_AFTER - ANNOUNCED_AFTER
"""How long a requester can still object, counted from when the announcement was really made."""
ANNOUNCEMENT = "closure-announcement"
CLOSURE = "closure"


def deadlines(request: Request) -> Mapping[str, datetime]:
    """Return the next step towards closing a live request whose resolution waits for an answer."""
    if not request.live or request.status is not Status.RESOLVED or request.proposed_at is None:
        return {}
    if request.closes_at is None:
        return {ANNOUNCEMENT: request.proposed_at + ANNOUNCED_AFTER}
    return {CLOSURE: request.closes_at}


def on_deadline(request: Request, kind: str, due: datetime, now: datetime) -> list[RequestEvent]:
    """Announce the closure, or close; nothing when the request no longer waits for it."""
    if deadlines(request).get(kind) != due or request.proposed_at is None or now < due:
        return []
    if kind == ANNOUNCEMENT:
        closes_at = max(request.proposed_at + CLOSED_AFTER, now + NOTICE)
        return [RequestClosureAnnounced(closes_at=closes_at, policy=CLOSURE_POLICY.reference)]
    return [RequestClosed(basis="announced")]
