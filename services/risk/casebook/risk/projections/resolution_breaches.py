"""Every breach of a resolution target that the log holds: what evidence is looked up in (5.1)."""

from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Column, DateTime, MetaData, Select, Table, Text, Uuid, select

from casebook.events.event import Event
from casebook.events.service_level import ServiceLevelBreachWithdrawn, ServiceLevelTargetBreached
from casebook.kit.decider import Fact
from casebook.kit.read_models.projections import Projection, Row
from casebook.risk.domain.breach_rate import UNSPECIFIED


class ResolutionBreaches(Projection):
    """One row per breach event of a live request, with its withdrawal if there was one.

    ``recorded_at`` and ``traceparent`` are what a candidate follows that the breach led to.
    """

    name: ClassVar[str] = "resolution_breaches"
    version: ClassVar[int] = 2
    table: ClassVar[Table] = Table(
        "resolution_breaches",
        MetaData(),
        Column("breach", Uuid, primary_key=True),
        Column("request_id", Uuid, nullable=False),
        Column("service", Text, nullable=False),
        Column("breached_at", DateTime(timezone=True)),
        Column("withdrawn_at", DateTime(timezone=True)),
        Column("recorded_at", DateTime(timezone=True)),
        Column("traceparent", Text),
    )
    handles: ClassVar[tuple[type[Event], ...]] = (
        ServiceLevelTargetBreached,
        ServiceLevelBreachWithdrawn,
    )

    def key(self, fact: Fact) -> UUID | None:
        """Return the id of the breach event of a live resolution clock."""
        event = fact.event
        if not fact.live:
            return None
        if isinstance(event, ServiceLevelTargetBreached) and event.clock == "resolution":
            return fact.envelope.id
        if isinstance(event, ServiceLevelBreachWithdrawn) and event.clock == "resolution":
            return event.breach
        return None

    def fold(self, row: Row | None, fact: Fact) -> Row | None:
        """Return the row after ``fact``."""
        event = fact.event
        if isinstance(event, ServiceLevelTargetBreached):
            return {
                "breach": fact.envelope.id,
                "request_id": UUID(fact.case),
                "service": event.service or UNSPECIFIED,
                "breached_at": event.due_at,
                "withdrawn_at": None,
                "recorded_at": fact.envelope.recordedtime,
                "traceparent": fact.envelope.traceparent,
            }
        # A withdrawal of a breach that the log does not hold takes nothing back.
        return None if row is None else row | {"withdrawn_at": fact.envelope.time}


def causes(breach: UUID) -> "Select[*tuple[Any, ...]]":
    """Return the statement for what a candidate follows that a breach led to."""
    breaches = ResolutionBreaches.table.c
    return select(breaches.recorded_at, breaches.traceparent).where(breaches.breach == breach)
