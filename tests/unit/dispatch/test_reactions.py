import pytest

from casebook.dispatch.domain.work_order import Status, WorkOrder, holder
from casebook.dispatch.reactions import (
    REACTIONS,
    cancel_work_order,
    open_work_order,
    reopen_work_order,
    route_work_order,
    triage_work_order,
)
from casebook.events.definitions import ROUTING
from casebook.events.request import (
    RequestCancelled,
    RequestClassified,
    RequestPrioritised,
    RequestReclassified,
    RequestReopened,
    RequestSubmitted,
)
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderCancelled,
    WorkOrderOpened,
    WorkOrderReassignedToTeam,
    WorkOrderReleased,
    WorkOrderReopened,
    WorkOrderRequirementChanged,
    WorkOrderReturnedToQueue,
    WorkOrderWaitingEnded,
)
from tests.unit.dispatch.given import (
    ACCEPTED_ORDER,
    ASSIGNED_ORDER,
    CANCELLED_ORDER,
    OBSERVED_ORDER,
    QUEUED_ORDER,
    REQUEST_ID,
    RESOLVED_ORDER,
    TO_TEAM,
    UNROUTED_ORDER,
    WAITING_ORDER,
    fact,
    given,
    observed,
    then,
)

SUBMITTED = fact(RequestSubmitted(number="REQ0000001", kind="incident", requester="wang.fang"))
CLASSIFIED = fact(RequestClassified(problem_type="infrastructure-maintenance", category="network"))
RECLASSIFIED = fact(RequestReclassified(problem_type="security-policy"))
REOPENED = fact(RequestReopened(reason="又断网了"))
CANCELLED = fact(RequestCancelled())

FIRST_TEAM = WorkOrderAssignedToTeam(
    team="network", initial=True, routing=ROUTING.reference, skill="networking", skill_level=3
)


def test_a_submitted_request_opens_one_work_order() -> None:
    assert open_work_order(WorkOrder(), SUBMITTED) == [WorkOrderOpened()]
    assert open_work_order(UNROUTED_ORDER, SUBMITTED) == []


def test_every_reaction_writes_the_work_order_of_the_request() -> None:
    assert {reaction.target(SUBMITTED) for reaction in REACTIONS} == {f"work-order/{REQUEST_ID}"}


def test_a_classified_request_gets_its_team() -> None:
    assert route_work_order(UNROUTED_ORDER, CLASSIFIED) == [FIRST_TEAM]
    assert route_work_order(QUEUED_ORDER, CLASSIFIED) == []


def test_a_request_that_nobody_classified_goes_to_the_default_team() -> None:
    prioritised = fact(RequestPrioritised(impact=1, urgency=2, priority=2))
    assert triage_work_order(UNROUTED_ORDER, prioritised) == [
        WorkOrderAssignedToTeam(
            team="service-desk", initial=True, routing=ROUTING.reference, priority=2
        )
    ]
    for order in (QUEUED_ORDER, RESOLVED_ORDER, CANCELLED_ORDER, OBSERVED_ORDER, WorkOrder()):
        assert triage_work_order(order, prioritised) == []


def test_a_corrected_classification_moves_work_that_nobody_accepted() -> None:
    moved = WorkOrderReassignedToTeam(
        team="security", routing=ROUTING.reference, skill="security", skill_level=3
    )
    assert route_work_order(QUEUED_ORDER, RECLASSIFIED) == [moved]
    assert route_work_order(ASSIGNED_ORDER, RECLASSIFIED) == [WorkOrderReleased(), moved]
    order = then(ASSIGNED_ORDER, WorkOrderReleased(), moved)
    assert (order.status, order.team, order.skill) == (Status.QUEUED, "security", "security")


def test_a_correction_within_the_team_asks_for_its_skill_and_matches_again() -> None:
    """No group has changed, so no KPI counts one; but who has the work may not be able to do it."""
    server = fact(RequestReclassified(problem_type="infrastructure-maintenance", category="server"))
    required = WorkOrderRequirementChanged(
        routing=ROUTING.reference, skill="infrastructure", skill_level=2
    )
    routed = then(UNROUTED_ORDER, FIRST_TEAM)
    assert route_work_order(routed, server) == [required]
    order = then(routed, required)
    assert (order.team, order.skill, order.skill_level) == ("network", "infrastructure", 2)
    assert order.excluded is None
    assert route_work_order(order, server) == []
    assigned = then(routed, WorkOrderAssignedToAgent(agent="li.na"))
    assert route_work_order(assigned, server) == [WorkOrderReleased(), required]
    accepted = then(assigned, WorkOrderAccepted(agent="li.na"))
    assert route_work_order(accepted, server) == []
    by_hand = then(QUEUED_ORDER, WorkOrderReassignedToTeam(team="network", reason="a"))
    assert route_work_order(by_hand, server) == []


@pytest.mark.parametrize(
    "order",
    [ACCEPTED_ORDER, WAITING_ORDER, RESOLVED_ORDER, CANCELLED_ORDER, OBSERVED_ORDER, WorkOrder()],
)
def test_other_work_stays_where_it_is(order: WorkOrder) -> None:
    assert route_work_order(order, RECLASSIFIED) == []


def test_a_reopened_request_frees_its_agent_and_keeps_its_team() -> None:
    events = reopen_work_order(RESOLVED_ORDER, REOPENED)
    assert events == [WorkOrderReopened(), WorkOrderReleased()]
    order = then(RESOLVED_ORDER, *events)
    assert (order.status, order.team, order.agent) == (Status.QUEUED, "network", None)
    assert (order.resolved_at, order.resolution_code) == (None, None)
    assert reopen_work_order(order, REOPENED) == []


def test_observed_history_that_is_reopened_becomes_live() -> None:
    assert holder(OBSERVED_ORDER) is None
    order = then(OBSERVED_ORDER, *reopen_work_order(OBSERVED_ORDER, REOPENED))
    assert order.live
    assert (order.status, order.team, order.agent) == (Status.QUEUED, "network", None)


def test_reopened_work_without_a_team_gets_the_default_one() -> None:
    default = WorkOrderAssignedToTeam(team="service-desk", initial=True, routing=ROUTING.reference)
    never = given(observed(WorkOrderOpened()))
    assert reopen_work_order(never, REOPENED) == [WorkOrderReopened(), default]
    assert reopen_work_order(WorkOrder(), REOPENED) == [WorkOrderOpened(), default]
    lost = then(OBSERVED_ORDER, observed(WorkOrderReturnedToQueue()))
    again = default.model_copy(update={"initial": False, "priority": TO_TEAM.priority})
    assert reopen_work_order(lost, REOPENED)[-1] == again


def test_a_cancelled_request_stops_its_work() -> None:
    assert cancel_work_order(WAITING_ORDER, CANCELLED) == [
        WorkOrderWaitingEnded(),
        WorkOrderCancelled(),
    ]
    assert cancel_work_order(RESOLVED_ORDER, CANCELLED) == []
    assert holder(then(WAITING_ORDER, WorkOrderCancelled())) is None
