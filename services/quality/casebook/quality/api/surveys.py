"""Surveys: answering one's own, and what all of them say (handbook 1.3)."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response

from casebook.events.definitions import CLOSURE_SURVEY
from casebook.kit.http.commands import version_headers
from casebook.kit.http.exchange import AsOf, Exchange, operation
from casebook.kit.http.openapi_details import VERSIONED
from casebook.kit.http.problems import PROBLEM_RESPONSES, problem_responses
from casebook.quality.api import statements
from casebook.quality.api.bodies import Answer
from casebook.quality.api.views import IntervalView, SurveyReceipt, SurveyResults, SurveyView
from casebook.quality.domain import survey
from casebook.quality.domain.wilson import interval

COMMAND_RESPONSES = PROBLEM_RESPONSES | problem_responses(409, 412, 428)

router = APIRouter(tags=["surveys"])


@router.get("/surveys/results", operation_id="getSurveyResults", responses=PROBLEM_RESPONSES)
async def get_survey_results(
    exchange: Annotated[Exchange, operation("survey.read-results")],
    origin: Annotated[Literal["live", "observed"] | None, Query()] = None,
) -> SurveyResults:
    """Read how satisfied requesters are, with the 95 % Wilson interval of the satisfied."""
    [row] = await exchange.fetch(
        statements.survey_results(exchange.scope(statements.ACCESS), origin)
    )
    n, satisfied = row["n"], row["satisfied"]
    bounds = interval(satisfied, n)
    return SurveyResults(
        survey=CLOSURE_SURVEY.id,
        version=CLOSURE_SURVEY.version,
        sent=row["sent"],
        n=n,
        satisfied=satisfied,
        share=None if n == 0 else satisfied / n,
        interval=None if bounds is None else IntervalView(low=bounds.low, high=bounds.high),
        mean=None if n == 0 else row["total"] / n,
    )


@router.get(
    "/surveys/{request_id}", operation_id="getSurvey", responses=PROBLEM_RESPONSES | VERSIONED
)
async def get_survey(
    request_id: UUID,
    exchange: Annotated[Exchange, operation("survey.read")],
    response: Response,
    as_of: AsOf = None,
) -> SurveyView:
    """Read the survey of a request, now or as it was."""
    stream = f"survey/{request_id}"
    version, state = await exchange.state(stream, as_of)
    [comment] = await exchange.open([state.comment])
    response.headers.update(version_headers(stream, version))
    receipt = SurveyReceipt.of(stream, version, state)
    return SurveyView(**receipt.model_dump(), comment=comment)


@router.put(
    "/surveys/{request_id}/answer",
    operation_id="answerSurvey",
    response_model=SurveyReceipt,
    responses=COMMAND_RESPONSES,
)
async def answer_survey(
    request_id: UUID,
    body: Answer,
    exchange: Annotated[Exchange, operation("survey.answer")],
) -> Response:
    """Say how satisfied one is with how one's request was handled; only its requester may."""
    case = await exchange.case(str(request_id))
    return await exchange.run(
        f"survey/{request_id}",
        lambda state, now: survey.answer(
            state,
            satisfaction=body.satisfaction,
            comment=body.comment,
            by=exchange.principal.subject,
            worked_by=case.assignee,
        ),
        respond=SurveyReceipt.of,
    )
