"""Which facts are evidence of a risk: for risk managers, who read those requests (handbook 5.1)."""

from typing import ClassVar

from sqlalchemy import Column, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from casebook.events.event import Event
from casebook.events.risk import RiskCandidateRaised
from casebook.kit.decider import Fact
from casebook.kit.read_models.projections import Projection, Row


class RiskEvidence(Projection):
    """The ids of the breaches that each candidate counts; the timeline has their requests."""

    name: ClassVar[str] = "risk_evidence"
    version: ClassVar[int] = 1
    table: ClassVar[Table] = Table(
        "risk_evidence",
        MetaData(),
        Column("risk", Text, primary_key=True),
        Column("evidence", JSONB, nullable=False),
    )
    handles: ClassVar[tuple[type[Event], ...]] = (RiskCandidateRaised,)

    def fold(self, row: Row | None, fact: Fact) -> Row | None:
        """Return the candidate with its evidence."""
        return {"risk": fact.case, "evidence": list(fact.envelope.data["evidence"])}
