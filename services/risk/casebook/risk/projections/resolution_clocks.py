"""The resolution clock of every live request, as the candidate rule counts it (handbook 5.1)."""

from datetime import datetime
from typing import Any, ClassVar, TypeAlias
from uuid import UUID

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    MetaData,
    Select,
    Table,
    Text,
    Uuid,
    and_,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from casebook.events.envelope import timestamp
from casebook.events.event import Event
from casebook.events.service_level import (
    ServiceLevelBreachWithdrawn,
    ServiceLevelClockCancelled,
    ServiceLevelClockResumed,
    ServiceLevelClockStarted,
    ServiceLevelClockStopped,
    ServiceLevelTargetBreached,
)
from casebook.kit.decider import Fact
from casebook.kit.read_models.projections import Projection, Row
from casebook.risk.domain.breach_rate import UNSPECIFIED

Statement: TypeAlias = "Select[*tuple[Any, ...]]"
_Clock = (
    ServiceLevelClockStarted
    | ServiceLevelClockResumed
    | ServiceLevelTargetBreached
    | ServiceLevelBreachWithdrawn
    | ServiceLevelClockStopped
    | ServiceLevelClockCancelled
)


class ResolutionClocks(Projection):
    """One row per live request: its service, its last stop, the breach that stands.

    ``breach`` and ``breached_at`` are the earliest of ``standing``, the breaches that were not
    withdrawn. Observed history has no row: it must never count.
    """

    name: ClassVar[str] = "resolution_clocks"
    version: ClassVar[int] = 1
    table: ClassVar[Table] = Table(
        "resolution_clocks",
        MetaData(),
        Column("request_id", Uuid, primary_key=True),
        Column("service", Text, nullable=False),
        Column("stopped_at", DateTime(timezone=True)),
        Column("breach", Uuid),
        Column("breached_at", DateTime(timezone=True)),
        Column("cancelled", Boolean, nullable=False),
        Column("standing", JSONB, nullable=False),
    )
    handles: ClassVar[tuple[type[Event], ...]] = (
        ServiceLevelClockStarted,
        ServiceLevelClockResumed,
        ServiceLevelTargetBreached,
        ServiceLevelBreachWithdrawn,
        ServiceLevelClockStopped,
        ServiceLevelClockCancelled,
    )
    indexes: ClassVar[tuple[str, ...]] = ("stopped_at", "breached_at", "service")

    def key(self, fact: Fact) -> UUID | None:
        """Return the request of a live resolution clock; anything else has no row."""
        event = fact.event
        if not fact.live or not isinstance(event, _Clock) or event.clock != "resolution":
            return None
        return UUID(fact.case)

    def fold(self, row: Row | None, fact: Fact) -> Row:
        """Return the row after ``fact``."""
        row = dict(row or _first(UUID(fact.case)))
        event = fact.event
        match event:
            case ServiceLevelClockStarted():
                row |= {"service": event.service or UNSPECIFIED, "cancelled": False}
            case ServiceLevelClockResumed():
                row |= {"stopped_at": None}
            case ServiceLevelTargetBreached():
                breach = {"id": str(fact.envelope.id), "at": timestamp(event.due_at)}
                _stand(row, [*row["standing"], breach])
            case ServiceLevelBreachWithdrawn():
                withdrawn = str(event.breach)
                _stand(row, [breach for breach in row["standing"] if breach["id"] != withdrawn])
            case ServiceLevelClockStopped():
                # Without ``met`` there was no target yet, so nothing was promised to measure.
                row |= {"stopped_at": None if event.met is None else fact.envelope.time}
            case ServiceLevelClockCancelled():
                row |= {"cancelled": True}
            case _:
                pass
        return row


def rates_between(start: datetime, end: datetime) -> Statement:
    """Return the statement for every service's counts in the window after ``start`` to ``end``."""
    clocks = ResolutionClocks.table.c
    return (
        select(
            clocks.service,
            func.count().label("measured"),
            func.count(clocks.breach).label("breached"),
        )
        .where(_ended_between(start, end))
        .group_by(clocks.service)
    )


def clocks_between(service: str, start: datetime, end: datetime) -> Statement:
    """Return the statement for the clocks that count for one service in a window."""
    clocks = ResolutionClocks.table.c
    return select(clocks.stopped_at, clocks.breached_at, clocks.breach).where(
        clocks.service == service, _ended_between(start, end)
    )


def _ended_between(start: datetime, end: datetime) -> ColumnElement[bool]:
    """Return the condition that a clock stopped or breached in the window, and still counts."""
    clocks = ResolutionClocks.table.c
    return and_(
        clocks.cancelled.is_(False),
        or_(
            and_(clocks.stopped_at > start, clocks.stopped_at <= end),
            and_(clocks.breached_at > start, clocks.breached_at <= end),
        ),
    )


def _first(request_id: UUID) -> Row:
    """Return the row of a request of which nothing is known."""
    return {
        "request_id": request_id,
        "service": UNSPECIFIED,
        "stopped_at": None,
        "breach": None,
        "breached_at": None,
        "cancelled": False,
        "standing": [],
    }


def _stand(row: Row, standing: list[dict[str, Any]]) -> None:
    """Write the breaches that stand, and the earliest of them."""
    first = min(standing, key=lambda breach: (breach["at"], breach["id"]), default=None)
    row |= {
        "standing": standing,
        "breach": None if first is None else UUID(first["id"]),
        "breached_at": None if first is None else datetime.fromisoformat(first["at"]),
    }
