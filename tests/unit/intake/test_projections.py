from datetime import timedelta
from typing import Any

import pytest

from casebook.events.catalog import EVENTS, FAMILIES
from casebook.events.event import Event
from casebook.events.request import RequestCommented, SourceRegistered
from casebook.events.risk import RiskClosed
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderCancelled,
    WorkOrderNoted,
    WorkOrderOpened,
    WorkOrderQueued,
    WorkOrderReassignedToAgent,
    WorkOrderReleased,
    WorkOrderReopened,
    WorkOrderResolved,
    WorkOrderResumed,
    WorkOrderReturnedToQueue,
    WorkOrderStarted,
    WorkOrderWaitingEnded,
    WorkOrderWaitingStarted,
)
from casebook.intake.projections.timeline import Timeline
from casebook.intake.projections.work import STATUSES, Work
from tests.unit.intake.given import NOON, REQUEST_ID, At, fact

OPENED = WorkOrderOpened()
TEAM = WorkOrderAssignedToTeam(team="mail", initial=True)
AGENT = WorkOrderAssignedToAgent(agent="li.na")
ACCEPTED = WorkOrderAccepted(agent="li.na")
WAITING = WorkOrderWaitingStarted(reason="customer")


def work(*events: Event) -> dict[str, Any]:
    row: dict[str, Any] | None = None
    for index, event in enumerate(events):
        row = Work().fold(row, fact(event, index))
    assert row is not None
    assert set(row) == {column.name for column in Work.table.columns}
    assert row["status"] in STATUSES
    return row


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([OPENED], {"status": "queued", "team": None, "agent": None}),
        ([OPENED, TEAM, WorkOrderQueued(excluded={"full": 3})], {"status": "queued"}),
        ([OPENED, TEAM, AGENT], {"status": "assigned", "team": "mail", "agent": "li.na"}),
        ([OPENED, TEAM, WorkOrderReturnedToQueue()], {"team": None}),
        ([TEAM, AGENT, WorkOrderReleased()], {"agent": None}),
        ([AGENT, ACCEPTED], {"status": "accepted"}),
        ([AGENT, ACCEPTED, WorkOrderStarted()], {"status": "in-progress"}),
        (
            [WorkOrderStarted(), WorkOrderReassignedToAgent(agent="zhao.min")],
            {"status": "in-progress", "agent": "zhao.min"},
        ),
        ([WorkOrderStarted(), WAITING], {"status": "waiting", "waiting_reason": "customer"}),
        ([WAITING, WorkOrderWaitingEnded()], {"status": "in-progress", "waiting_reason": None}),
        ([WAITING, WorkOrderResumed()], {"status": "in-progress", "waiting_reason": None}),
        ([WAITING, WorkOrderResolved()], {"status": "resolved", "waiting_reason": None}),
        (
            [TEAM, AGENT, WorkOrderResolved(), WorkOrderReopened()],
            {"status": "assigned", "team": "mail", "agent": "li.na"},
        ),
        ([WorkOrderResolved(), WorkOrderReopened()], {"status": "queued"}),
        ([OPENED, WorkOrderCancelled()], {"status": "cancelled"}),
        ([ACCEPTED, WorkOrderNoted(note="试过重启")], {"status": "accepted"}),
    ],
)
def test_the_work_of_a_request_is_where_its_facts_say(
    events: list[Event], expected: dict[str, Any]
) -> None:
    row = work(*events)
    assert {name: row[name] for name in expected} == expected


def test_every_fact_about_a_request_is_in_its_timeline() -> None:
    about_requests = {
        event for family in FAMILIES.values() if family.keyed_by_request for event in family.events
    }
    assert about_requests <= set(Timeline.handles) <= set(EVENTS.values())
    assert SourceRegistered not in Timeline.handles
    assert RiskClosed not in Timeline.handles


def test_the_timeline_keeps_the_order_of_the_log_and_the_sealed_text() -> None:
    each = fact(At(RequestCommented(body="已经好了吗？"), time=NOON + timedelta(hours=1)), 7)
    timeline = Timeline()
    row = timeline.fold(None, each)
    assert row is not None
    assert timeline.key(each) == row["id"] == each.envelope.id
    assert set(row) == {column.name for column in timeline.table.columns}
    assert row["request"] == str(REQUEST_ID)
    assert row["position"] == each.offset
    assert row["audience"] == "customer"
    assert row["data"] == {"body": {"key": "key", "ciphertext": "sealed-7-body"}}
