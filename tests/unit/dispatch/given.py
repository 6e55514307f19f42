"""Work orders, teams and agents as facts make them: what the unit tests of dispatch start from."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID, uuid5

import pytest

from casebook.dispatch.domain.agent import Agent
from casebook.dispatch.domain.families import AGENT, WORK_ORDER
from casebook.dispatch.domain.matching import Workload
from casebook.dispatch.domain.work_order import WorkOrder
from casebook.events.envelope import Envelope
from casebook.events.event import Event
from casebook.events.values import Sealed
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderCancelled,
    WorkOrderOpened,
    WorkOrderResolved,
    WorkOrderStarted,
    WorkOrderWaitingStarted,
)
from casebook.kit.decider import Fact, Refused, fold

REQUEST_ID = UUID("01890000-0000-7000-8000-000000000001")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

OPENED = WorkOrderOpened()
TO_TEAM = WorkOrderAssignedToTeam(
    team="network", initial=True, skill="networking", skill_level=3, priority=2
)
TO_AGENT = WorkOrderAssignedToAgent(agent="li.na")
ACCEPTED = WorkOrderAccepted(agent="li.na")
STARTED = WorkOrderStarted()
WAITING = WorkOrderWaitingStarted(reason="customer")
RESOLVED = WorkOrderResolved(code="fixed", summary="已更换交换机")
CANCELLED = WorkOrderCancelled()


@dataclass(frozen=True)
class At:
    """An event at another time, or of another origin, than the one before."""

    event: Event
    time: datetime = NOON
    origin: Literal["live", "observed"] = "live"


def observed(event: Event, time: datetime = NOON) -> At:
    return At(event, time, "observed")


def fact(item: Event | At, index: int = 0) -> Fact:
    """Return the event as the store would hand it over: with its text sealed."""
    at = item if isinstance(item, At) else At(item)
    texts = {
        name: Sealed(key="key", ciphertext=f"sealed-{index}-{name}")
        for name in at.event.secret_fields
        if getattr(at.event, name) is not None
    }
    event = at.event.model_copy(update=texts)
    return Fact(
        envelope=Envelope(
            id=uuid5(REQUEST_ID, str(index)),
            source="/casebook/dispatch",
            type=event.type,
            subject=f"{event.family}/{REQUEST_ID}",
            streamversion=index + 1,
            partitionkey=str(REQUEST_ID),
            time=at.time,
            recordedtime=at.time + timedelta(milliseconds=1),
            correlationid=str(REQUEST_ID),
            actor="li.na",
            origin=at.origin,
            audience=event.audience,
            data=event.payload(),
        ),
        event=event,
    )


def given(*items: Event | At) -> WorkOrder:
    """Return the work order that these facts make, in their order."""
    return fold(WORK_ORDER, [fact(item, index) for index, item in enumerate(items)])


def then(order: WorkOrder, *items: Event | At) -> WorkOrder:
    """Return ``order`` after more facts."""
    for index, item in enumerate(items, start=100):
        each = fact(item, index)
        order = WORK_ORDER.evolve(order, each.event, each.envelope)
    return order


def given_agent(*events: Event) -> Agent:
    """Return the agent that these facts make, in their order."""
    return fold(AGENT, [fact(event, index) for index, event in enumerate(events)])


def refusal(command: Callable[[], object]) -> str:
    """Return the code with which ``command`` is refused."""
    with pytest.raises(Refused) as refused:
        command()
    assert refused.value.detail
    return refused.value.code


def workload(
    agent: str = "li.na",
    *,
    team: str = "network",
    capacity: int = 4,
    available: bool = True,
    open_items: int = 0,
    level: int = 3,
    last_assigned: datetime | None = None,
) -> Workload:
    """Return an agent of the network team who can take the work of :data:`TO_TEAM`."""
    return Workload(
        agent=agent,
        team=team,
        capacity=capacity,
        available=available,
        open_items=open_items,
        skills={"networking": level},
        last_assigned=last_assigned,
    )


UNROUTED_ORDER = given(OPENED)
QUEUED_ORDER = given(OPENED, TO_TEAM)
ASSIGNED_ORDER = given(OPENED, TO_TEAM, TO_AGENT)
ACCEPTED_ORDER = given(OPENED, TO_TEAM, TO_AGENT, ACCEPTED)
STARTED_ORDER = given(OPENED, TO_TEAM, TO_AGENT, ACCEPTED, STARTED)
WAITING_ORDER = given(OPENED, TO_TEAM, TO_AGENT, ACCEPTED, STARTED, WAITING)
RESOLVED_ORDER = given(OPENED, TO_TEAM, TO_AGENT, ACCEPTED, STARTED, RESOLVED)
CANCELLED_ORDER = given(OPENED, TO_TEAM, TO_AGENT, CANCELLED)
OBSERVED_ORDER = given(observed(TO_TEAM), observed(TO_AGENT), observed(STARTED))
