"""Commands on requests: each runs a rule of the domain in one transaction (handbook 2.1, 2.4)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response

from casebook.intake.api.bodies import (
    ClassificationBody,
    CommentBody,
    OptionalReason,
    PriorityBody,
    Reason,
    Submission,
)
from casebook.intake.api.views import Receipt
from casebook.intake.domain import lifecycle
from casebook.intake.policy import POLICY
from casebook.kit.decider import Access
from casebook.kit.http.exchange import Exchange, operation
from casebook.kit.http.openapi_details import CREATED
from casebook.kit.http.problems import PROBLEM_RESPONSES, Problem, problem_responses

COMMAND_RESPONSES = PROBLEM_RESPONSES | problem_responses(409, 412, 428)
CREATE_RESPONSES = PROBLEM_RESPONSES | problem_responses(409)
SELF_SERVICE, AGENT_CHANNEL = "self-service", "agent"

router = APIRouter(tags=["requests"])


@router.post(
    "/requests",
    operation_id="submitRequest",
    status_code=201,
    response_model=Receipt,
    responses=CREATE_RESPONSES | CREATED,
)
async def submit_request(
    body: Submission, exchange: Annotated[Exchange, operation("request.submit")]
) -> Response:
    """Submit a request for oneself, or as staff on behalf of a requester (handbook 2.1)."""
    principal = exchange.principal
    if body.on_behalf and not POLICY.permits(principal, "request.submit-on-behalf"):
        raise Problem(403, "forbidden", "only staff submit on behalf of a requester")
    for_other = body.requester is not None
    requester = body.requester or principal.subject
    organisation = body.organisation if for_other else principal.organisation
    number = f"REQ{await exchange.next_number():07d}"
    response = await exchange.run(
        f"request/{exchange.new_id()}",
        lambda state, now: lifecycle.submit(
            state,
            number=number,
            kind=body.kind,
            requester=requester,
            organisation=organisation,
            channel=body.channel or (AGENT_CHANNEL if for_other else SELF_SERVICE),
            location=body.location,
            opened_by=principal.subject,
            service=body.service,
            title=body.title,
            description=body.description,
            classification=None if body.classification is None else body.classification.value(),
            impact=body.impact,
            urgency=body.urgency,
        ),
        respond=Receipt.of,
        status=201,
        creates=True,
        access=Access(requester=requester, organisation=organisation),
    )
    stream = response.headers["Casebook-Version"].partition("@")[0]
    response.headers["Location"] = f"/intake/v1/requests/{stream.rpartition('/')[2]}"
    return response


@router.put(
    "/requests/{request_id}/classification",
    operation_id="classifyRequest",
    response_model=Receipt,
    responses=COMMAND_RESPONSES,
)
async def classify_request(
    request_id: UUID,
    body: ClassificationBody,
    exchange: Annotated[Exchange, operation("request.classify")],
) -> Response:
    """Say what the request is about, or correct it (handbook 2.1, needs assessment)."""
    return await exchange.run(
        f"request/{request_id}",
        lambda state, now: lifecycle.classify(state, classification=body.value()),
        respond=Receipt.of,
    )


@router.put(
    "/requests/{request_id}/priority",
    operation_id="prioritiseRequest",
    response_model=Receipt,
    responses=COMMAND_RESPONSES,
)
async def prioritise_request(
    request_id: UUID,
    body: PriorityBody,
    exchange: Annotated[Exchange, operation("request.prioritise")],
) -> Response:
    """Assess impact and urgency, which give the priority (handbook 2.1, prioritisation)."""
    return await exchange.run(
        f"request/{request_id}",
        lambda state, now: lifecycle.prioritise(
            state, impact=body.impact, urgency=body.urgency, reason=body.reason
        ),
        respond=Receipt.of,
    )


@router.post(
    "/requests/{request_id}/comments",
    operation_id="commentRequest",
    status_code=201,
    response_model=Receipt,
    responses=CREATE_RESPONSES,
)
async def comment_request(
    request_id: UUID,
    body: CommentBody,
    exchange: Annotated[Exchange, operation("request.comment")],
) -> Response:
    """Write a comment that the customer reads (handbook 1.2, communication in every step)."""
    return await exchange.run(
        f"request/{request_id}",
        lambda state, now: lifecycle.comment(state, body=body.body),
        respond=Receipt.of,
        status=201,
        conditional=False,
    )


@router.post(
    "/requests/{request_id}/internal-comments",
    operation_id="commentRequestInternally",
    status_code=201,
    response_model=Receipt,
    responses=CREATE_RESPONSES,
)
async def comment_request_internally(
    request_id: UUID,
    body: CommentBody,
    exchange: Annotated[Exchange, operation("request.comment-internally")],
) -> Response:
    """Write a comment that only staff read."""
    return await exchange.run(
        f"request/{request_id}",
        lambda state, now: lifecycle.comment_internally(state, body=body.body),
        respond=Receipt.of,
        status=201,
        conditional=False,
    )


@router.put(
    "/requests/{request_id}/confirmation",
    operation_id="confirmResolution",
    response_model=Receipt,
    responses=COMMAND_RESPONSES,
)
async def confirm_resolution(
    request_id: UUID, exchange: Annotated[Exchange, operation("request.confirm")]
) -> Response:
    """Accept the proposed resolution, which closes the request (handbook 2.1, confirmation)."""
    return await exchange.run(
        f"request/{request_id}",
        lambda state, now: lifecycle.confirm(state),
        respond=Receipt.of,
    )


@router.post(
    "/requests/{request_id}/reopenings",
    operation_id="reopenRequest",
    status_code=201,
    response_model=Receipt,
    responses=COMMAND_RESPONSES,
)
async def reopen_request(
    request_id: UUID,
    body: OptionalReason,
    exchange: Annotated[Exchange, operation("request.reopen")],
) -> Response:
    """Take the work up again, because the resolution did not hold."""
    return await exchange.run(
        f"request/{request_id}",
        lambda state, now: lifecycle.reopen(state, reason=body.reason, now=now),
        respond=Receipt.of,
        status=201,
    )


@router.put(
    "/requests/{request_id}/cancellation",
    operation_id="cancelRequest",
    response_model=Receipt,
    responses=COMMAND_RESPONSES,
)
async def cancel_request(
    request_id: UUID,
    body: OptionalReason,
    exchange: Annotated[Exchange, operation("request.cancel")],
) -> Response:
    """Withdraw a request whose work is not done."""
    return await exchange.run(
        f"request/{request_id}",
        lambda state, now: lifecycle.cancel(state, reason=body.reason),
        respond=Receipt.of,
    )


@router.put(
    "/requests/{request_id}/closure",
    operation_id="closeRequest",
    response_model=Receipt,
    responses=COMMAND_RESPONSES,
)
async def close_request(
    request_id: UUID, body: Reason, exchange: Annotated[Exchange, operation("request.close")]
) -> Response:
    """Close a resolved request without the requester's answer, as a lead and for a reason."""
    return await exchange.run(
        f"request/{request_id}",
        lambda state, now: lifecycle.close_directly(state, reason=body.reason),
        respond=Receipt.of,
    )
