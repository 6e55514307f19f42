"""Requests that happen in the log: what the component tests of monitoring start from."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from casebook.events.envelope import Origin
from casebook.events.request import RequestPrioritised, RequestSubmitted
from casebook.events.work_order import WorkOrderAssignedToTeam
from tests.support.running_service import Headers, Json, RunningService

LEVELS = "/monitoring/v1/service-levels"
KPIS = "/monitoring/v1/kpis"


async def submitted(
    service: RunningService,
    *,
    priority: int = 3,
    requester: str = "wang.fang",
    organisation: str = "青岛分公司",
    team: str | None = "mail",
    origin: Origin = "live",
    time: datetime | None = None,
) -> UUID:
    """Let a request have been submitted and prioritised, and its work have come to a team."""
    request = uuid4()
    await service.happened(
        f"request/{request}",
        RequestSubmitted(
            number=f"REQ-{request}",
            kind="incident",
            requester=requester,
            organisation=organisation,
            service="mail",
        ),
        RequestPrioritised(impact=2, urgency=2, priority=priority),
        origin=origin,
        time=time,
    )
    if team is not None:
        assigned = WorkOrderAssignedToTeam(team=team, initial=True)
        await service.happened(f"work-order/{request}", assigned, origin=origin, time=time)
    return request


async def passed(service: RunningService, time: timedelta) -> None:
    """Let time pass, and wait until every timer that became due has fired."""
    service.clock.pass_(time)
    now = service.clock.now().isoformat()
    await service.until(
        f"SELECT count(*) FROM timers WHERE status = 'pending' AND due_at <= '{now}'", 0
    )


async def clocks(
    service: RunningService, request: UUID, who: Headers, **parameters: object
) -> Json:
    """Read the clocks of a request, by name."""
    response = await service.read(f"{LEVELS}/{request}", who, **parameters)
    assert response.status_code == 200, response.text
    return {clock["clock"]: clock for clock in response.json()["clocks"]}


async def own_types(service: RunningService, request: UUID) -> list[str]:
    """Return what monitoring has said about a request, in order, without the common words."""
    stream = f"service-level/{request}"
    types: Any = await service.value(
        f"SELECT array_agg(type ORDER BY version) FROM events WHERE stream = {stream!r}"
    )
    return [
        name.removeprefix("casebook.service-level.").removesuffix(".v1") for name in types or []
    ]
