"""Facts as the store hands them over: what the unit tests of quality start from."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid5

import pytest

from casebook.events.envelope import Envelope
from casebook.events.event import Event
from casebook.events.values import Sealed
from casebook.kit.decider import Fact, Refused, StreamFamily

REQUEST_ID = UUID("01890000-0000-7000-8000-000000000001")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
CLOSING = uuid5(REQUEST_ID, "closing")


@dataclass(frozen=True)
class At:
    """An event at another time, of another origin, stream or cause than usual."""

    event: Event
    time: datetime = NOON
    origin: Literal["live", "observed"] = "live"
    cause: UUID | None = None
    id: UUID | None = None
    stream: str | None = None


def observed(event: Event, time: datetime = NOON) -> At:
    return At(event, time, "observed")


def fact(item: Event | At, index: int = 0) -> Fact:
    """Return the event as the store would hand it over: with its text sealed."""
    at = item if isinstance(item, At) else At(item)
    texts = {
        name: Sealed(key="key", ciphertext=f"sealed-{index}-{name}")
        for name in at.event.secret_fields
        if getattr(at.event, name) is not None
    }
    event = at.event.model_copy(update=texts)
    return Fact(
        envelope=Envelope(
            id=at.id or uuid5(REQUEST_ID, str(index)),
            source="/casebook/test",
            type=event.type,
            subject=at.stream or f"{event.family}/{REQUEST_ID}",
            streamversion=index + 1,
            partitionkey=str(REQUEST_ID),
            time=at.time,
            recordedtime=at.time + timedelta(milliseconds=1),
            correlationid=str(REQUEST_ID),
            actor="li.na",
            origin=at.origin,
            audience=event.audience,
            data=event.payload(),
            causationid=at.cause,
        ),
        event=event,
    )


def given(family: StreamFamily[Any], *items: Event | At) -> Any:
    """Return the state that these facts make, in their order."""
    state = family.initial
    for index, item in enumerate(items):
        each = fact(item, index)
        state = family.evolve(state, each.event, each.envelope)
    return state


def refusal(command: Callable[[], object]) -> str:
    """Return the code with which ``command`` is refused."""
    with pytest.raises(Refused) as refused:
        command()
    assert refused.value.detail
    return refused.value.code
