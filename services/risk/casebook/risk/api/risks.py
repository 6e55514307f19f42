"""Reading risks: the register, one risk, the heat map, the evidence (handbook 5.1, 5.4)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import TypeAdapter

from casebook.events.definitions import RISK_SCALE
from casebook.events.values import Label
from casebook.kit.http.commands import version_headers
from casebook.kit.http.exchange import AsOf, Exchange, operation
from casebook.kit.http.openapi_details import VERSIONED
from casebook.kit.http.pagination import PAGE_DEFAULT, PAGE_MAX, decode_cursor, encode_cursor
from casebook.kit.http.problems import PROBLEM_RESPONSES, Problem
from casebook.risk.api import statements
from casebook.risk.api.statements import ACCESS
from casebook.risk.api.views import (
    AssessmentView,
    Breach,
    CandidacyView,
    Cell,
    Evidence,
    HeatMap,
    Recomputed,
    RiskDetail,
    RiskPage,
    RiskSummary,
    TreatmentView,
    receipt_fields,
)
from casebook.risk.domain.assessment import rating_of, score_of
from casebook.risk.domain.breach_rate import UNSPECIFIED, Rate
from casebook.risk.domain.risk import Candidacy, Risk

router = APIRouter(tags=["risks"])
_STATES = TypeAdapter(Risk)
_STEPS = range(1, 6)

Reading = Annotated[Exchange, operation("risk.read")]
StatusFilter = Literal[
    "candidate", "recovered", "identified", "assessed", "treating", "treated", "closed"
]


@router.get("/risks", operation_id="listRisks", responses=PROBLEM_RESPONSES)
async def list_risks(
    exchange: Reading,
    *,
    status: Annotated[StatusFilter | None, Query()] = None,
    rating: Annotated[Literal["low", "medium", "high", "extreme"] | None, Query()] = None,
    kind: Annotated[Literal["registered", "candidate"] | None, Query()] = None,
    category: Annotated[Label | None, Query()] = None,
    service: Annotated[Label | None, Query()] = None,
    owner: Annotated[Label | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=255, description="Of the page before")] = None,
) -> RiskPage:
    """List the risks that one may see, the last opened first."""
    after = None if cursor is None else decode_cursor(cursor, (str, str))
    rows = await exchange.fetch(
        statements.risks(
            exchange.scope(ACCESS),
            filters={"status": status, "category": category, "service": service, "owner": owner},
            rating=rating,
            kind=kind,
            after=None if after is None else (after[0], after[1]),
            limit=limit + 1,
        )
    )
    page = rows[:limit]
    states = [_STATES.validate_python(row["state"]) for row in page]
    titles = await exchange.open([state.title for state in states])
    last = page[-1] if len(rows) > limit else None
    return RiskPage(
        items=[
            RiskSummary(**receipt_fields(row["stream"], state), title=title)
            for row, state, title in zip(page, states, titles, strict=True)
        ],
        next_cursor=None
        if last is None
        else encode_cursor([last["state"].get("opened_at") or "", last["stream"]]),
    )


@router.get("/risks/heatmap", operation_id="getRiskHeatMap", responses=PROBLEM_RESPONSES)
async def get_risk_heat_map(
    exchange: Annotated[Exchange, operation("risk.read-heatmap")],
) -> HeatMap:
    """Read how many open risks lie where in the 5 × 5 matrix (handbook 5.1)."""
    rows = await exchange.fetch(statements.heat_map(exchange.scope(ACCESS)))
    risks = {(row["likelihood"], row["impact"]): row["risks"] for row in rows}
    return HeatMap(
        scale=RISK_SCALE.id,
        version=RISK_SCALE.version,
        cells=[
            Cell(
                likelihood=likelihood,
                impact=impact,
                score=score_of(likelihood, impact),
                rating=rating_of(score_of(likelihood, impact)),
                risks=risks.get((likelihood, impact), 0),
            )
            for likelihood in _STEPS
            for impact in _STEPS
        ],
        unassessed=risks.get((None, None), 0),
    )


@router.get("/risks/{risk_id}", operation_id="getRisk", responses=PROBLEM_RESPONSES | VERSIONED)
async def get_risk(
    risk_id: UUID, exchange: Reading, response: Response, as_of: AsOf = None
) -> RiskDetail:
    """Read one risk, now or as it was: its assessments, its treatment, and what it rests on."""
    stream = f"risk/{risk_id}"
    version, state = await exchange.state(stream, as_of)
    response.headers.update(version_headers(stream, version))
    return await _detail(exchange, stream, state)


@router.get(
    "/risks/{risk_id}/evidence", operation_id="getRiskEvidence", responses=PROBLEM_RESPONSES
)
async def get_risk_evidence(
    risk_id: UUID, exchange: Annotated[Exchange, operation("risk.read-evidence")]
) -> Evidence:
    """Read the breaches that a candidate counts, and compute its rate from them again.

    Every breach is looked up in the log. Figures that end in ``_now`` are of the same window, as
    the log tells of it now: breaches may have been withdrawn since, and clocks reopened.
    """
    _, state = await exchange.state(f"risk/{risk_id}")
    candidacy: Candidacy | None = state.candidacy
    if candidacy is None:
        raise Problem(404, "no-evidence", "a person registered this risk; it counts no breaches")
    service = state.service or UNSPECIFIED
    scope = exchange.scope(ACCESS)
    found = await exchange.fetch(statements.breaches(scope, candidacy.evidence))
    now = await exchange.fetch(
        statements.rate_between(scope, service, candidacy.window_start, candidacy.window_end)
    )
    rows = {row["breach"]: row for row in found}
    return Evidence(
        candidacy=CandidacyView.of(candidacy),
        recomputed=_recomputed(candidacy, service, rows, now),
        breaches=[_breach(id_, rows.get(id_)) for id_ in candidacy.evidence],
    )


async def _detail(exchange: Exchange, stream: str, risk: Risk) -> RiskDetail:
    """Return a risk with its text as plain text."""
    inherent, residual, treatment = risk.inherent, risk.residual, risk.treatment
    title, description, why_inherent, why_residual, plan, result, reason = await exchange.open(
        [
            risk.title,
            risk.description,
            None if inherent is None else inherent.reason,
            None if residual is None else residual.reason,
            None if treatment is None else treatment.plan,
            None if treatment is None else treatment.result,
            risk.closing_reason,
        ]
    )
    return RiskDetail(
        **receipt_fields(stream, risk),
        title=title,
        description=description,
        inherent=AssessmentView.of(inherent, why_inherent),
        residual=AssessmentView.of(residual, why_residual),
        treatment=TreatmentView.of(treatment, plan, result),
        candidacy=None if risk.candidacy is None else CandidacyView.of(risk.candidacy),
        closed_at=risk.closed_at,
        closed_by=risk.closed_by,
        closing_reason=reason,
    )


def _recomputed(
    candidacy: Candidacy,
    service: str,
    rows: Mapping[UUID, Mapping[str, Any]],
    now: Sequence[Mapping[str, Any]],
) -> Recomputed:
    """Compute the rate from the evidence that the log holds, and from the log as it is now."""
    holding = [
        row
        for row in rows.values()
        if row["service"] == service and row["breached_at"] <= candidacy.window_end
    ]
    again = Rate(measured=candidacy.measured, breached=len(holding))
    current = Rate(now[0]["measured"], now[0]["breached"]) if now else Rate(0, 0)
    return Recomputed(
        breached=again.breached,
        lower_bound_millionths=again.lower_bound_millionths,
        agrees=again.lower_bound_millionths == candidacy.lower_bound_millionths,
        missing=len(candidacy.evidence) - len(holding),
        withdrawn=sum(row["withdrawn_at"] is not None for row in holding),
        measured_now=current.measured,
        breached_now=current.breached,
        lower_bound_millionths_now=current.lower_bound_millionths,
    )


def _breach(id_: UUID, row: Mapping[str, Any] | None) -> Breach:
    """Return one breach of the evidence, as the log has it."""
    return Breach(
        id=id_,
        found=row is not None,
        request_id=None if row is None else row["request_id"],
        service=None if row is None else row["service"],
        breached_at=None if row is None else row["breached_at"],
        withdrawn_at=None if row is None else row["withdrawn_at"],
    )
