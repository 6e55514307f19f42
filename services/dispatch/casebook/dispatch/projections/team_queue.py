"""The queues of the teams: every request's work with what the request says about its urgency.

One row a request, from the facts of dispatch and of intake. How the work stands is folded by the
same rules as the work order itself (handbook 2.2, 2.3).
"""

from typing import Any, ClassVar

from sqlalchemy import Column, DateTime, Integer, MetaData, Table, Text, Uuid

from casebook.dispatch.domain.work_order import OPEN, Status, WorkOrder, evolve
from casebook.events.event import Event
from casebook.events.request import (
    RequestClassified,
    RequestClosed,
    RequestPrioritised,
    RequestReclassified,
    RequestReopened,
    RequestReprioritised,
    RequestSubmitted,
)
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderCancelled,
    WorkOrderOpened,
    WorkOrderReassignedToAgent,
    WorkOrderReassignedToTeam,
    WorkOrderReleased,
    WorkOrderReopened,
    WorkOrderResolved,
    WorkOrderResumed,
    WorkOrderReturnedToQueue,
    WorkOrderStarted,
    WorkOrderWaitingEnded,
    WorkOrderWaitingStarted,
)
from casebook.kit.decider import Fact
from casebook.kit.read_models.projections import Projection, Row

_WORK = (
    WorkOrderOpened,
    WorkOrderAssignedToTeam,
    WorkOrderReassignedToTeam,
    WorkOrderReturnedToQueue,
    WorkOrderAssignedToAgent,
    WorkOrderReassignedToAgent,
    WorkOrderReleased,
    WorkOrderAccepted,
    WorkOrderStarted,
    WorkOrderWaitingStarted,
    WorkOrderWaitingEnded,
    WorkOrderResumed,
    WorkOrderResolved,
    WorkOrderReopened,
    WorkOrderCancelled,
)
_REQUEST = (
    RequestSubmitted,
    RequestClassified,
    RequestReclassified,
    RequestPrioritised,
    RequestReprioritised,
    RequestReopened,
    RequestClosed,
)


class TeamQueue(Projection):
    """What lies with which team and agent, and how urgent it is."""

    name: ClassVar[str] = "team_queue"
    version: ClassVar[int] = 2
    table: ClassVar[Table] = Table(
        "team_queue",
        MetaData(),
        Column("key", Uuid, primary_key=True),
        Column("number", Text),
        Column("kind", Text),
        Column("service", Text),
        Column("submitted_at", DateTime(timezone=True)),
        Column("priority", Integer),
        Column("problem_type", Text),
        Column("category", Text),
        Column("status", Text),
        Column("team", Text),
        Column("agent", Text),
        Column("waiting_reason", Text),
        Column("accepted_at", DateTime(timezone=True)),
        Column("started_at", DateTime(timezone=True)),
        Column("status_since", DateTime(timezone=True)),
        Column("origin", Text),
        Column("closed_at", DateTime(timezone=True)),
    )
    handles: ClassVar[tuple[type[Event], ...]] = (*_REQUEST, *_WORK)
    indexes: ClassVar[tuple[str, ...]] = ("team, status", "agent")

    def fold(self, row: Row | None, fact: Fact) -> Row | None:
        """Return the row after a fact of the request or of its work."""
        row = self._new(fact) if row is None else row
        if fact.live and row["origin"] != "live":
            row = row | {"origin": "live"}
        return row | self._changed(row, fact)

    def _new(self, fact: Fact) -> Row:
        """Return the row of a request of which nothing is known."""
        empty: Row = dict.fromkeys(column.name for column in self.table.columns)
        return empty | {"key": self.key(fact), "status": Status.UNKNOWN.value, "origin": "observed"}

    def _changed(self, row: Row, fact: Fact) -> Row:
        """Return the columns that a fact changes."""
        event = fact.event
        match event:
            case RequestSubmitted():
                return {
                    "number": event.number,
                    "kind": event.kind,
                    "service": event.service,
                    "submitted_at": fact.envelope.time,
                }
            case RequestClassified() | RequestReclassified():
                return {"problem_type": event.problem_type, "category": event.category}
            case RequestPrioritised() | RequestReprioritised():
                return {"priority": event.priority}
            case RequestReopened():
                return {"closed_at": None} | _reopened(row, fact)
            case RequestClosed():
                return {"closed_at": fact.envelope.time}
            case _:
                return _work(row, fact)


def _work(row: Row, fact: Fact) -> Row:
    """Return how the work stands after a fact of the work order, by the work order's own rules."""
    before = WorkOrder(
        status=Status(row["status"]),
        team=row["team"],
        agent=row["agent"],
        waiting_reason=row["waiting_reason"],
        accepted_at=row["accepted_at"],
        started_at=row["started_at"],
    )
    event: Any = fact.event
    after = evolve(before, event, fact.envelope)
    columns: Row = {
        "status": after.status.value,
        "team": after.team,
        "agent": after.agent,
        "waiting_reason": after.waiting_reason,
        "accepted_at": after.accepted_at,
        "started_at": after.started_at,
    }
    if after.status is not before.status:
        columns["status_since"] = fact.envelope.time
    return columns


def _reopened(row: Row, fact: Fact) -> Row:
    """Open resolved work of another system, which tells us so about the request alone.

    Live work is opened by a fact of its own.
    """
    if fact.live or Status(row["status"]) in OPEN:
        return {}
    status = Status.QUEUED if row["agent"] is None else Status.ASSIGNED
    return {"status": status.value, "status_since": fact.envelope.time}
