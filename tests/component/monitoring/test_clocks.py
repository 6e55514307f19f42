"""The clocks of a request from its facts to HTTP, with the reader and the timers at work."""

from datetime import timedelta
from typing import Any

from casebook.events.request import RequestCancelled, RequestReopened, RequestReprioritised
from casebook.events.service_level import ServiceLevelSourceResultRecorded
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderResolved,
    WorkOrderWaitingEnded,
    WorkOrderWaitingStarted,
)
from tests.component.monitoring.story import clocks, own_types, passed, submitted
from tests.support.running_service import TRACEPARENT, Headers, RunningService

HOUR = timedelta(hours=1)
CUSTOMER = WorkOrderWaitingStarted(reason="customer")


async def test_the_clocks_of_a_request_from_submission_to_resolution_and_on(
    service: RunningService, requester: Headers
) -> None:
    request = await submitted(service)
    start = service.clock.now()
    running = await clocks(service, request, requester)
    assert {name: clock["state"] for name, clock in running.items()} == {
        "response": "running",
        "resolution": "running",
    }
    service.clock.pass_(HOUR)
    await service.happened(f"work-order/{request}", WorkOrderAccepted(agent="li.na"))
    response = (await clocks(service, request, requester))["response"]
    assert (response["state"], response["elapsed_seconds"], response["met"]) == (
        "stopped",
        3600,
        True,
    )
    await service.happened(f"work-order/{request}", CUSTOMER)
    service.clock.pass_(10 * HOUR)
    paused = (await clocks(service, request, requester))["resolution"]
    assert (paused["state"], paused["elapsed_seconds"], paused["due_at"]) == ("paused", 3600, None)
    await service.happened(f"work-order/{request}", WorkOrderWaitingEnded())
    await service.happened(f"work-order/{request}", WorkOrderResolved())
    await service.happened(f"request/{request}", RequestReopened())
    service.clock.pass_(HOUR)
    again = (await clocks(service, request, requester))["resolution"]
    assert (again["state"], again["elapsed_seconds"], again["met"]) == ("running", 7200, True)
    before = await clocks(service, request, requester, as_of=(start + HOUR / 2).isoformat())
    assert before["response"]["elapsed_seconds"] == 1800
    assert before["response"]["state"] == "running"
    assert await own_types(service, request) == [
        "opened",
        "clock-started",
        "clock-started",
        "clock-stopped",
        "clock-paused",
        "clock-resumed",
        "clock-stopped",
        "clock-resumed",
    ]


async def test_a_target_is_warned_about_and_breached_by_timers(
    service: RunningService, requester: Headers
) -> None:
    request = await submitted(service, priority=1)
    start = service.clock.now()
    await passed(service, timedelta(minutes=12))
    assert (await clocks(service, request, requester))["response"]["warned"] is True
    await passed(service, timedelta(minutes=4))
    response = (await clocks(service, request, requester))["response"]
    assert response["breached_at"] == _json(start + timedelta(minutes=15))
    assert await own_types(service, request) == [
        "opened",
        "clock-started",
        "clock-started",
        "target-warned",
        "target-breached",
    ]
    stored: Any = await service.value(
        "SELECT record FROM events WHERE type = 'casebook.service-level.target-breached.v1'"
    )
    assert '"service":"mail"' in stored


async def test_a_breach_is_withdrawn_when_an_earlier_acceptance_becomes_known(
    service: RunningService, requester: Headers
) -> None:
    request = await submitted(service, priority=1)
    start = service.clock.now()
    await passed(service, timedelta(minutes=20))
    late = start + timedelta(minutes=14)
    await service.happened(f"work-order/{request}", WorkOrderAccepted(agent="li.na"), time=late)
    response = (await clocks(service, request, requester))["response"]
    assert (response["breached_at"], response["met"]) == (None, True)
    assert (await own_types(service, request))[-2:] == ["breach-withdrawn", "clock-stopped"]


async def test_another_priority_moves_the_timers(
    service: RunningService, requester: Headers
) -> None:
    request = await submitted(service, priority=4)
    await service.happened(f"work-order/{request}", WorkOrderAccepted(agent="li.na"))
    service.clock.pass_(5 * HOUR)
    await service.happened(f"request/{request}", RequestReprioritised(priority=1))
    resolution = (await clocks(service, request, requester))["resolution"]
    assert resolution["breached_at"] == _json(service.clock.now())
    assert (await own_types(service, request))[-2:] == ["clock-retargeted", "target-breached"]
    assert await service.value("SELECT count(*) FROM timers WHERE status = 'pending'") == 0


async def test_a_cancelled_request_has_no_timers_left(service: RunningService) -> None:
    request = await submitted(service)
    await service.happened(f"request/{request}", RequestCancelled())
    assert await service.value("SELECT count(*) FROM timers WHERE status = 'pending'") == 0


async def test_nothing_follows_from_observed_history(
    service: RunningService, requester: Headers
) -> None:
    start = service.clock.now() - 100 * HOUR
    request = await submitted(service, priority=1, origin="observed", time=start)
    await service.happened(
        f"work-order/{request}", WorkOrderResolved(), origin="observed", time=start + 5 * HOUR
    )
    await service.happened(
        f"service-level/{request}",
        ServiceLevelSourceResultRecorded(result="missed"),
        origin="observed",
    )
    assert await service.value("SELECT count(*) FROM events") == 0
    assert await service.value("SELECT count(*) FROM timers") == 0
    computed = await clocks(service, request, requester)
    assert {name: clock["met"] for name, clock in computed.items()} == {
        "response": False,
        "resolution": False,
    }
    assert computed["resolution"]["breached_at"] == _json(start + 4 * HOUR)
    early = await clocks(service, request, requester, as_of=(start + 2 * HOUR).isoformat())
    assert early["resolution"]["state"] == "running"
    assert early["resolution"]["breached_at"] is None


async def test_the_trace_of_the_cause_is_on_what_follows(service: RunningService) -> None:
    await submitted(service)
    assert await service.value(
        f"SELECT bool_and(record LIKE '%{TRACEPARENT}%' AND record LIKE '%causationid%')"
        " FROM events"
    )


def _json(moment: Any) -> str:
    """Return a moment as the interface writes it."""
    text: str = moment.isoformat()
    return text.replace("+00:00", "Z")
