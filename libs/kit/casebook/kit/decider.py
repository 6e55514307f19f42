"""The pure core: what a rule may raise, what a stream family is, what a reaction is.

Nothing here reads a clock, a database or a random number (ADR 0002). Domain modules build on
this module and on the event contracts alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from pydantic import PlainSerializer

from casebook.events.envelope import Envelope, timestamp
from casebook.events.event import Event
from casebook.events.values import Sealed

State = TypeVar("State")

StoredMoment = Annotated[
    datetime, PlainSerializer(timestamp, return_type=str, when_used="json-unless-none")
]
"""A moment as a state keeps it: UTC text of one width, so that texts sort as the moments do."""


class Refused(Exception):
    """A rule says no; ``code`` is stable, ``detail`` explains it to a person."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Access:
    """Who a case belongs to, as far as it is known; the policy decides with it."""

    requester: str | None = None
    organisation: str | None = None
    team: str | None = None
    assignee: str | None = None
    source: str | None = None
    linked: bool = False


@dataclass(frozen=True, slots=True)
class SealedText:
    """Sealed text kept in a state or a row, with what opening it needs."""

    key: str
    ciphertext: str
    event_id: UUID
    field: str


def sealed_text(value: str | Sealed | None, envelope: Envelope, name: str) -> SealedText | None:
    """Return the field's sealed text with its event id; ``None`` when there is no text.

    :raises TypeError: for plain text, which must never reach a state.
    """
    if value is None:
        return None
    if isinstance(value, str):
        raise TypeError(f"{name} holds plain text; the store seals text before it is folded")
    return SealedText(key=value.key, ciphertext=value.ciphertext, event_id=envelope.id, field=name)


@dataclass(frozen=True, slots=True)
class Fact:
    """An event of the log with its envelope, and its place in the case's partition."""

    envelope: Envelope
    event: Event
    offset: int = 0

    @property
    def case(self) -> str:
        """Return the key of the case: the unit of order."""
        return self.envelope.partitionkey

    @property
    def live(self) -> bool:
        """Say whether Casebook may act on it; observed history is only recorded."""
        return self.envelope.origin == "live"


def _no_guard(state: Any, event: Event) -> None:
    """Accept every published fact."""


def _no_deadlines(state: Any) -> Mapping[str, datetime]:
    """Want no timers."""
    return {}


def _no_deadline(state: Any, kind: str, due: datetime, now: datetime) -> list[Event]:
    """Do nothing about a timer that nobody wants any more."""
    return []


def _no_access(state: Any) -> Access:
    """Know nothing about who may see the case."""
    return Access()


@dataclass(frozen=True)
class StreamFamily(Generic[State]):
    """How the streams of one family are folded, guarded and timed.

    ``deadlines`` derives from a state the timers it wants, kind → due; the store keeps the
    timer rows equal to it, so nobody sets or cancels a timer by hand. ``guard`` raises
    :class:`Refused` for a published event that a command would have refused.
    """

    name: str
    initial: State
    evolve: Callable[[State, Any, Envelope], State]
    guard: Callable[[State, Any], None] = _no_guard
    deadlines: Callable[[State], Mapping[str, datetime]] = _no_deadlines
    on_deadline: Callable[[State, str, datetime, datetime], list[Any]] = _no_deadline
    access: Callable[[State], Access] = _no_access


def fold(family: StreamFamily[State], facts: list[Fact]) -> State:
    """Return the state after ``facts``, in their order."""
    state = family.initial
    for fact in facts:
        state = family.evolve(state, fact.event, fact.envelope)
    return state


@dataclass(frozen=True)
class Reaction:
    """What a service decides about a live fact of the log, in a stream of its own."""

    on: tuple[type[Event], ...]
    family: str
    decide: Callable[[Any, Fact], list[Any]]
    stream: Callable[[Fact], str | None] | None = field(default=None)

    def target(self, fact: Fact) -> str | None:
        """Return the stream that the reaction appends to; ``None`` for none."""
        return f"{self.family}/{fact.case}" if self.stream is None else self.stream(fact)
