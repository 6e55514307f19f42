"""Reading facts: from an envelope to the event it holds, whatever version wrote it.

Readers are tolerant: fields of a later revision are ignored, older majors are upcast, unknown
types are for somebody else. Only a major that this code does not know stops a case, because
skipping it would lose what the service is there to act on (decisions 3.7).
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from casebook.events.catalog import EVENTS
from casebook.events.envelope import Envelope
from casebook.events.event import Event
from casebook.events.upcasting import Upcast, path, split


class UnknownMajor(Exception):
    """The type is known, its major version is not: this code is older than the event."""

    def __init__(self, type_: str) -> None:
        super().__init__(f"{type_}: this version of the code does not know its major version")
        self.type = type_


class _Reader(NamedTuple):
    """How data of one type is read: the upcasts on the way, and today's class."""

    steps: tuple[Upcast, ...]
    event: type[Event]


CURRENT: Mapping[str, type[Event]] = MappingProxyType(
    {split(type_)[0]: event for type_, event in EVENTS.items()}
)
"""Name of a type without its version → the class of its current major."""


def decode(envelope: Envelope) -> Event | None:
    """Return the event that an envelope holds; ``None`` for a type that is not known.

    :raises UnknownMajor: for another major of a known type, to which no upcast leads.
    :raises ValueError: when the data is not of its type (also as ``pydantic.ValidationError``).
    """
    reader = _reader(envelope.type)
    if reader is None:
        return None
    data: Any = envelope.data
    for step in reader.steps:
        data = step(data)
    return reader.event.model_validate(data)


@lru_cache(maxsize=1024)
def base(type_: str) -> str:
    """Return a type without its version: what a reader decides by whether it handles it.

    A reader that compared whole types would skip a later major of a type it handles.
    """
    return split(type_)[0]


@lru_cache(maxsize=1024)
def _reader(type_: str) -> _Reader | None:
    """Return how a type is read; ``None`` if it is not known.

    :raises UnknownMajor: when its name is known and no upcast leads to today's major.
    """
    event = EVENTS.get(type_)
    if event is not None:
        return _Reader((), event)
    name, major = split(type_)
    current = CURRENT.get(name)
    if current is None:
        return None
    to = split(current.type)[1]
    steps = None if major is None or to is None else path(name, major, to)
    if steps is None:
        raise UnknownMajor(type_)
    return _Reader(steps, current)
