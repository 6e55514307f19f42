"""What must hold of the domain at rest: work orders, surveys, deadlines, the load of agents."""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from casebook.dispatch.domain.work_order import WorkOrder, holder
from casebook.events.quality import SurveyAnswered, SurveySent
from casebook.events.request import RequestClosed, RequestSubmitted
from casebook.events.service_level import (
    ServiceLevelBreachWithdrawn,
    ServiceLevelClockStopped,
    ServiceLevelTargetBreached,
)
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderAssignedToAgent,
    WorkOrderOpened,
    WorkOrderReassignedToAgent,
    WorkOrderResolved,
)
from casebook.events.workforce import AgentCapacityChanged, AgentRegistered
from casebook.kit.reading.timers import _ids as fact_of_timer
from tests.simulation.violations import require

if TYPE_CHECKING:
    from datetime import datetime

    from tests.simulation.invariants import Facts
    from tests.simulation.simulation import Play


def check(play: "Play", facts: "Facts") -> None:
    """Check what holds of the domain.

    :raises Violation: where something does not.
    """
    _one_work_order(facts)
    _timers(play, facts)
    _capacity(facts)
    if "quality" in facts.stored:
        _one_survey(facts)
    if "monitoring" in facts.stored:
        _deadlines(facts)
        _not_too_early(play, facts)


def _timers(play: "Play", facts: "Facts") -> None:
    """Check that no timer fired before it was due, by its own account and by its fact's (D5)."""
    if play.world.clock.set_back:
        return  # then what is recorded later may tell an earlier time
    for schema in play.world.schemas.values():
        for row in schema.table("timers").values():
            if row["status"] != "fired":
                continue
            fact = facts.known.get(fact_of_timer(row["id"])(0))
            told = [row["fired_at"], *([] if fact is None else [fact.envelope.recordedtime])]
            due = row["due_at"]
            require(min(told) >= due, f"D5 {row['stream']} {row['kind']}: due {due}, fired {told}")


def _one_work_order(facts: "Facts") -> None:
    """Check that every live request has exactly one work order, opened once."""
    opened = Counter(
        f.case for f in facts.stored["dispatch"] if isinstance(f.event, WorkOrderOpened)
    )
    for fact in facts.stored["intake"]:
        if isinstance(fact.event, RequestSubmitted) and fact.live:
            count = opened.pop(fact.case, 0)
            require(count == 1, f"D1 request {fact.case} has {count} work orders")
    require(not opened, f"D1 work orders without a live request: {list(opened)[:3]}")


def _one_survey(facts: "Facts") -> None:
    """Check that every live closing led to one survey, unless it was answered before."""
    sent = Counter(
        f.envelope.causationid for f in facts.stored["quality"] if isinstance(f.event, SurveySent)
    )
    answered = {f.case for f in facts.stored["quality"] if isinstance(f.event, SurveyAnswered)}
    closings: set[Any] = set()
    for fact in facts.stored["intake"]:
        if isinstance(fact.event, RequestClosed) and fact.live:
            closings.add(fact.envelope.id)
            count = sent[fact.envelope.id]
            least = 0 if fact.case in answered else 1
            require(least <= count <= 1, f"D2 {fact.case}: {count} surveys for one closing")
    require(not sent.keys() - closings, f"D2 surveys without a closing: {sent.keys() - closings}")


def _deadlines(facts: "Facts") -> None:
    """Check breaches: one for a deadline, and none that an earlier stop contradicts."""
    breached: defaultdict[tuple[str, str, datetime], list[Any]] = defaultdict(list)
    withdrawn: set[Any] = set()
    stopped: dict[tuple[str, str], tuple[datetime, Any]] = {}
    for fact in facts.stored["monitoring"]:
        event, stream = fact.event, fact.envelope.subject
        if isinstance(event, ServiceLevelTargetBreached):
            breached[stream, event.clock, event.due_at].append(fact.envelope.id)
            require(event.fired_at >= event.due_at, f"D3 {stream} was breached before it was due")
        elif isinstance(event, ServiceLevelBreachWithdrawn):
            withdrawn.add(event.breach)
        elif isinstance(event, ServiceLevelClockStopped):
            stopped[stream, event.clock] = (fact.envelope.time, fact.envelope.id)
    first: dict[str, datetime] = {}
    for fact in facts.stored["dispatch"]:
        if isinstance(fact.event, WorkOrderAccepted) and fact.live:
            first[fact.case] = min(first.get(fact.case, fact.envelope.time), fact.envelope.time)
    for (stream, clock, due), ids in breached.items():
        left = [id_ for id_ in ids if id_ not in withdrawn]
        require(len(left) <= 1, f"D3 {stream} {clock} {due} was breached {len(left)} times")
        accepted = first.get(stream.rpartition("/")[2])
        if clock == "response" and accepted is not None and accepted <= due:
            require(not left, f"D3 {stream}: answered at {accepted}, breached at {due}")
    resolved = {f.case for f in facts.stored["dispatch"] if isinstance(f.event, WorkOrderResolved)}
    for stream, _ in stopped:
        case = stream.rpartition("/")[2]
        require(case in resolved or case in first, f"D3 {stream} was stopped by nothing")


def _not_too_early(play: "Play", facts: "Facts") -> None:
    """Check that no breach was recorded of what the log had contradicted before it was due.

    A breach may be withdrawn later; recording it takes a read of the log past the due time, and
    so what was in the log by then, with an earlier time, was known.
    """
    if play.world.clock.set_back:
        return  # then the log's order is not that of the times
    written = play.world.written
    answered: dict[str, datetime] = {}
    for fact in facts.logged:
        if isinstance(fact.event, WorkOrderAccepted) and fact.live:
            at = max(written[facts.places[fact.envelope.id]], fact.envelope.time)
            answered[fact.case] = min(answered.get(fact.case, at), at)
    for fact in facts.stored["monitoring"]:
        event, _stream = fact.event, fact.envelope.subject
        if isinstance(event, ServiceLevelTargetBreached) and event.clock == "response":
            at = answered.get(fact.case)
            require(
                at is None or at >= event.due_at,
                f"D3 {fact.case}: due {event.due_at}, the log had the answer at {at}",
            )


def _capacity(facts: "Facts") -> None:
    """Check that no decision gave an agent more than they can hold, and matched none twice."""
    capacity: dict[str, int] = {}
    load: Counter[str] = Counter()
    for appended in facts.appended["dispatch"]:
        fact, before, after = appended.fact, appended.before, appended.after
        event, stream = fact.event, fact.envelope.subject
        if isinstance(event, AgentRegistered | AgentCapacityChanged):
            capacity[fact.case] = event.capacity
        if not isinstance(after, WorkOrder):
            continue
        previous, current = holder(before), holder(after)
        if previous == current:
            continue
        if previous is not None:
            load[previous] -= 1
        if current is not None:
            load[current] += 1
        if isinstance(event, WorkOrderAssignedToAgent | WorkOrderReassignedToAgent) and fact.live:
            agent = event.agent
            require(
                load[agent] <= capacity.get(agent, 0),
                f"D4 {agent} holds {load[agent]} of {capacity.get(agent)} after {stream}",
            )
