"""Read model ``kpi_facts``: one row per request with what the KPIs count (handbook 6.1).

A row is folded from the facts of the log alone, so that dropping it and reading the log again
gives the same table. Times that go back are kept as they are. ``course`` holds the facts
themselves, as far as a KPI counts them; everything else in a row follows from it, so the row can
also be folded again as it was at a moment (decisions 3.9, ``as_of``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from casebook.events.event import Event
from casebook.events.request import (
    RequestCancelled,
    RequestClosed,
    RequestPrioritised,
    RequestReopened,
    RequestReprioritised,
    RequestSubmitted,
)
from casebook.events.service_level import ServiceLevelSourceResultRecorded
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderReassignedToTeam,
    WorkOrderResolutionAmended,
    WorkOrderResolved,
    WorkOrderReturnedToQueue,
    WorkOrderStarted,
    WorkOrderWaitingEnded,
    WorkOrderWaitingStarted,
)
from casebook.kit.decider import Fact
from casebook.kit.read_models.projections import Projection, Row
from casebook.monitoring.domain.history import (
    CLOCK_STEPS,
    ENDS,
    Entry,
    Step,
    clock_history,
    microseconds,
    moment_of,
    month,
    stop_of,
    waiting_microseconds,
)

_CLOCKS: tuple[Literal["response"], Literal["resolution"]] = ("response", "resolution")

TABLE = Table(
    "kpi_facts",
    MetaData(),
    Column("request_id", Uuid, primary_key=True),
    Column("number", Text),
    Column("origin", Text),
    Column("priority", Integer),
    Column("team", Text),  # by which the KPIs group: at the last resolution, else now
    Column("team_now", Text),
    Column("resolution_team", Text),
    Column("opened_at", DateTime(timezone=True)),
    Column("opened_month", Text),
    Column("resolved_at", DateTime(timezone=True)),
    Column("resolved_month", Text),
    Column("closed_at", DateTime(timezone=True)),
    Column("closed_month", Text),
    Column("handling_microseconds", BigInteger),
    Column("handling_unpaused_microseconds", BigInteger),
    Column("source_result", Text),
    Column("reopenings", Integer),
    Column("reopening_months", JSONB),
    Column("group_changes", Integer),
    Column("group_change_months", JSONB),
    *(
        column
        for clock in _CLOCKS
        for column in (
            Column(f"{clock}_stopped_at", DateTime(timezone=True)),
            Column(f"{clock}_month", Text),
            Column(f"{clock}_elapsed_microseconds", BigInteger),
            Column(f"{clock}_priority", Integer),
            Column(f"{clock}_target_seconds", Integer),
            Column(f"{clock}_met", Boolean),
        )
    ),
    Column("first_at", DateTime(timezone=True)),
    Column("last_at", DateTime(timezone=True)),
    Column("course", JSONB),
)

_ENDED: frozenset[Step] = ENDS | frozenset[Step]({"amendment"})
_MEASURED: frozenset[Step] = CLOCK_STEPS | frozenset[Step]({"submission", "amendment"})
"""The steps after which a request of which something has ended is measured again."""

_BLANK: Row = {column.name: None for column in TABLE.columns} | {
    "origin": "observed",
    "reopenings": 0,
    "reopening_months": {},
    "group_changes": 0,
    "group_change_months": {},
    "course": [],
}


class KpiFacts(Projection):
    """What the KPIs count, per request."""

    name = "kpi_facts"
    version = 2
    table = TABLE
    handles = (
        RequestSubmitted,
        RequestPrioritised,
        RequestReprioritised,
        RequestReopened,
        RequestClosed,
        RequestCancelled,
        WorkOrderAssignedToTeam,
        WorkOrderReassignedToTeam,
        WorkOrderReturnedToQueue,
        WorkOrderAssignedToAgent,
        WorkOrderAccepted,
        WorkOrderStarted,
        WorkOrderWaitingStarted,
        WorkOrderWaitingEnded,
        WorkOrderResolved,
        WorkOrderResolutionAmended,
        ServiceLevelSourceResultRecorded,
    )

    def fold(self, row: Row | None, fact: Fact) -> Row | None:
        """Return the row after ``fact``; a request is live from its first live fact on."""
        after = _blank(fact.case) if row is None else dict(row)
        course: list[Entry] = after["course"]
        after["course"] = [*course, _entry(fact)]
        step = _taken(after, after["course"][-1])
        if step in _MEASURED and any(each[1] in _ENDED for each in after["course"]):
            _measure(after)
        return after


def row_as_of(request_id: str, course: Iterable[Entry], moment: datetime) -> Row | None:
    """Return the row as the facts that had happened by ``moment`` make it; ``None`` for none."""
    until = microseconds(moment)
    row = _blank(request_id)
    row["course"] = [each for each in course if each[0] <= until]
    if not row["course"]:
        return None
    for each in row["course"]:
        _taken(row, each)
    _measure(row)
    return row


def _blank(request_id: str) -> Row:
    return dict(_BLANK, request_id=UUID(request_id))


def _entry(fact: Fact) -> Entry:
    """Return what the KPIs have to know of a fact."""
    step, value = _step(fact)
    return [microseconds(fact.envelope.time), step, value, fact.live]


def _step(fact: Fact) -> tuple[Step, Any]:
    """Return which step a fact is, and its value.

    A request is answered by the first acceptance; in observed history, by the first sign that
    somebody had it.
    """
    event = fact.event
    match event:
        case RequestSubmitted():
            return "submission", {"number": event.number, "service": event.service}
        case RequestPrioritised() | RequestReprioritised():
            return "priority", event.priority
        case WorkOrderAssignedToTeam() if event.initial:
            return "team", event.team
        case WorkOrderAssignedToTeam() | WorkOrderReassignedToTeam():
            return "group-change", event.team
        case WorkOrderAssignedToAgent() | WorkOrderStarted() if fact.live:
            return "progress", None
        case WorkOrderWaitingStarted():
            return "waiting", event.reason
        case ServiceLevelSourceResultRecorded():
            return "source-result", event.result
        case _:
            return _PLAIN_STEPS[type(event)], None


def _taken(row: Row, entry: Entry) -> Step:
    """Change ``row`` by one entry of its course, without measuring; return which step it was."""
    at, step, value, live = entry
    moment = moment_of(at)
    row["first_at"] = moment if row["first_at"] is None else min(row["first_at"], moment)
    row["last_at"] = moment if row["last_at"] is None else max(row["last_at"], moment)
    if live:
        row["origin"] = "live"
    take = _FOLDS.get(step)
    if take is not None:
        take(row, moment, value)
    return step


def _submitted(row: Row, at: datetime, value: Mapping[str, Any]) -> None:
    row.update(number=value["number"], opened_at=at, opened_month=month(at))


def _prioritised(row: Row, at: datetime, value: int | None) -> None:
    row["priority"] = value


def _reopened(row: Row, at: datetime, value: None) -> None:
    row["reopenings"] += 1
    row["reopening_months"] = _counted(row["reopening_months"], at)


def _closed(row: Row, at: datetime, value: None) -> None:
    row.update(closed_at=at, closed_month=month(at))


def _got_team(row: Row, at: datetime, value: str | None) -> None:
    row["team_now"] = value
    if row["resolved_at"] is None:
        row["team"] = value


def _changed_group(row: Row, at: datetime, value: str | None) -> None:
    _got_team(row, at, value)
    row["group_changes"] += 1
    row["group_change_months"] = _counted(row["group_change_months"], at)


def _resolved(row: Row, at: datetime, value: None) -> None:
    """Take the last resolution; an amended one moves it, but no clock was running any more."""
    row.update(resolved_at=at, resolved_month=month(at))
    row.update(resolution_team=row["team_now"], team=row["team_now"])


def _source_result(row: Row, at: datetime, value: str) -> None:
    row["source_result"] = value


def _measure(row: Row) -> None:
    """Read clocks and waits from the history."""
    if row["opened_at"] is not None:
        history = clock_history(row["course"])
        _measure_clocks(row, history)
        _measure_handling(row, history)


def _measure_clocks(row: Row, history: Sequence[Entry]) -> None:
    """Read both clocks from the history."""
    for clock in _CLOCKS:
        stop = stop_of(clock, row["opened_at"], history)
        row.update(
            {
                f"{clock}_stopped_at": None,
                f"{clock}_month": None,
                f"{clock}_elapsed_microseconds": None,
                f"{clock}_priority": None,
                f"{clock}_target_seconds": None,
                f"{clock}_met": None,
            }
            if stop is None
            else {
                f"{clock}_stopped_at": stop.at,
                f"{clock}_month": month(stop.at),
                f"{clock}_elapsed_microseconds": stop.elapsed_microseconds,
                f"{clock}_priority": stop.priority,
                f"{clock}_target_seconds": stop.target_seconds,
                f"{clock}_met": stop.met,
            }
        )


def _measure_handling(row: Row, history: Sequence[Entry]) -> None:
    """Measure from submission to last resolution, with and without waits; may be negative."""
    opened_at, resolved_at = row["opened_at"], row["resolved_at"]
    if resolved_at is None:
        return
    handling = microseconds(resolved_at) - microseconds(opened_at)
    row["handling_microseconds"] = handling
    row["handling_unpaused_microseconds"] = handling - waiting_microseconds(
        history, opened_at, resolved_at
    )


def _counted(months: Mapping[str, int], at: datetime) -> dict[str, int]:
    """Return the counts by month with one more in the month of ``at``."""
    name = month(at)
    return {**months, name: months.get(name, 0) + 1}


_PLAIN_STEPS: Mapping[type[Event], Step] = {
    RequestReopened: "reopening",
    RequestClosed: "closure",
    RequestCancelled: "cancellation",
    WorkOrderReturnedToQueue: "group-change",
    WorkOrderAssignedToAgent: "response",
    WorkOrderAccepted: "response",
    WorkOrderStarted: "response",
    WorkOrderWaitingEnded: "ready",
    WorkOrderResolved: "resolution",
    WorkOrderResolutionAmended: "amendment",
}
_FOLDS: Mapping[Step, Callable[[Row, datetime, Any], None]] = {
    "submission": _submitted,
    "priority": _prioritised,
    "reopening": _reopened,
    "closure": _closed,
    "team": _got_team,
    "group-change": _changed_group,
    "resolution": _resolved,
    "amendment": _resolved,
    "source-result": _source_result,
}
"""What each step does to a row; the others move clocks and waits alone."""
