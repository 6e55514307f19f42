"""Any sequence of commands, facts of others and matching: the rules never break."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count

from hypothesis import given as any_of
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pydantic import TypeAdapter

from casebook.dispatch import reactions
from casebook.dispatch.domain import assignment, handling, matching, published
from casebook.dispatch.domain.families import WORK_ORDER
from casebook.dispatch.domain.work_order import OPEN, TAKEN, Status, WorkOrder, holder
from casebook.events.event import Event
from casebook.events.request import (
    RequestCancelled,
    RequestClassified,
    RequestPrioritised,
    RequestReopened,
    RequestSubmitted,
)
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderCancelled,
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
from casebook.kit.decider import Refused
from tests.unit.dispatch.given import NOON, At, fact, given, workload

EVENTS = st.sampled_from(
    [
        WorkOrderOpened(),
        WorkOrderAssignedToTeam(team="network", initial=True),
        WorkOrderReassignedToTeam(team="Group 70", reason="a"),
        WorkOrderReturnedToQueue(),
        WorkOrderRequirementChanged(skill="networking", skill_level=2),
        WorkOrderQueued(excluded={"at-capacity": 1}),
        WorkOrderAssignedToAgent(agent="Resolver 1"),
        WorkOrderReassignedToAgent(agent="李娜"),
        WorkOrderReleased(),
        WorkOrderAccepted(agent="Resolver 1"),
        WorkOrderStarted(),
        WorkOrderWaitingStarted(reason="customer", note="b"),
        WorkOrderWaitingEnded(),
        WorkOrderResumed(),
        WorkOrderResolved(code="c", summary="d"),
        WorkOrderResolutionAmended(),
        WorkOrderReopened(),
        WorkOrderCancelled(),
        WorkOrderNoted(note="e"),
        WorkOrderVendorInvolved(vendor="f"),
    ]
)
MOMENTS = st.integers(-4000, 400).map(lambda days: NOON + timedelta(days=days))
HISTORY = st.lists(
    st.builds(At, EVENTS, time=MOMENTS, origin=st.sampled_from(["live", "observed"])), max_size=30
)
STATES = TypeAdapter(WorkOrder)
AGENTS = ("chen.jie", "li.na", "wang.wei")
TEAMS = ("network", "security", "service-desk")
REASONS = ("customer", "supplier")


@any_of(HISTORY)
def test_any_history_folds_and_survives_storage(history: list[At]) -> None:
    order = given(*history)
    stored = STATES.dump_json(order)
    assert STATES.validate_json(stored) == order
    assert order.live == any(item.origin == "live" for item in history)


@any_of(HISTORY)
def test_observed_history_takes_up_nobody_and_is_not_matched(history: list[At]) -> None:
    order = given(*[At(item.event, item.time, "observed") for item in history])
    assert holder(order) is None
    assert not assignment.unassigned(order)


@any_of(HISTORY, EVENTS)
def test_a_rule_for_published_facts_accepts_or_refuses(
    history: list[At], event: WorkOrderEvent
) -> None:
    try:
        published.guard(given(*history), event)
    except Refused as refused:
        assert refused.code  # noqa: PT017 - either outcome is right; only another error is wrong


class WorkOrderMachine(RuleBasedStateMachine):
    """One live work order under every command and every fact of its request, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.order = WorkOrder()
        self.history: list[WorkOrderEvent] = []
        self._index = count()

    def run(self, command: Callable[[], list[WorkOrderEvent]]) -> None:
        try:
            events = command()
        except Refused as refused:
            assert refused.code == refused.code.lower()  # noqa: PT017 - nothing changes
            return
        for event in events:
            self._guard(event)
            each = fact(At(event), next(self._index))
            self.order = WORK_ORDER.evolve(self.order, each.event, each.envelope)
            self.history.append(event)

    def _guard(self, event: WorkOrderEvent) -> None:
        """Hold what commands do against what may be published."""
        cancelled_anew = isinstance(event, WorkOrderReopened) and (
            self.order.status is Status.CANCELLED  # only intake's word opens cancelled work
        )
        if not cancelled_anew:
            published.guard(self.order, event)

    def run_twice(self, command: Callable[[], list[WorkOrderEvent]]) -> None:
        self.run(command)
        before = self.order
        self.run(command)
        assert self.order == before

    def react(self, event: Event) -> None:
        cause = fact(event)
        for reaction in reactions.REACTIONS:
            if isinstance(event, reaction.on):
                self.run_twice(lambda decide=reaction.decide: decide(self.order, cause))

    @initialize()
    def submit(self) -> None:
        self.react(RequestSubmitted(number="REQ0000001", kind="incident", requester="a"))

    @rule(problem_type=st.sampled_from(["security-policy", "infrastructure-maintenance", "other"]))
    def classify(self, problem_type: str) -> None:
        self.react(RequestClassified(problem_type=problem_type))

    @rule()
    def prioritise(self) -> None:
        self.react(RequestPrioritised(impact=1, urgency=2, priority=2))

    @rule()
    def reopen(self) -> None:
        if self.order.status is Status.RESOLVED:
            self.react(RequestReopened())

    @rule()
    def cancel(self) -> None:
        self.react(RequestCancelled())

    @rule(capacity=st.integers(1, 3), available=st.booleans())
    def match(self, capacity: int, available: bool) -> None:
        team = self.order.team or "none"
        crew = [
            workload(agent, team=team, capacity=capacity, open_items=index, available=available)
            for index, agent in enumerate(AGENTS)
        ]
        choice = matching.choose(self.order, crew)
        if choice.agent is None:
            excluded = choice.explanation.excluded
            self.run_twice(lambda: assignment.queue(self.order, excluded=excluded))
        else:
            self.run_twice(
                lambda: assignment.assign(
                    self.order, agent=choice.agent or "", explanation=choice.explanation
                )
            )

    @rule(agent=st.sampled_from(AGENTS))
    def accept(self, agent: str) -> None:
        self.run_twice(lambda: handling.accept(self.order, agent=agent))

    @rule()
    def start(self) -> None:
        self.run_twice(lambda: handling.start(self.order))

    @rule(reason=st.sampled_from(REASONS))
    def wait(self, reason: str) -> None:
        self.run_twice(lambda: handling.wait(self.order, reason=reason))

    @rule()
    def resume(self) -> None:
        self.run_twice(lambda: handling.resume(self.order))

    @rule()
    def resolve(self) -> None:
        self.run_twice(lambda: handling.resolve(self.order, code="fixed"))

    @rule(agent=st.sampled_from(AGENTS))
    def reassign_to_agent(self, agent: str) -> None:
        self.run_twice(lambda: assignment.reassign_to_agent(self.order, agent=agent, reason="a"))

    @rule(team=st.sampled_from(TEAMS))
    def reassign_to_team(self, team: str) -> None:
        self.run_twice(lambda: assignment.reassign_to_team(self.order, team=team, reason="a"))

    @rule()
    def release(self) -> None:
        self.run_twice(lambda: assignment.release(self.order))

    @rule()
    def note(self) -> None:
        before = self.order
        self.run(lambda: handling.note(self.order, text="a"))
        assert self.order == before

    @invariant()
    def status_and_agent_agree(self) -> None:
        order = self.order
        assert (order.status is Status.QUEUED) <= (order.agent is None)
        assert (order.status in TAKEN | {Status.ASSIGNED}) <= (order.agent is not None)
        assert (order.status in TAKEN) <= (order.accepted_at is not None)
        assert (order.status is Status.WAITING) == (order.waiting_reason is not None)
        assert (order.status is Status.RESOLVED) == (order.resolved_at is not None)
        assert (order.agent is not None) <= (order.team is not None)

    @invariant()
    def work_takes_up_its_agent_while_it_is_open(self) -> None:
        order = self.order
        assert holder(order) == (order.agent if order.status in OPEN else None)

    @invariant()
    def every_wait_ends(self) -> None:
        begun = sum(isinstance(event, WorkOrderWaitingStarted) for event in self.history)
        ended = sum(isinstance(event, WorkOrderWaitingEnded) for event in self.history)
        assert begun - ended == (self.order.status is Status.WAITING)

    @invariant()
    def one_team_is_the_first(self) -> None:
        firsts = [e for e in self.history if isinstance(e, WorkOrderAssignedToTeam) and e.initial]
        assert len(firsts) == self.order.had_team

    @invariant()
    def a_cancelled_work_order_was_not_resolved_at_that_moment(self) -> None:
        for before, event in zip([None, *self.history], self.history, strict=False):
            if isinstance(event, WorkOrderCancelled):
                assert not isinstance(before, WorkOrderResolved)


TestWorkOrderMachine = WorkOrderMachine.TestCase
TestWorkOrderMachine.settings = settings(max_examples=60, stateful_step_count=40)
