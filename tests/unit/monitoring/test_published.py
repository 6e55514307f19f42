"""What other systems may say about service levels."""

from typing import Any

import pytest

from casebook.events.service_level import (
    ServiceLevelClockPaused,
    ServiceLevelClockResumed,
    ServiceLevelClockRetargeted,
    ServiceLevelClockStopped,
    ServiceLevelOpened,
    ServiceLevelSourceResultRecorded,
    ServiceLevelTargetWarned,
)
from casebook.events.values import DefinitionReference
from casebook.kit.decider import Refused
from casebook.monitoring.domain.service_level import SERVICE_LEVEL, guard
from tests.unit.monitoring.given import (
    START,
    Clocks,
    at,
    fact,
    running,
)

MET = ServiceLevelSourceResultRecorded(result="met")


def test_a_source_says_what_became_of_its_own_service_level() -> None:
    guard(SERVICE_LEVEL.initial, MET)
    told = fact(MET, START, origin="observed")
    state = SERVICE_LEVEL.evolve(SERVICE_LEVEL.initial, told.event, told.envelope)
    assert (state.source_result, state.origin) == ("met", "observed")
    assert SERVICE_LEVEL.deadlines(state) == {}


@pytest.mark.parametrize(
    ("before", "event", "code"),
    [
        (None, ServiceLevelSourceResultRecorded(result="perhaps"), "source-result-unknown"),
        (MET, MET, "source-result-recorded"),
        (None, ServiceLevelOpened(), "service-level-not-publishable"),
        (
            None,
            ServiceLevelClockStopped(clock="response", elapsed_seconds=1, met=True),
            "service-level-not-publishable",
        ),
    ],
)
def test_what_contradicts_is_refused(before: Any, event: Any, code: str) -> None:
    state = SERVICE_LEVEL.initial
    if before is not None:
        state = SERVICE_LEVEL.evolve(state, before, fact(before, START).envelope)
    with pytest.raises(Refused) as refusal:
        guard(state, event)
    assert refusal.value.code == code


def test_the_clocks_of_another_system_do_not_become_ours() -> None:
    opened = fact(ServiceLevelOpened(), START, origin="observed")
    state = SERVICE_LEVEL.evolve(SERVICE_LEVEL.initial, opened.event, opened.envelope)
    assert state == SERVICE_LEVEL.initial


def test_a_clock_of_later_days_changes_nothing() -> None:
    clocks = running()
    for event in (
        ServiceLevelClockPaused(clock="update", elapsed_seconds=1),
        ServiceLevelClockResumed(clock="update", elapsed_seconds=1),
        ServiceLevelTargetWarned(clock="update", due_at=at(1), fired_at=at(1)),
    ):
        before = clocks.state
        clocks.append([event], at(1), at(1))
        assert clocks.state == before


def test_a_target_before_any_opening_starts_nothing() -> None:
    event = ServiceLevelClockRetargeted(
        clock="response",
        priority=1,
        target_seconds=900,
        elapsed_seconds=0,
        policy=DefinitionReference(id="service-levels", version=1),
    )
    clocks = Clocks()
    clocks.append([event], at(0), at(0))
    assert SERVICE_LEVEL.deadlines(clocks.state) == {}
