"""Read model ``reopenings``: histories that were reopened here, whose clocks have to be resumed.

Another system's request becomes live by being reopened (ADR 0015). Its clocks cannot follow from
that one fact; what they take is in ``kpi_facts``, and this table says for which requests.
"""

from typing import ClassVar

from sqlalchemy import Boolean, Column, DateTime, MetaData, Table, Text, Uuid

from casebook.events.event import Event
from casebook.events.request import RequestReopened
from casebook.events.service_level import ServiceLevelOpened
from casebook.kit.decider import Fact
from casebook.kit.read_models.projections import Projection, Row


class Reopenings(Projection):
    """One row per request whose clocks Casebook runs, or has to run since a reopening."""

    name: ClassVar[str] = "reopenings"
    version: ClassVar[int] = 1
    table: ClassVar[Table] = Table(
        "reopenings",
        MetaData(),
        Column("request_id", Uuid, primary_key=True),
        Column("pending", Boolean, nullable=False),
        Column("reopening", Uuid),
        Column("recordedtime", DateTime(timezone=True)),
        Column("traceparent", Text),
    )
    handles: ClassVar[tuple[type[Event], ...]] = (ServiceLevelOpened, RequestReopened)
    indexes: ClassVar[tuple[str, ...]] = ("pending",)

    def fold(self, row: Row | None, fact: Fact) -> Row | None:
        """Return the row after ``fact``; what another system reopens is its own business."""
        if not fact.live:
            return row
        if isinstance(fact.event, ServiceLevelOpened):
            return (row or self._new(fact)) | {"pending": False}
        return row or self._new(fact) | {
            "pending": True,
            "reopening": fact.envelope.id,
            "recordedtime": fact.envelope.recordedtime,
            "traceparent": fact.envelope.traceparent,
        }

    def _new(self, fact: Fact) -> Row:
        empty: Row = dict.fromkeys(column.name for column in self.table.columns)
        return empty | {"request_id": self.key(fact)}
