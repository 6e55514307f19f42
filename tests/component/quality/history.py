"""What other services say about a request, as the tests of quality need it."""

from typing import Literal
from uuid import UUID, uuid4

from casebook.events.event import Event
from casebook.events.request import (
    RequestClosed,
    RequestClosureAnnounced,
    RequestResolutionConfirmed,
    RequestResolutionProposed,
    RequestSubmitted,
)
from casebook.events.work_order import WorkOrderAssignedToAgent, WorkOrderAssignedToTeam
from casebook.events.workforce import AgentRegistered
from tests.support.running_service import RunningService

SUBMITTED = RequestSubmitted(
    number="REQ0000001", kind="incident", requester="wang.fang", organisation="青岛分公司"
)


async def closed_request(
    quality: RunningService,
    *agreement: Event,
    basis: str = "direct",
    origin: Literal["live", "observed"] = "live",
    request_id: UUID | None = None,
) -> tuple[UUID, UUID]:
    """Let a request run to its closing; return its id and that of the closing event."""
    request_id = request_id or uuid4()
    ids = await quality.happened(
        f"request/{request_id}",
        SUBMITTED,
        RequestResolutionProposed(resolved_at=quality.clock.now()),
        *agreement,
        RequestClosed(basis=basis),
        origin=origin,
    )
    return request_id, ids[-1]


def confirmation() -> RequestResolutionConfirmed:
    return RequestResolutionConfirmed()


def announcement(quality: RunningService) -> RequestClosureAnnounced:
    return RequestClosureAnnounced(closes_at=quality.clock.now())


async def handled_by(quality: RunningService, request_id: UUID, team: str, agent: str) -> None:
    """Let a request lie with an agent of a team."""
    await quality.happened(
        f"work-order/{request_id}",
        WorkOrderAssignedToTeam(team=team, initial=True),
        WorkOrderAssignedToAgent(agent=agent),
    )


async def member(quality: RunningService, person: str, team: str) -> None:
    """Let a person work in a team."""
    joined = AgentRegistered(agent=person, team=team, capacity=5)
    await quality.happened(f"agent/{person}", joined, key=person)
