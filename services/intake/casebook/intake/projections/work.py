"""How the work on a request goes, as dispatch says (handbook 2.2, 2.3): for lists and details."""

from typing import Any, ClassVar, assert_never, cast

from sqlalchemy import Column, DateTime, MetaData, Table, Text

from casebook.events.catalog import FAMILIES
from casebook.events.event import Event
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderCancelled,
    WorkOrderCausingChangeLinked,
    WorkOrderChangeLinked,
    WorkOrderEvent,
    WorkOrderNoted,
    WorkOrderOpened,
    WorkOrderQueued,
    WorkOrderReassignedToAgent,
    WorkOrderReassignedToTeam,
    WorkOrderReleased,
    WorkOrderReopened,
    WorkOrderRequirementChanged,
    WorkOrderResolutionAmended,
    WorkOrderResolved,
    WorkOrderResumed,
    WorkOrderReturnedToQueue,
    WorkOrderStarted,
    WorkOrderVendorInvolved,
    WorkOrderWaitingEnded,
    WorkOrderWaitingStarted,
)
from casebook.kit.decider import Fact
from casebook.kit.read_models.projections import Projection, Row

STATUSES = (
    "queued",
    "assigned",
    "accepted",
    "in-progress",
    "waiting",
    "resolved",
    "cancelled",
)


class Work(Projection):
    """The work order of each request: where it is, with whom, and what it waits for."""

    name: ClassVar[str] = "work"
    version: ClassVar[int] = 1
    table: ClassVar[Table] = Table(
        "work",
        MetaData(),
        Column("request", Text, primary_key=True),
        Column("status", Text, nullable=False),
        Column("team", Text),
        Column("agent", Text),
        Column("waiting_reason", Text),
        Column("updated_at", DateTime(timezone=True), nullable=False),
    )
    handles: ClassVar[tuple[type[Event], ...]] = FAMILIES["work-order"].events
    indexes: ClassVar[tuple[str, ...]] = ("team",)

    def fold(self, row: Row | None, fact: Fact) -> Row | None:
        """Return the row after ``fact``; history in any order folds too."""
        event = cast("WorkOrderEvent", fact.event)  # `handles` is exactly these
        before: Row = row or {
            "request": fact.case,
            "status": "queued",
            "team": None,
            "agent": None,
            "waiting_reason": None,
        }
        return {**before, **_changes(before, event), "updated_at": fact.envelope.time}


def _changes(row: Row, event: WorkOrderEvent) -> dict[str, Any]:
    """Return the columns that ``event`` sets."""
    match event:
        case WorkOrderOpened() | WorkOrderQueued():
            return {"status": "queued"}
        case WorkOrderAssignedToTeam() | WorkOrderReassignedToTeam():
            return {"team": event.team}
        case WorkOrderReturnedToQueue():
            return {"team": None}
        case WorkOrderAssignedToAgent() | WorkOrderReassignedToAgent():
            started = row["status"] not in {"queued", "assigned", "accepted"}
            return {"agent": event.agent} | ({} if started else {"status": "assigned"})
        case WorkOrderReleased():
            return {"agent": None}
        case WorkOrderAccepted():
            return {"status": "accepted", "agent": event.agent}
        case WorkOrderStarted() | WorkOrderResumed():
            return {"status": "in-progress", "waiting_reason": None}
        case WorkOrderWaitingStarted():
            return {"status": "waiting", "waiting_reason": event.reason}
        case WorkOrderWaitingEnded():
            return {"status": "in-progress", "waiting_reason": None}
        case WorkOrderResolved() | WorkOrderResolutionAmended():
            return {"status": "resolved", "waiting_reason": None}
        case WorkOrderReopened():
            return {"status": "queued" if row["agent"] is None else "assigned"}
        case WorkOrderCancelled():
            return {"status": "cancelled", "waiting_reason": None}
        case (
            WorkOrderRequirementChanged()
            | WorkOrderNoted()
            | WorkOrderChangeLinked()
            | WorkOrderVendorInvolved()
            | WorkOrderCausingChangeLinked()
        ):
            return {}
        case _:
            assert_never(event)
