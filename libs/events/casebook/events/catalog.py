"""Which events exist: every stream family with its owner, its events and its log key.

This is the answer to "which events are there"; ``docs/events.md`` is generated from it.
"""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, UnionType

from casebook.events import quality, request, risk, service_level, work_order, workforce
from casebook.events.event import Event

SERVICES = ("intake", "dispatch", "monitoring", "quality", "risk")


@dataclass(frozen=True, slots=True)
class Family:
    """A family of streams: one service writes it, its events are these.

    ``keyed_by_request`` says that the stream is named after a request and shares its log key.
    """

    name: str
    owner: str
    events: tuple[type[Event], ...]
    keyed_by_request: bool = False


def _members(union: UnionType | type[Event]) -> tuple[type[Event], ...]:
    """Return the classes of a union of events."""
    return typing.get_args(union) or (union,)  # type: ignore[return-value]


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            Family("request", "intake", _members(request.RequestEvent), keyed_by_request=True),
            Family("definition/source", "intake", _members(request.SourceEvent)),
            Family(
                "work-order", "dispatch", _members(work_order.WorkOrderEvent), keyed_by_request=True
            ),
            Family("team", "dispatch", _members(workforce.TeamEvent)),
            Family("agent", "dispatch", _members(workforce.AgentEvent)),
            Family(
                "service-level",
                "monitoring",
                _members(service_level.ServiceLevelEvent),
                keyed_by_request=True,
            ),
            Family("survey", "quality", _members(quality.SurveyEvent), keyed_by_request=True),
            Family("nonconformity", "quality", _members(quality.NonconformityEvent)),
            Family(
                "request-link", "quality", _members(quality.RequestLinkEvent), keyed_by_request=True
            ),
            Family("risk", "risk", _members(risk.RiskEvent)),
        )
    }
)

COMMON: tuple[type[Event], ...] = (request.IngressSkipped,)
"""Events that every service writes, to its own ``ingress-<service>/…`` streams."""

INGRESS_ONLY: tuple[type[Event], ...] = (request.ImportRowRejected,)
"""Events that only ever reach a quarantine; intake takes them."""

EVENTS: Mapping[str, type[Event]] = MappingProxyType(
    {
        event.type: event
        for event in (
            *(event for family in FAMILIES.values() for event in family.events),
            *COMMON,
            *INGRESS_ONLY,
        )
    }
)


def publishable(event: type[Event]) -> bool:
    """Say whether other systems may publish an event: it is about a request, or a rejected row."""
    family = FAMILIES.get(event.family)
    return event in INGRESS_ONLY or (family is not None and family.keyed_by_request)


def owner(type_: str) -> str | None:
    """Return the service that writes events of this type; ``None`` for types of all or of none."""
    event = EVENTS.get(type_)
    if event is None:
        return None
    if event in INGRESS_ONLY:
        return "intake"
    family = FAMILIES.get(event.family)
    return None if family is None else family.owner


def family_of(stream: str) -> str:
    """Return the family of a stream's name: all before the last slash."""
    return stream.rpartition("/")[0]
