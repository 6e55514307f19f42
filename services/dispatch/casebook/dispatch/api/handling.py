"""Doing the work over HTTP: each command runs a rule in one transaction (handbook 2.2, 2.3)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response

from casebook.dispatch.api.bodies import AssignmentBody, NoteBody, ResolutionBody, WaitBody
from casebook.dispatch.api.views import WorkOrderView
from casebook.dispatch.domain import assignment, handling
from casebook.dispatch.domain.work_order import WorkOrder
from casebook.events.work_order import WorkOrderEvent
from casebook.kit.http.exchange import Exchange, operation
from casebook.kit.http.problems import PROBLEM_RESPONSES, problem_responses

COMMAND_RESPONSES = PROBLEM_RESPONSES | problem_responses(409, 412, 428)
CREATE_RESPONSES = PROBLEM_RESPONSES | problem_responses(409)

router = APIRouter(tags=["work orders"])


@router.put(
    "/work-orders/{request_id}/acceptance",
    operation_id="acceptWorkOrder",
    response_model=WorkOrderView,
    responses=COMMAND_RESPONSES,
)
async def accept_work_order(
    request_id: UUID, exchange: Annotated[Exchange, operation("work-order.accept")]
) -> Response:
    """Accept one's own work, or take what is queued in one's team; the first one wins."""
    agent = exchange.principal.subject
    return await exchange.run(
        f"work-order/{request_id}",
        lambda state, now: handling.accept(state, agent=agent),
        respond=WorkOrderView.of,
    )


@router.put(
    "/work-orders/{request_id}/start",
    operation_id="startWorkOrder",
    response_model=WorkOrderView,
    responses=COMMAND_RESPONSES,
)
async def start_work_order(
    request_id: UUID, exchange: Annotated[Exchange, operation("work-order.start")]
) -> Response:
    """Begin the accepted work."""
    return await exchange.run(
        f"work-order/{request_id}",
        lambda state, now: handling.start(state),
        respond=WorkOrderView.of,
    )


@router.post(
    "/work-orders/{request_id}/waits",
    operation_id="waitWithWorkOrder",
    status_code=201,
    response_model=WorkOrderView,
    responses=COMMAND_RESPONSES,
)
async def wait_with_work_order(
    request_id: UUID,
    body: WaitBody,
    exchange: Annotated[Exchange, operation("work-order.wait")],
) -> Response:
    """Let the work wait for something; for the customer, the resolution clock pauses."""
    return await exchange.run(
        f"work-order/{request_id}",
        lambda state, now: handling.wait(state, reason=body.reason, note=body.note),
        respond=WorkOrderView.of,
        status=201,
    )


@router.post(
    "/work-orders/{request_id}/resumptions",
    operation_id="resumeWorkOrder",
    status_code=201,
    response_model=WorkOrderView,
    responses=COMMAND_RESPONSES,
)
async def resume_work_order(
    request_id: UUID, exchange: Annotated[Exchange, operation("work-order.resume")]
) -> Response:
    """Go on after a wait."""
    return await exchange.run(
        f"work-order/{request_id}",
        lambda state, now: handling.resume(state),
        respond=WorkOrderView.of,
        status=201,
    )


@router.post(
    "/work-orders/{request_id}/assignments",
    operation_id="reassignWorkOrder",
    status_code=201,
    response_model=WorkOrderView,
    responses=COMMAND_RESPONSES,
)
async def reassign_work_order(
    request_id: UUID,
    body: AssignmentBody,
    exchange: Annotated[Exchange, operation("work-order.reassign")],
) -> Response:
    """Give the work to another agent of the team, or to another team, for a reason."""

    def decide(state: WorkOrder) -> list[WorkOrderEvent]:
        if body.agent is not None:
            return assignment.reassign_to_agent(state, agent=body.agent, reason=body.reason)
        assert body.team is not None
        return assignment.reassign_to_team(state, team=body.team, reason=body.reason)

    return await exchange.run(
        f"work-order/{request_id}",
        lambda state, now: decide(state),
        respond=WorkOrderView.of,
        status=201,
    )


@router.post(
    "/work-orders/{request_id}/releases",
    operation_id="releaseWorkOrder",
    status_code=201,
    response_model=WorkOrderView,
    responses=COMMAND_RESPONSES,
)
async def release_work_order(
    request_id: UUID, exchange: Annotated[Exchange, operation("work-order.release")]
) -> Response:
    """Give the work back to the team's queue, where matching looks for an agent."""
    return await exchange.run(
        f"work-order/{request_id}",
        lambda state, now: assignment.release(state),
        respond=WorkOrderView.of,
        status=201,
    )


@router.put(
    "/work-orders/{request_id}/resolution",
    operation_id="resolveWorkOrder",
    response_model=WorkOrderView,
    responses=COMMAND_RESPONSES,
)
async def resolve_work_order(
    request_id: UUID,
    body: ResolutionBody,
    exchange: Annotated[Exchange, operation("work-order.resolve")],
) -> Response:
    """Declare the work done; the requester is then asked to confirm (handbook 2.1)."""
    return await exchange.run(
        f"work-order/{request_id}",
        lambda state, now: handling.resolve(state, code=body.code, summary=body.summary),
        respond=WorkOrderView.of,
    )


@router.post(
    "/work-orders/{request_id}/notes",
    operation_id="noteOnWorkOrder",
    status_code=201,
    response_model=WorkOrderView,
    responses=CREATE_RESPONSES,
)
async def note_on_work_order(
    request_id: UUID,
    body: NoteBody,
    exchange: Annotated[Exchange, operation("work-order.note")],
) -> Response:
    """Write down progress for colleagues."""
    return await exchange.run(
        f"work-order/{request_id}",
        lambda state, now: handling.note(state, text=body.text),
        respond=WorkOrderView.of,
        status=201,
        conditional=False,
    )
