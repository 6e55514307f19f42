"""Any sequence of commands, facts of others and deadlines: the rules never break."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count

from hypothesis import given as any_of
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pydantic import TypeAdapter

from casebook.events.request import (
    RequestCancelled,
    RequestClassified,
    RequestClosed,
    RequestClosureAnnounced,
    RequestCommented,
    RequestConfigurationItemLinked,
    RequestEvent,
    RequestInternallyCommented,
    RequestPrioritised,
    RequestPriorityConfirmed,
    RequestReclassified,
    RequestReopened,
    RequestReprioritised,
    RequestResolutionConfirmed,
    RequestResolutionProposed,
    RequestSubmitted,
)
from casebook.intake.domain import closure, lifecycle, published
from casebook.intake.domain.classification import PROBLEM_TYPES
from casebook.intake.domain.families import REQUEST
from casebook.intake.domain.request import Classification, Request, Status
from casebook.kit.decider import Refused
from tests.unit.intake.given import NOON, At, fact, given

LEVELS = st.integers(0, 4)
EVENTS = st.sampled_from(
    [
        RequestSubmitted(number="INC1", kind="incident", requester="caller 1"),
        RequestClassified(problem_type="other"),
        RequestReclassified(problem_type="Mail 邮件", category="x"),
        RequestPrioritised(impact=1, urgency=1, priority=1),
        RequestPrioritised(),
        RequestReprioritised(impact=3, urgency=1, priority=4),
        RequestPriorityConfirmed(),
        RequestCommented(body="a"),
        RequestInternallyCommented(body="b"),
        RequestResolutionProposed(resolved_at=NOON),
        RequestResolutionConfirmed(),
        RequestClosureAnnounced(closes_at=NOON + timedelta(days=5)),
        RequestClosed(basis="observed"),
        RequestClosed(basis="confirmed"),
        RequestReopened(reason="c"),
        RequestCancelled(),
        RequestConfigurationItemLinked(configuration_item="srv-1"),
    ]
)
MOMENTS = st.integers(-4000, 400).map(lambda days: NOON + timedelta(days=days))
HISTORY = st.lists(
    st.builds(At, EVENTS, time=MOMENTS, origin=st.sampled_from(["live", "observed"])), max_size=30
)
STATES = TypeAdapter(Request)


@any_of(HISTORY)
def test_any_history_folds_and_survives_storage(history: list[At]) -> None:
    request = given(*history)
    stored = STATES.dump_json(request)
    assert STATES.validate_json(stored) == request
    assert request.live == any(item.origin == "live" for item in history)


@any_of(HISTORY, EVENTS)
def test_a_rule_for_published_facts_accepts_or_refuses(
    history: list[At], event: RequestEvent
) -> None:
    request = given(*history)
    try:
        published.guard(request, event)
    except Refused as refused:
        assert refused.code  # noqa: PT017 - either outcome is right; only another error is wrong


class RequestMachine(RuleBasedStateMachine):
    """One live request under every command, in any order, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.request = Request()
        self.now = NOON
        self.history: list[RequestEvent] = []
        self._index = count()

    def run(self, command: Callable[[], list[RequestEvent]]) -> None:
        try:
            events = command()
        except Refused as refused:
            assert refused.code == refused.code.lower()  # noqa: PT017 - a refusal changes nothing
            return
        for event in events:
            if not isinstance(event, RequestSubmitted):  # its own rule: the id is new
                published.guard(self.request, event)
            each = fact(At(event, time=self.now), next(self._index))
            self.request = REQUEST.evolve(self.request, each.event, each.envelope)
            self.history.append(event)

    def run_twice(self, command: Callable[[], list[RequestEvent]]) -> None:
        self.run(command)
        before = self.request
        self.run(command)
        assert self.request == before

    @initialize(impact=LEVELS, urgency=LEVELS)
    def submit(self, impact: int, urgency: int) -> None:
        self.run(
            lambda: lifecycle.submit(
                self.request,
                number="REQ0000001",
                kind="incident",
                requester="wang.fang",
                impact=impact or None,
                urgency=urgency or None,
            )
        )

    @rule(problem_type=st.sampled_from([*PROBLEM_TYPES, "weather"]), category=st.text(min_size=1))
    def classify(self, problem_type: str, category: str) -> None:
        if not category.isprintable() or not category.strip():
            category = "mail"
        wanted = Classification(problem_type, category)
        self.run_twice(lambda: lifecycle.classify(self.request, classification=wanted))

    @rule(impact=LEVELS, urgency=LEVELS)
    def prioritise(self, impact: int, urgency: int) -> None:
        self.run_twice(lambda: lifecycle.prioritise(self.request, impact=impact, urgency=urgency))

    @rule()
    def comment(self) -> None:
        self.run(lambda: lifecycle.comment(self.request, body="a"))
        self.run(lambda: lifecycle.comment_internally(self.request, body="b"))

    @rule(amended=st.booleans())
    def propose(self, amended: bool) -> None:
        moment = self.now
        self.run_twice(
            lambda: lifecycle.propose_resolution(self.request, resolved_at=moment, amended=amended)
        )

    @rule()
    def confirm(self) -> None:
        self.run_twice(lambda: lifecycle.confirm(self.request))

    @rule()
    def reopen(self) -> None:
        self.run_twice(lambda: lifecycle.reopen(self.request, reason=None, now=self.now))

    @rule()
    def cancel(self) -> None:
        self.run_twice(lambda: lifecycle.cancel(self.request, reason=None))

    @rule()
    def close_directly(self) -> None:
        self.run_twice(lambda: lifecycle.close_directly(self.request, reason="d"))

    @rule(hours=st.integers(1, 200))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)
        for _ in range(3):
            for kind, due in closure.deadlines(self.request).items():
                if due <= self.now:
                    wanted = self.request
                    self.run(
                        lambda k=kind, d=due: closure.on_deadline(self.request, k, d, self.now)
                    )
                    assert self.request != wanted
                    assert closure.deadlines(self.request).get(kind) != due

    @invariant()
    def status_and_moments_agree(self) -> None:
        request = self.request
        assert (request.status is Status.RESOLVED) <= (request.proposed_at is not None)
        assert (request.status is Status.CLOSED) == (request.closed_at is not None)
        assert (request.status is Status.CANCELLED) == (request.cancelled_at is not None)
        assert bool(closure.deadlines(request)) == (request.status is Status.RESOLVED)

    @invariant()
    def every_closure_has_a_basis(self) -> None:
        for before, event in zip([None, *self.history], self.history, strict=False):
            if isinstance(event, RequestClosed) and event.basis == "confirmed":
                assert isinstance(before, RequestResolutionConfirmed)
        if self.request.closed_basis == "announced":
            assert any(isinstance(event, RequestClosureAnnounced) for event in self.history)

    @invariant()
    def the_priority_is_the_matrix(self) -> None:
        request = self.request
        if request.status is not Status.UNKNOWN:
            assert request.impact is not None
            assert request.urgency is not None
            total = request.impact + request.urgency
            assert request.priority == {2: 1, 3: 2, 4: 3}.get(total, 4)

    @invariant()
    def reopenings_are_counted(self) -> None:
        reopened = sum(isinstance(event, RequestReopened) for event in self.history)
        assert self.request.reopenings == reopened

    @invariant()
    def a_stored_state_is_the_same_state(self) -> None:
        assert STATES.validate_json(STATES.dump_json(self.request)) == replace(self.request)


TestRequestMachine = RequestMachine.TestCase
TestRequestMachine.settings = settings(max_examples=60, stateful_step_count=30)
