from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import given as any_of
from hypothesis import strategies as st

from casebook.dispatch.projections.team_queue import TeamQueue
from casebook.events.event import Event
from casebook.events.request import (
    RequestCancelled,
    RequestClassified,
    RequestClosed,
    RequestPrioritised,
    RequestReclassified,
    RequestReopened,
    RequestReprioritised,
    RequestSubmitted,
)
from casebook.events.work_order import (
    WorkOrderNoted,
    WorkOrderQueued,
    WorkOrderReassignedToTeam,
    WorkOrderReleased,
    WorkOrderResumed,
    WorkOrderWaitingEnded,
)
from tests.unit.dispatch.given import (
    ACCEPTED,
    NOON,
    OPENED,
    REQUEST_ID,
    RESOLVED,
    STARTED,
    TO_AGENT,
    TO_TEAM,
    WAITING,
    At,
    fact,
    given,
    observed,
)

QUEUE = TeamQueue()
SUBMITTED = RequestSubmitted(
    number="REQ0000001", kind="incident", requester="wang.fang", service="mail"
)
REQUEST: list[Event] = [
    SUBMITTED,
    RequestClassified(problem_type="security-policy", category="a"),
    RequestPrioritised(impact=1, urgency=2, priority=2),
]
WORK = [
    OPENED,
    TO_TEAM,
    TO_AGENT,
    ACCEPTED,
    STARTED,
    WAITING,
    WorkOrderWaitingEnded(),
    WorkOrderResumed(),
    WorkOrderReleased(),
    WorkOrderReassignedToTeam(team="b"),
    RESOLVED,
]


def row(*items: Event | At) -> dict[str, Any]:
    """Return the row that these facts make."""
    state: dict[str, Any] | None = None
    for index, item in enumerate(items):
        state = QUEUE.fold(state, fact(item, index))
    assert state is not None
    assert list(state) == [column.name for column in QUEUE.table.columns]
    return state


def test_a_row_joins_the_request_and_its_work() -> None:
    assert row(*REQUEST, OPENED, TO_TEAM, TO_AGENT) == {
        "key": UUID(str(REQUEST_ID)),
        "number": "REQ0000001",
        "kind": "incident",
        "service": "mail",
        "submitted_at": NOON,
        "priority": 2,
        "problem_type": "security-policy",
        "category": "a",
        "status": "assigned",
        "team": "network",
        "agent": "li.na",
        "waiting_reason": None,
        "accepted_at": None,
        "started_at": None,
        "status_since": NOON,
        "origin": "live",
        "closed_at": None,
    }


def test_corrections_replace_what_was_known() -> None:
    changed = row(
        *REQUEST,
        RequestReclassified(problem_type="other"),
        RequestReprioritised(impact=3, urgency=3, priority=4),
    )
    assert (changed["problem_type"], changed["category"], changed["priority"]) == ("other", None, 4)


def test_a_status_is_as_old_as_its_last_change() -> None:
    later = At(TO_AGENT, NOON + timedelta(hours=1))
    noted = At(WAITING, NOON + timedelta(hours=2))
    assert row(OPENED, TO_TEAM, later)["status_since"] == NOON + timedelta(hours=1)
    assert row(OPENED, TO_TEAM, later, ACCEPTED, STARTED, noted)["waiting_reason"] == "customer"


def test_closed_and_reopened_requests_leave_and_join_the_queue() -> None:
    closed = row(*REQUEST, OPENED, TO_TEAM, RESOLVED, RequestClosed(basis="confirmed"))
    assert (closed["status"], closed["closed_at"]) == ("resolved", NOON)
    live = row(OPENED, TO_TEAM, RESOLVED, RequestClosed(basis="confirmed"), RequestReopened())
    assert (live["status"], live["closed_at"]) == ("resolved", None)


def test_an_observed_reopening_opens_the_work() -> None:
    history = [observed(item) for item in (TO_TEAM, TO_AGENT, RESOLVED, RequestReopened())]
    again = row(*history)
    assert (again["status"], again["origin"]) == ("assigned", "observed")
    assert row(*history, observed(STARTED), observed(RequestReopened()))["status"] == "in-progress"


def test_facts_that_no_row_shows_are_not_handled() -> None:
    for event in (RequestCancelled(), WorkOrderQueued(excluded={}), WorkOrderNoted(note="a")):
        assert not isinstance(event, QUEUE.handles)


def test_work_whose_wait_ends_goes_on_where_it_was() -> None:
    work = (OPENED, TO_TEAM, TO_AGENT, ACCEPTED)
    assert row(*work, WAITING, WorkOrderWaitingEnded())["status"] == "accepted"
    assert row(*work, STARTED, WAITING, WorkOrderWaitingEnded())["status"] == "in-progress"


@any_of(
    st.lists(
        st.builds(At, st.sampled_from(WORK), origin=st.sampled_from(["live", "observed"])),
        min_size=1,
        max_size=20,
    )
)
def test_the_work_stands_in_the_queue_as_in_its_own_stream(history: list[At]) -> None:
    order, shown = given(*history), row(*history)
    assert (shown["status"], shown["team"], shown["agent"], shown["waiting_reason"]) == (
        order.status.value,
        order.team,
        order.agent,
        order.waiting_reason,
    )
    assert shown["origin"] == order.origin
