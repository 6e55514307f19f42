from casebook.dispatch.domain.assignment import reassign_to_agent, reassign_to_team, release
from casebook.dispatch.domain.work_order import Status, WorkOrder
from casebook.events.work_order import (
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderReassignedToAgent,
    WorkOrderReassignedToTeam,
    WorkOrderReleased,
    WorkOrderReturnedToQueue,
    WorkOrderWaitingEnded,
)
from tests.unit.dispatch.given import (
    ACCEPTED_ORDER,
    ASSIGNED_ORDER,
    CANCELLED_ORDER,
    OBSERVED_ORDER,
    QUEUED_ORDER,
    RESOLVED_ORDER,
    STARTED_ORDER,
    UNROUTED_ORDER,
    WAITING_ORDER,
    refusal,
    then,
)


def test_a_lead_names_the_agent_of_queued_work() -> None:
    assert reassign_to_agent(QUEUED_ORDER, agent="wang.wei", reason="熟悉该客户") == [
        WorkOrderAssignedToAgent(agent="wang.wei", reason="熟悉该客户")
    ]


def test_the_new_agent_has_to_accept() -> None:
    events = reassign_to_agent(STARTED_ORDER, agent="wang.wei", reason="休假")
    assert events == [WorkOrderReassignedToAgent(agent="wang.wei", reason="休假")]
    order = then(STARTED_ORDER, *events)
    assert (order.status, order.agent, order.accepted_at) == (Status.ASSIGNED, "wang.wei", None)


def test_a_wait_ends_when_the_agent_changes() -> None:
    events = reassign_to_agent(WAITING_ORDER, agent="wang.wei", reason="a")
    assert events[0] == WorkOrderWaitingEnded()
    assert then(WAITING_ORDER, *events).waiting_reason is None


def test_the_same_agent_again_adds_nothing() -> None:
    assert reassign_to_agent(WAITING_ORDER, agent="li.na", reason="a") == []


def test_another_team_gets_the_work_without_its_agent_and_skill() -> None:
    events = reassign_to_team(ACCEPTED_ORDER, team="security", reason="疑似攻击")
    assert events == [
        WorkOrderReleased(),
        WorkOrderReassignedToTeam(team="security", reason="疑似攻击"),
    ]
    order = then(ACCEPTED_ORDER, *events)
    assert (order.status, order.team, order.agent) == (Status.QUEUED, "security", None)
    assert (order.skill, order.skill_level) == (None, None)


def test_work_without_a_team_gets_its_first() -> None:
    assert reassign_to_team(UNROUTED_ORDER, team="security", reason="a") == [
        WorkOrderAssignedToTeam(team="security", initial=True, reason="a")
    ]
    lost = then(QUEUED_ORDER, WorkOrderReturnedToQueue())
    assert reassign_to_team(lost, team="security", reason="a") == [
        WorkOrderAssignedToTeam(team="security", initial=False, reason="a")
    ]


def test_the_same_team_again_adds_nothing() -> None:
    assert reassign_to_team(ASSIGNED_ORDER, team="network", reason="a") == []


def test_an_agent_gives_work_back() -> None:
    assert release(WAITING_ORDER) == [WorkOrderWaitingEnded(), WorkOrderReleased()]
    order = then(WAITING_ORDER, *release(WAITING_ORDER))
    assert (order.status, order.team, order.agent) == (Status.QUEUED, "network", None)


def test_a_second_release_adds_nothing() -> None:
    assert release(QUEUED_ORDER) == []


def test_only_open_work_of_ours_changes_hands() -> None:
    refused = {
        "work-order-unknown": WorkOrder(),
        "observed-history": OBSERVED_ORDER,
        "already-resolved": RESOLVED_ORDER,
        "work-order-cancelled": CANCELLED_ORDER,
    }
    for code, order in refused.items():
        assert refusal(lambda o=order: reassign_to_agent(o, agent="x", reason="a")) == code
        assert refusal(lambda o=order: reassign_to_team(o, team="x", reason="a")) == code
        assert refusal(lambda o=order: release(o)) == code
    assert refusal(lambda: reassign_to_agent(UNROUTED_ORDER, agent="x", reason="a")) == (
        "not-routed"
    )
