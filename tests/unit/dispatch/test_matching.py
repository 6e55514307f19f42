from dataclasses import replace
from datetime import timedelta

from hypothesis import given as any_of
from hypothesis import strategies as st

from casebook.dispatch.domain.assignment import assign, queue
from casebook.dispatch.domain.matching import CANDIDATES_MAX, Workload, choose, recompute
from casebook.dispatch.domain.work_order import Status
from casebook.events.definitions import MATCHING
from casebook.events.work_order import (
    AssignmentExplanation,
    WorkOrderAssignedToAgent,
    WorkOrderQueued,
)
from tests.unit.dispatch.given import (
    ACCEPTED_ORDER,
    ASSIGNED_ORDER,
    CANCELLED_ORDER,
    NOON,
    OBSERVED_ORDER,
    QUEUED_ORDER,
    RESOLVED_ORDER,
    UNROUTED_ORDER,
    then,
    workload,
)

HOUR = timedelta(hours=1)


def chosen(*agents: Workload) -> str | None:
    return choose(QUEUED_ORDER, agents).agent


def test_the_least_loaded_by_capacity_is_chosen() -> None:
    busy = workload("busy", open_items=1, capacity=3)
    less = workload("less", open_items=2, capacity=7)
    assert chosen(busy, less) == "less"


def test_loads_that_thousandths_cannot_tell_apart_are_told_apart() -> None:
    third = workload("a", open_items=333, capacity=1000)
    more = workload("b", open_items=1, capacity=3)
    assert chosen(more, third) == "a"
    assert chosen(workload("c", open_items=2, capacity=6), more) == "b"


def test_then_the_least_over_qualified() -> None:
    assert chosen(workload("expert", level=5), workload("fit", level=3)) == "fit"


def test_then_the_longest_without_an_assignment() -> None:
    early = workload("b", last_assigned=NOON - HOUR)
    assert chosen(workload("a", last_assigned=NOON), early) == "b"
    assert chosen(early, workload("c")) == "c"


def test_at_last_the_id_decides() -> None:
    assert chosen(workload("b"), workload("a")) == "a"


def test_every_agent_who_cannot_is_counted_with_the_first_reason() -> None:
    choice = choose(
        QUEUED_ORDER,
        [
            workload("1", team="security", available=False),
            workload("2", available=False, level=1),
            replace(workload("3"), skills={"sql": 5}),
            workload("4", level=2, open_items=4),
            workload("5", open_items=4),
            workload("6", open_items=9, capacity=4),
        ],
    )
    assert choice.agent is None
    assert choice.explanation == AssignmentExplanation(
        policy=MATCHING.reference,
        considered=6,
        excluded={
            "at-capacity": 2,
            "other-team": 1,
            "skill-level": 1,
            "skill-missing": 1,
            "unavailable": 1,
        },
        candidates=(),
    )


def test_without_a_required_skill_anybody_in_the_team_will_do() -> None:
    order = replace(QUEUED_ORDER, skill=None, skill_level=None)
    expert = replace(workload("a", level=5), skills={})
    choice = choose(order, [expert, workload("b", level=1)])
    assert choice.agent == "a"
    assert [each.surplus_level for each in choice.explanation.candidates] == [0, 0]


def test_the_explanation_holds_every_term_of_the_choice() -> None:
    choice = choose(
        QUEUED_ORDER, [workload("a", open_items=1, capacity=3, level=4, last_assigned=NOON)]
    )
    [candidate] = choice.explanation.candidates
    assert candidate.model_dump() == {
        "agent": "a",
        "open_items": 1,
        "capacity": 3,
        "load_thousandths": 333,
        "surplus_level": 1,
        "last_assigned": "2026-03-02T12:00:00.000000Z",
    }


WORKLOADS = st.lists(
    st.builds(
        workload,
        st.text("abcdef", min_size=1, max_size=4),
        team=st.sampled_from(["network", "network", "network", "security"]),
        capacity=st.integers(1, 8),
        available=st.booleans(),
        open_items=st.integers(0, 9),
        level=st.integers(1, 5),
        last_assigned=st.none() | st.integers(0, 50).map(lambda hours: NOON - hours * HOUR),
    ),
    max_size=20,
    unique_by=lambda agent: agent.agent,
)


@any_of(WORKLOADS, st.randoms(use_true_random=False))
def test_the_choice_follows_from_the_event_alone(agents: list[Workload], random: object) -> None:
    choice = choose(QUEUED_ORDER, agents)
    stored = choice.explanation.model_dump_json()
    assert recompute(AssignmentExplanation.model_validate_json(stored)) == choice.agent
    assert choose(QUEUED_ORDER, reversed(agents)) == choice
    able = [
        agent
        for agent in agents
        if agent.team == "network"
        and agent.available
        and agent.skills["networking"] >= 3
        and agent.open_items < agent.capacity
    ]
    assert (choice.agent is None) == (not able)
    assert choice.agent in {agent.agent for agent in able} | {None}
    assert len(choice.explanation.candidates) == min(len(able), CANDIDATES_MAX)
    assert choice.explanation.considered == len(agents)
    assert sum(choice.explanation.excluded.values()) == len(agents) - len(able)


def test_a_choice_assigns_queued_work_once() -> None:
    choice = choose(QUEUED_ORDER, [workload()])
    assert choice.agent == "li.na"
    [event] = assign(QUEUED_ORDER, agent="li.na", explanation=choice.explanation)
    assert event == WorkOrderAssignedToAgent(agent="li.na", explanation=choice.explanation)
    order = then(QUEUED_ORDER, event)
    assert (order.status, order.agent) == (Status.ASSIGNED, "li.na")
    assert order.explanation == choice.explanation
    assert assign(order, agent="li.na", explanation=choice.explanation) == []


def test_only_queued_live_work_with_a_team_is_matched() -> None:
    explanation = choose(QUEUED_ORDER, [workload()]).explanation
    for order in (
        UNROUTED_ORDER,
        ASSIGNED_ORDER,
        ACCEPTED_ORDER,
        RESOLVED_ORDER,
        CANCELLED_ORDER,
        OBSERVED_ORDER,
    ):
        assert assign(order, agent="li.na", explanation=explanation) == []
        assert queue(order, excluded={}) == []


def test_why_nobody_could_take_it_is_said_once() -> None:
    events = queue(QUEUED_ORDER, excluded={"at-capacity": 2})
    assert events == [WorkOrderQueued(excluded={"at-capacity": 2})]
    order = then(QUEUED_ORDER, *events)
    assert queue(order, excluded={"at-capacity": 2}) == []
    assert queue(order, excluded={"at-capacity": 1}) != []


def test_a_team_without_agents_leaves_work_queued() -> None:
    assert queue(QUEUED_ORDER, excluded={}) == [WorkOrderQueued(excluded={})]
    assert queue(then(QUEUED_ORDER, WorkOrderQueued(excluded={})), excluded={}) == []
