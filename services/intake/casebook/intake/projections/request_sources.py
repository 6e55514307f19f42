"""Which source published a request: for those who may read what is theirs (reliability 1.3)."""

from typing import Any, ClassVar

from sqlalchemy import Column, MetaData, Table, Text

from casebook.events.event import Event
from casebook.events.request import RequestSubmitted
from casebook.kit.decider import Fact
from casebook.kit.read_models.projections import Projection, Row


class RequestSources(Projection):
    """The source of each request that another system published; others have no row."""

    name: ClassVar[str] = "request_sources"
    version: ClassVar[int] = 1
    table: ClassVar[Table] = Table(
        "request_sources",
        MetaData(),
        Column("request", Text, primary_key=True),
        Column("source", Text, nullable=False),
    )
    handles: ClassVar[tuple[type[Event], ...]] = (RequestSubmitted,)
    indexes: ClassVar[tuple[str, ...]] = ("source",)

    def key(self, fact: Fact) -> Any | None:
        """Return the request of a published fact."""
        return None if fact.envelope.originsource is None else fact.case

    def fold(self, row: Row | None, fact: Fact) -> Row | None:
        """Return the request with its source, which never changes."""
        return row or {"request": fact.case, "source": fact.envelope.originsource}
