"""Registered sources: which systems may publish what, and as which kind of history.

The handbook (1.2, 2.1) wants every request on one platform; other systems' requests come through
a registered source. Assumption: registration by an administrator, as a fact that all follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from casebook.events.catalog import EVENTS
from casebook.events.envelope import Envelope
from casebook.events.request import SourceEvent, SourceRegistered
from casebook.kit.decider import Refused

Mode = Literal["live", "observed"]
MODES: tuple[str, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class Source:
    """A source as it is registered now; without a name there is none yet."""

    name: str = ""
    types: tuple[str, ...] = ()
    organisation: str | None = None
    mode: str = ""
    publisher: str = ""


def register(
    source: Source,
    *,
    name: str,
    types: Sequence[str],
    organisation: str | None,
    mode: str,
    publisher: str,
) -> list[SourceEvent]:
    """Allow a system to publish; the same registration again adds nothing.

    :raises Refused: ``unknown-mode``, or ``unknown-type`` when a type is not in the catalogue.
    """
    allowed = tuple(sorted(set(types)))
    event = SourceRegistered(
        source=name, types=allowed, organisation=organisation, mode=mode, publisher=publisher
    )
    guard(source, event)
    wanted = Source(
        name=name, types=allowed, organisation=organisation, mode=mode, publisher=publisher
    )
    return [] if source == wanted else [event]


def evolve(source: Source, event: SourceEvent, envelope: Envelope) -> Source:
    """Return the registration after ``event``; total, and never refuses."""
    return Source(
        name=event.source,
        types=event.types,
        organisation=event.organisation,
        mode=event.mode,
        publisher=event.publisher,
    )


def guard(source: Source, event: SourceEvent) -> None:
    """Refuse a registration that nobody could use.

    :raises Refused: ``unknown-mode`` or ``unknown-type``.
    """
    if event.mode not in MODES:
        raise Refused("unknown-mode", f"a source is one of: {', '.join(MODES)}")
    unknown = sum(type_ not in EVENTS for type_ in event.types)
    if unknown:
        raise Refused("unknown-type", f"{unknown} of the types are not in the catalogue")
