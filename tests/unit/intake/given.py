"""Requests as facts make them: what the unit tests of intake start from."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID, uuid5

import pytest

from casebook.events.envelope import Envelope
from casebook.events.event import Event
from casebook.events.request import (
    RequestClosed,
    RequestPrioritised,
    RequestReopened,
    RequestResolutionProposed,
    RequestSubmitted,
)
from casebook.events.values import Sealed
from casebook.intake.domain.families import REQUEST
from casebook.intake.domain.request import Request
from casebook.kit.decider import Fact, Refused, fold

REQUEST_ID = UUID("01890000-0000-7000-8000-000000000001")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

SUBMITTED = RequestSubmitted(number="REQ0000001", kind="incident", requester="wang.fang")
PRIORITISED = RequestPrioritised(impact=2, urgency=2, priority=3)
PROPOSED = RequestResolutionProposed(resolved_at=NOON)
CONFIRMED_CLOSURE = RequestClosed(basis="confirmed")
REOPENED = RequestReopened()


@dataclass(frozen=True)
class At:
    """An event at another time, or of another origin, than the one before."""

    event: Event
    time: datetime = NOON
    origin: Literal["live", "observed"] = "live"


def observed(event: Event, time: datetime = NOON) -> At:
    return At(event, time, "observed")


def fact(item: Event | At, index: int = 0) -> Fact:
    """Return the event as the store would hand it over: with its text sealed."""
    at = item if isinstance(item, At) else At(item)
    event_id = uuid5(REQUEST_ID, str(index))
    texts = {
        name: Sealed(key="key", ciphertext=f"sealed-{index}-{name}")
        for name in at.event.secret_fields
        if getattr(at.event, name) is not None
    }
    event = at.event.model_copy(update=texts)
    stream = f"{event.family}/{REQUEST_ID}"
    return Fact(
        envelope=Envelope(
            id=event_id,
            source="casebook:intake",
            type=event.type,
            subject=stream,
            streamversion=index + 1,
            partitionkey=str(REQUEST_ID),
            time=at.time,
            recordedtime=at.time + timedelta(milliseconds=1),
            correlationid=str(REQUEST_ID),
            actor="li.na",
            origin=at.origin,
            audience=event.audience,
            data=event.payload(),
        ),
        event=event,
    )


def given(*items: Event | At) -> Request:
    """Return the request that these facts make, in their order."""
    return fold(REQUEST, [fact(item, index) for index, item in enumerate(items)])


def then(request: Request, *items: Event | At) -> Request:
    """Return ``request`` after more facts."""
    for index, item in enumerate(items, start=100):
        each = fact(item, index)
        request = REQUEST.evolve(request, each.event, each.envelope)
    return request


def refusal(command: Callable[[], object]) -> str:
    """Return the code with which ``command`` is refused."""
    with pytest.raises(Refused) as refused:
        command()
    assert refused.value.detail
    return refused.value.code


OPEN = given(SUBMITTED, PRIORITISED)
RESOLVED = given(SUBMITTED, PRIORITISED, PROPOSED)
CLOSED = given(SUBMITTED, PRIORITISED, PROPOSED, CONFIRMED_CLOSURE)
