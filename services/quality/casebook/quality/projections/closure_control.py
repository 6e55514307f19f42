"""The control over the whole log: every closing of every request, judged (handbook 2.1, 3.4).

A row holds what the control needs to judge the next closing, how many it has judged and what it
found, observed history and live work apart. It also sees which nonconformities were raised:
``pending`` says that a live finding has none yet.
"""

from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Boolean, Column, DateTime, Integer, MetaData, Table, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from casebook.events.envelope import timestamp
from casebook.events.event import Event
from casebook.events.quality import NonconformityRaised
from casebook.events.request import (
    RequestClosed,
    RequestClosureAnnounced,
    RequestReopened,
    RequestResolutionConfirmed,
    RequestResolutionProposed,
)
from casebook.kit.decider import Fact
from casebook.kit.read_models.projections import Projection, Row
from casebook.quality.domain.control import finding, nonconformity_id


class ClosureControl(Projection):
    """One row per request that was ever resolved, confirmed, announced, closed or reopened."""

    name: ClassVar[str] = "closure_control"
    version: ClassVar[int] = 1
    table: ClassVar[Table] = Table(
        "closure_control",
        MetaData(),
        Column("request_id", Uuid, primary_key=True),
        Column("resolution", Uuid),
        Column("confirmed", Boolean, nullable=False),
        Column("closes_at", DateTime(timezone=True)),
        Column("closings_observed", Integer, nullable=False),
        Column("closings_live", Integer, nullable=False),
        Column("findings_observed", Integer, nullable=False),
        Column("findings_live", Integer, nullable=False),
        Column("pending", Boolean, nullable=False),
        Column("found_at", DateTime(timezone=True)),
        Column("findings", JSONB, nullable=False),
    )
    handles: ClassVar[tuple[type[Event], ...]] = (
        RequestResolutionProposed,
        RequestResolutionConfirmed,
        RequestClosureAnnounced,
        RequestClosed,
        RequestReopened,
        NonconformityRaised,
    )
    indexes: ClassVar[tuple[str, ...]] = ("pending", "found_at, request_id")

    def key(self, fact: Fact) -> UUID | None:
        """Return the request; a nonconformity that is not kept with its request has no row."""
        event = fact.event
        if isinstance(event, NonconformityRaised) and str(event.request_id) != fact.case:
            return None
        return UUID(fact.case)

    def fold(self, row: Row | None, fact: Fact) -> Row:
        """Return the row after ``fact``."""
        row = dict(row or _first(UUID(fact.case)))
        event = fact.event
        match event:
            case RequestResolutionProposed():
                row |= {"resolution": fact.envelope.id, "confirmed": False, "closes_at": None}
            case RequestReopened():
                row |= {"resolution": None, "confirmed": False, "closes_at": None}
            case RequestResolutionConfirmed():
                row |= {"confirmed": True}
            case RequestClosureAnnounced():
                row |= {"closes_at": event.closes_at}
            case RequestClosed():
                _judge(row, event, fact)
            case NonconformityRaised():
                _note_raised(row, fact)
            case _:
                pass
        return row


def _first(request_id: UUID) -> Row:
    """Return the row of a request of which nothing is known."""
    return {
        "request_id": request_id,
        "resolution": None,
        "confirmed": False,
        "closes_at": None,
        "closings_observed": 0,
        "closings_live": 0,
        "findings_observed": 0,
        "findings_live": 0,
        "pending": False,
        "found_at": None,
        "findings": [],
    }


def _judge(row: Row, event: RequestClosed, fact: Fact) -> None:
    """Count a closing, and what is wrong with it."""
    envelope = fact.envelope
    row[f"closings_{envelope.origin}"] += 1
    kind = finding(
        basis=event.basis,
        confirmed=row["confirmed"],
        closes_at=row["closes_at"],
        closed_at=envelope.time,
    )
    if kind is None:
        return
    row[f"findings_{envelope.origin}"] += 1
    row["found_at"] = envelope.time
    found: dict[str, Any] = {
        "closing": str(envelope.id),
        "resolution": None if row["resolution"] is None else str(row["resolution"]),
        "kind": kind,
        "basis": event.basis,
        "origin": envelope.origin,
        "closed_at": timestamp(envelope.time),
        "closed_by": envelope.actor,
        "nonconformity": str(nonconformity_id(envelope.id)) if fact.live else None,
        "raised": False,
        # What the nonconformity follows from: it stands after the closing, in the same trace.
        "recordedtime": timestamp(envelope.recordedtime),
        "traceparent": envelope.traceparent,
    }
    row["findings"] = [*row["findings"], found]
    row["pending"] = row["pending"] or fact.live


def _note_raised(row: Row, fact: Fact) -> None:
    """Mark the finding that a nonconformity is about; others' nonconformities mark none."""
    raised = fact.envelope.subject.rpartition("/")[2]
    row["findings"] = [
        found | {"raised": True} if found["nonconformity"] == raised else found
        for found in row["findings"]
    ]
    row["pending"] = any(
        found["origin"] == "live" and not found["raised"] for found in row["findings"]
    )
