"""The promises about a request, rule by rule: each adds its fact once, and nothing to nothing."""

from collections.abc import Callable

import pytest

from casebook.events.definitions import SERVICE_LEVELS
from casebook.events.service_level import (
    ServiceLevelClockStarted,
    ServiceLevelClockStopped,
    ServiceLevelEvent,
    ServiceLevelOpened,
    ServiceLevelTargetBreached,
)
from casebook.monitoring.domain import promises
from casebook.monitoring.domain.service_level import ServiceLevel
from tests.unit.monitoring.given import CUSTOMER, RESOLVED, SUBMITTED, at, first, given

Rule = Callable[..., list[ServiceLevelEvent]]
NOTHING = ServiceLevel()
OPENED = given((SUBMITTED, 0)).state
RUNNING = given((SUBMITTED, 0), (first(2), 0)).state
PAUSED = given((SUBMITTED, 0), (first(2), 0), (CUSTOMER, 0.1)).state
STOPPED = given((SUBMITTED, 0), (first(2), 0), (RESOLVED, 0.2)).state


def test_a_request_is_counted_once() -> None:
    assert promises.open_promises(NOTHING, service="mail") == [ServiceLevelOpened(service="mail")]
    assert promises.open_promises(OPENED, service="mail") == []


@pytest.mark.parametrize("priority", [1, 2, 3, 4])
def test_the_first_priority_promises_what_the_definition_says(priority: int) -> None:
    started = promises.follow_priority(OPENED, priority=priority, at=at(0), seen_at=at(0))
    targets = SERVICE_LEVELS.body
    found: list[tuple[str, int, int]] = []
    for event in started:
        assert isinstance(event, ServiceLevelClockStarted)
        assert event.policy == SERVICE_LEVELS.reference
        found.append((event.clock, event.priority, event.target_seconds))
    assert found == [
        ("response", priority, targets.response_seconds[priority - 1]),
        ("resolution", priority, targets.resolution_seconds[priority - 1]),
    ]
    assert promises.follow_priority(RUNNING, priority=2, at=at(0), seen_at=at(0)) == []


def test_a_response_stops_its_own_clock_alone_and_once() -> None:
    (stopped,) = promises.respond(RUNNING, at=at(0.25), seen_at=at(0.25))
    assert stopped == ServiceLevelClockStopped(
        clock="response", elapsed_seconds=900, met=True, service="mail"
    )
    assert promises.respond(STOPPED, at=at(0.25), seen_at=at(0.25)) == []


def test_a_response_that_comes_too_late_breaks_the_promise_first() -> None:
    breached, stopped = promises.respond(RUNNING, at=at(1), seen_at=at(1.5))
    assert isinstance(breached, ServiceLevelTargetBreached)
    assert (breached.due_at, breached.fired_at) == (at(0.5), at(1.5))
    assert isinstance(stopped, ServiceLevelClockStopped)
    assert stopped.met is False


@pytest.mark.parametrize(
    ("rule", "level"),
    [
        (promises.pause, PAUSED),
        (promises.resume, RUNNING),
        (promises.resolve, STOPPED),
        (promises.reopen, RUNNING),
    ],
)
def test_what_is_so_already_adds_nothing(rule: Rule, level: ServiceLevel) -> None:
    assert rule(level, at=at(0.3), seen_at=at(0.3)) == []


@pytest.mark.parametrize(
    "rule",
    [
        promises.pause,
        promises.resume,
        promises.respond,
        promises.resolve,
        promises.reopen,
        promises.cancel,
    ],
)
def test_where_nothing_was_promised_nothing_follows(rule: Rule) -> None:
    assert rule(NOTHING, at=at(1), seen_at=at(1)) == []
