"""Everything that happened to a request, in the order of the log (handbook 1.3, transparency).

One row for each fact of all five services about a request. Text stays sealed; what a reader may
see is decided when somebody reads.
"""

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Column, DateTime, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from casebook.events.catalog import COMMON, FAMILIES
from casebook.events.event import Event
from casebook.events.quality import NonconformityRaised
from casebook.kit.decider import Fact
from casebook.kit.read_models.projections import Projection, Row


class Timeline(Projection):
    """The facts of each request."""

    name: ClassVar[str] = "timeline"
    version: ClassVar[int] = 1
    table: ClassVar[Table] = Table(
        "timeline",
        MetaData(),
        Column("id", Uuid, primary_key=True),
        Column("request", Text, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("service", Text, nullable=False),
        Column("stream", Text, nullable=False),
        Column("type", Text, nullable=False),
        Column("audience", Text, nullable=False),
        Column("origin", Text, nullable=False),
        Column("actor", Text, nullable=False),
        Column("time", DateTime(timezone=True), nullable=False),
        Column("recordedtime", DateTime(timezone=True), nullable=False),
        Column("data", JSONB, nullable=False),
    )
    handles: ClassVar[tuple[type[Event], ...]] = (
        *(
            event
            for family in FAMILIES.values()
            if family.keyed_by_request
            for event in family.events
        ),
        NonconformityRaised,
        *COMMON,
    )
    indexes: ClassVar[tuple[str, ...]] = ("request, position",)

    def key(self, fact: Fact) -> Any | None:
        """Return the id of the fact: each has its own row."""
        return fact.envelope.id

    def fold(self, row: Row | None, fact: Fact) -> Row | None:
        """Return the fact as a row; the log offset orders it within its request."""
        envelope = fact.envelope
        return {
            "id": envelope.id,
            "request": envelope.partitionkey,
            "position": fact.offset,
            "service": envelope.source.rpartition("/")[2],
            "stream": envelope.subject,
            "type": envelope.type,
            "audience": envelope.audience,
            "origin": envelope.origin,
            "actor": envelope.actor,
            "time": envelope.time,
            "recordedtime": envelope.recordedtime,
            "data": dict(envelope.data),
        }
