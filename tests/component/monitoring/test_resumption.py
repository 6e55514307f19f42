"""A history of another system that is reopened here: its resolution clock runs on, live."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from casebook.events.request import RequestClosed, RequestReopened
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderAssignedToAgent,
    WorkOrderResolved,
    WorkOrderWaitingEnded,
    WorkOrderWaitingStarted,
)
from casebook.monitoring.reactions.resumption import keep_resuming
from tests.component.monitoring.story import KPIS, clocks, own_types, passed, submitted
from tests.support.running_service import Headers, RunningService

HOUR = timedelta(hours=1)
OPENED = "SELECT count(*) FROM events WHERE type = 'casebook.service-level.opened.v1'"
CUSTOMER = WorkOrderWaitingStarted(reason="customer")


async def history(service: RunningService, *, hours: float, resolved: bool = True) -> UUID:
    """Let a request of priority 3 (24 hours) have taken so long elsewhere, 90 days ago."""
    start = service.clock.now() - timedelta(days=90)
    request = await submitted(service, origin="observed", time=start)
    at: dict[str, Any] = {"origin": "observed", "time": start + hours * HOUR}
    taken: dict[str, Any] = {"origin": "observed", "time": start + HOUR}
    await service.happened(f"work-order/{request}", WorkOrderAssignedToAgent(agent="x"), **taken)
    if resolved:
        await service.happened(f"work-order/{request}", WorkOrderResolved(), **at)
    await service.happened(f"request/{request}", RequestClosed(basis="observed"), **at)
    return request


async def reopened(service: RunningService, request: UUID) -> datetime:
    """Reopen it here, and wait until its clock runs; return when that was."""
    await service.happened(f"request/{request}", RequestReopened())
    await service.until(OPENED, 1)
    await service.until("SELECT count(*) FROM reopenings WHERE pending", 0)
    return service.clock.now()


@asynccontextmanager
async def without_worker(service: RunningService) -> AsyncGenerator[None]:
    """End the worker for the length of the block; then there is a new one."""
    [worker] = [task for task in asyncio.all_tasks() if task.get_name() == "worker-0"]
    worker.cancel()
    await asyncio.wait({worker})
    yield
    service.runtime.spawn_workers()


async def resolution(service: RunningService, request: UUID, who: Headers) -> dict[str, Any]:
    return (await clocks(service, request, who))["resolution"]


async def test_the_clock_runs_on_from_what_the_history_has_used_up(
    service: RunningService, requester: Headers
) -> None:
    request = await history(service, hours=10)
    before = service.clock.now() - HOUR
    at = await reopened(service, request)
    clock = await resolution(service, request, requester)
    assert (clock["state"], clock["elapsed_seconds"], clock["priority"]) == ("running", 36_000, 3)
    assert datetime.fromisoformat(clock["due_at"]) == at + 14 * HOUR
    shown = await clocks(service, request, requester)
    assert (shown["response"]["state"], shown["response"]["met"]) == ("stopped", True)
    then = await clocks(service, request, requester, as_of=before.isoformat())
    assert (then["resolution"]["state"], then["resolution"]["elapsed_seconds"]) == (
        "stopped",
        36_000,
    )
    await passed(service, 9 * HOUR)
    assert (await resolution(service, request, requester))["warned"] is True
    await passed(service, 6 * HOUR)
    clock = await resolution(service, request, requester)
    assert datetime.fromisoformat(clock["breached_at"]) == at + 14 * HOUR
    assert await own_types(service, request) == [
        "opened",
        "clock-started",
        "target-warned",
        "target-breached",
    ]


async def test_it_pauses_and_stops_as_every_live_clock(
    service: RunningService, requester: Headers, auditor: Headers
) -> None:
    request = await history(service, hours=10)
    await reopened(service, request)
    for event, later in (
        (WorkOrderAccepted(agent="li.na"), 1),
        (CUSTOMER, 50),
        (WorkOrderWaitingEnded(), 2),
        (WorkOrderResolved(), 0),
    ):
        await service.happened(f"work-order/{request}", event)
        service.clock.pass_(later * HOUR)
    clock = await resolution(service, request, requester)
    assert (clock["state"], clock["elapsed_seconds"], clock["met"]) == ("stopped", 13 * 3600, True)
    table = (await service.read(KPIS, auditor)).json()["kpis"]
    met = {str(row["dims"]): row["n"] for row in table if row["id"].startswith("resolution_target")}
    assert met == {"{'origin': 'live'}": 1, "{'origin': 'observed'}": 0}


@pytest.mark.parametrize("resolved", [True, False])
async def test_a_target_that_the_history_missed_is_not_breached_again(
    service: RunningService, requester: Headers, resolved: bool
) -> None:
    request = await history(service, hours=30, resolved=resolved)
    await reopened(service, request)
    await passed(service, HOUR)
    await service.happened(f"work-order/{request}", WorkOrderResolved())
    clock = await resolution(service, request, requester)
    assert (clock["elapsed_seconds"], clock["met"]) == (31 * 3600, False)
    assert clock["breached_at"] is not None
    assert await own_types(service, request) == ["opened", "clock-started", "clock-stopped"]
    row = await service.value("SELECT resolution_elapsed_microseconds FROM kpi_facts")
    assert row == 31 * 3600 * 10**6


async def test_what_happened_before_the_clock_was_resumed_counts_too(
    service: RunningService, requester: Headers
) -> None:
    """As after an outage, when the reader has told of days before the worker comes to look."""
    request = await history(service, hours=10)
    async with without_worker(service):
        await service.happened(f"request/{request}", RequestReopened())
        service.clock.pass_(HOUR)
        await service.happened(f"work-order/{request}", CUSTOMER)
        service.clock.pass_(40 * HOUR)
        await service.happened(f"work-order/{request}", WorkOrderWaitingEnded())
        service.clock.pass_(HOUR)
        assert await own_types(service, request) == []
    await service.until(OPENED, 1)
    clock = await resolution(service, request, requester)
    assert (clock["state"], clock["elapsed_seconds"]) == ("running", 12 * 3600)
    await service.happened(f"work-order/{request}", WorkOrderResolved())
    assert (await resolution(service, request, requester))["met"] is True


async def test_nothing_else_is_resumed(service: RunningService) -> None:
    live = await submitted(service)
    await service.happened(f"work-order/{live}", WorkOrderResolved())
    await service.happened(f"request/{live}", RequestReopened())
    other = await history(service, hours=1)
    await service.happened(f"request/{other}", RequestReopened(), origin="observed")
    await service.until("SELECT count(*) FROM reopenings WHERE pending", 0)
    assert "clock-resumed" in await own_types(service, live)
    assert await own_types(service, other) == []


async def test_a_rebuild_that_swaps_the_read_model_does_not_end_the_worker(
    service: RunningService,
) -> None:
    async with service.runtime.database.transaction() as connection:
        await connection.execute("ALTER VIEW reopenings RENAME TO elsewhere")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await keep_resuming(service.runtime)
    assert service.runtime.failed_tasks() == []
