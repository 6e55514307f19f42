"""Commands on risks: each runs a rule of the domain in one transaction (handbook 5.1 to 5.3)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response

from casebook.kit.decider import Access
from casebook.kit.http.exchange import Exchange, operation
from casebook.kit.http.openapi_details import CREATED
from casebook.kit.http.problems import PROBLEM_RESPONSES, problem_responses
from casebook.risk.api.bodies import (
    AssessmentBody,
    ClosureBody,
    CompletionBody,
    Registration,
    TreatmentBody,
)
from casebook.risk.api.views import RiskReceipt
from casebook.risk.domain import register

COMMAND_RESPONSES = PROBLEM_RESPONSES | problem_responses(409, 412, 428)
CREATE_RESPONSES = PROBLEM_RESPONSES | problem_responses(409)

router = APIRouter(tags=["risks"])


@router.post(
    "/risks",
    operation_id="registerRisk",
    status_code=201,
    response_model=RiskReceipt,
    responses=CREATE_RESPONSES | CREATED,
)
async def register_risk(
    body: Registration, exchange: Annotated[Exchange, operation("risk.register")]
) -> Response:
    """Enter a risk into the register (handbook 5.1)."""
    response = await exchange.run(
        f"risk/{exchange.new_id()}",
        lambda state, now: register.register(
            state,
            category=body.category,
            service=body.service,
            owner=body.owner,
            title=body.title,
            description=body.description,
        ),
        respond=RiskReceipt.of,
        status=201,
        creates=True,
        access=Access(requester=exchange.principal.subject),
    )
    stream = response.headers["Casebook-Version"].partition("@")[0]
    response.headers["Location"] = f"/risk/v1/risks/{stream.rpartition('/')[2]}"
    return response


@router.post(
    "/risks/{risk_id}/assessments",
    operation_id="assessRisk",
    response_model=RiskReceipt,
    responses=COMMAND_RESPONSES,
)
async def assess_risk(
    risk_id: UUID,
    body: AssessmentBody,
    exchange: Annotated[Exchange, operation("risk.assess")],
) -> Response:
    """Judge how likely and how grave a risk is, inherently or after treatment (handbook 5.1)."""
    return await exchange.run(
        f"risk/{risk_id}",
        lambda state, now: register.assess(
            state,
            stage=body.stage,
            likelihood=body.likelihood,
            impact=body.impact,
            reason=body.reason,
            by=exchange.principal.subject,
        ),
        respond=RiskReceipt.of,
    )


@router.put(
    "/risks/{risk_id}/treatment",
    operation_id="planRiskTreatment",
    response_model=RiskReceipt,
    responses=COMMAND_RESPONSES,
)
async def plan_risk_treatment(
    risk_id: UUID,
    body: TreatmentBody,
    exchange: Annotated[Exchange, operation("risk.treat")],
) -> Response:
    """Say what will be done about a risk; a new plan replaces the old one (handbook 5.2)."""
    return await exchange.run(
        f"risk/{risk_id}",
        lambda state, now: register.plan_treatment(
            state,
            strategy=body.strategy,
            owner=body.owner,
            due_at=body.due_at,
            plan=body.plan,
            now=now,
        ),
        respond=RiskReceipt.of,
    )


@router.put(
    "/risks/{risk_id}/treatment/completion",
    operation_id="completeRiskTreatment",
    response_model=RiskReceipt,
    responses=COMMAND_RESPONSES,
)
async def complete_risk_treatment(
    risk_id: UUID,
    body: CompletionBody,
    exchange: Annotated[Exchange, operation("risk.treat")],
) -> Response:
    """Say that the planned treatment is in place (handbook 5.3)."""
    return await exchange.run(
        f"risk/{risk_id}",
        lambda state, now: register.complete_treatment(state, result=body.result),
        respond=RiskReceipt.of,
    )


@router.put(
    "/risks/{risk_id}/closure",
    operation_id="closeRisk",
    response_model=RiskReceipt,
    responses=COMMAND_RESPONSES,
)
async def close_risk(
    risk_id: UUID,
    body: ClosureBody,
    exchange: Annotated[Exchange, operation("risk.close")],
) -> Response:
    """Take a risk out of the open part of the register (handbook 5.3)."""
    return await exchange.run(
        f"risk/{risk_id}",
        lambda state, now: register.close(state, reason=body.reason, by=exchange.principal.subject),
        respond=RiskReceipt.of,
    )
