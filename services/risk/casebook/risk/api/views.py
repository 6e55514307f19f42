"""What a client gets: risks, the heat map, evidence, with text as plain text."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from casebook.kit.http.pagination import Page
from casebook.risk.domain.risk import Assessment, Candidacy, Risk, Treatment

ID = "0197a3c2-7d1e-7a60-8f3e-2b1c5d4e6f70"
OTHER_ID = "5c6f1a52-3c1f-5d0c-9b77-0a8de3a0f0c1"
MOMENT = "2026-03-02T08:00:00Z"
_ASSESSMENT: JsonDict = {
    "likelihood": 3,
    "impact": 4,
    "score": 12,
    "rating": "high",
    "scale_version": 1,
    "assessed_by": "li.na",
    "assessed_at": MOMENT,
}
_RECEIPT: JsonDict = {
    "id": ID,
    "status": "assessed",
    "kind": "registered",
    "origin": "live",
    "category": "supplier",
    "service": "backup",
    "owner": "zhao.min",
    "opened_by": "li.na",
    "opened_at": MOMENT,
    "updated_at": MOMENT,
    "score": 12,
    "rating": "high",
    "strategy": None,
    "due_at": None,
}
_CANDIDACY: JsonDict = {
    "rule": "resolution-breach-rate",
    "rule_version": 1,
    "window_start": "2026-02-02T08:00:00Z",
    "window_end": MOMENT,
    "measured": 20,
    "breached": 6,
    "rate": 0.3,
    "lower_bound_millionths": 145477,
    "tolerance_millionths": 100000,
    "recovered_at": None,
}
_CELL: JsonDict = {"likelihood": 3, "impact": 4, "score": 12, "rating": "high", "risks": 2}


class View(BaseModel):
    """Something that a client reads."""

    model_config = ConfigDict(frozen=True)


class AssessmentView(View):
    """One judgement of likelihood and impact."""

    model_config = ConfigDict(json_schema_extra={"example": _ASSESSMENT | {"reason": "两次延迟"}})
    likelihood: int
    impact: int
    score: int
    rating: str
    scale_version: int
    assessed_by: str
    assessed_at: datetime
    reason: str | None = None

    @classmethod
    def of(cls, assessment: Assessment | None, reason: str | None) -> "AssessmentView | None":
        """Return the view of an assessment, if there is one."""
        if assessment is None:
            return None
        return cls(
            likelihood=assessment.likelihood,
            impact=assessment.impact,
            score=assessment.score,
            rating=assessment.rating,
            scale_version=assessment.scale_version,
            assessed_by=assessment.assessed_by,
            assessed_at=assessment.assessed_at,
            reason=reason,
        )


class TreatmentView(View):
    """What is done about a risk."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "strategy": "reduce",
                "owner": "sun.li",
                "due_at": MOMENT,
                "plan": "与第二家供应商签约。",
                "planned_at": MOMENT,
                "completed_at": None,
                "result": None,
            }
        }
    )
    strategy: str
    owner: str
    due_at: datetime | None
    plan: str | None
    planned_at: datetime
    completed_at: datetime | None
    result: str | None

    @classmethod
    def of(
        cls, treatment: Treatment | None, plan: str | None, result: str | None
    ) -> "TreatmentView | None":
        """Return the view of a treatment, if there is one."""
        if treatment is None:
            return None
        return cls(
            strategy=treatment.strategy,
            owner=treatment.owner,
            due_at=treatment.due_at,
            plan=plan,
            planned_at=treatment.planned_at,
            completed_at=treatment.completed_at,
            result=result,
        )


class CandidacyView(View):
    """What the log showed when the candidate was raised; the evidence is read on its own."""

    model_config = ConfigDict(json_schema_extra={"example": _CANDIDACY})
    rule: str
    rule_version: int
    window_start: datetime
    window_end: datetime
    measured: int = Field(description="Resolution clocks that stopped or breached in the window")
    breached: int
    rate: float
    lower_bound_millionths: int = Field(description="Of the 95 % Wilson interval of the rate")
    tolerance_millionths: int
    recovered_at: datetime | None

    @classmethod
    def of(cls, candidacy: Candidacy) -> "CandidacyView":
        """Return the view of a candidacy."""
        breached = len(candidacy.evidence)
        return cls(
            rule=candidacy.rule,
            rule_version=candidacy.rule_version,
            window_start=candidacy.window_start,
            window_end=candidacy.window_end,
            measured=candidacy.measured,
            breached=breached,
            rate=breached / candidacy.measured,
            lower_bound_millionths=candidacy.lower_bound_millionths,
            tolerance_millionths=candidacy.tolerance_millionths,
            recovered_at=candidacy.recovered_at,
        )


class RiskReceipt(View):
    """Where a risk stands; its text is read with the risk itself."""

    model_config = ConfigDict(json_schema_extra={"example": _RECEIPT})
    id: UUID
    status: str = Field(
        description="candidate, recovered, identified, assessed, treating, treated or closed"
    )
    kind: str = Field(description="registered by a person, or a candidate that the log shows")
    origin: str = Field(description="live, or observed in another system")
    category: str
    service: str | None
    owner: str | None
    opened_by: str | None
    opened_at: datetime | None
    updated_at: datetime | None
    score: int | None = Field(description="Of what remains after treatment, else inherent")
    rating: str | None = Field(description="low, medium, high or extreme")
    strategy: str | None
    due_at: datetime | None

    @classmethod
    def of(cls, stream: str, version: int, risk: Risk) -> "RiskReceipt":
        """Return the receipt for a risk's stream."""
        return cls(**receipt_fields(stream, risk))


class RiskSummary(RiskReceipt):
    """A risk in the register."""

    model_config = ConfigDict(
        json_schema_extra={"example": _RECEIPT | {"title": "备份供应商可能破产"}}
    )
    title: str | None = Field(description="Nothing for candidates, and when it was erased")


class RiskDetail(RiskSummary):
    """A risk with everything that was said about it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": _RECEIPT
            | {
                "title": "备份供应商可能破产",
                "description": "第三季度起未按时交付备份介质。",
                "inherent": _ASSESSMENT,
                "residual": None,
                "treatment": None,
                "candidacy": None,
                "closed_at": None,
                "closed_by": None,
                "closing_reason": None,
            }
        }
    )
    description: str | None
    inherent: AssessmentView | None
    residual: AssessmentView | None
    treatment: TreatmentView | None
    candidacy: CandidacyView | None
    closed_at: datetime | None
    closed_by: str | None
    closing_reason: str | None


class Cell(View):
    """How many open risks lie in one cell of the 5 × 5 matrix."""

    model_config = ConfigDict(json_schema_extra={"example": _CELL})
    likelihood: int
    impact: int
    score: int
    rating: str
    risks: int


class HeatMap(View):
    """Open risks by likelihood and impact: what remains after treatment, else inherent."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"scale": "risk-scale", "version": 1, "cells": [_CELL], "unassessed": 1}
        }
    )
    scale: str
    version: int
    cells: list[Cell] = Field(description="All 25, from likelihood 1 and impact 1 on")
    unassessed: int


class Breach(View):
    """A breach that a candidate counts, looked up in the log."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": OTHER_ID,
                "found": True,
                "request_id": ID,
                "service": "mail",
                "breached_at": MOMENT,
                "withdrawn_at": None,
            }
        }
    )
    id: UUID
    found: bool = Field(description="Whether the log holds it")
    request_id: UUID | None
    service: str | None
    breached_at: datetime | None
    withdrawn_at: datetime | None = Field(description="When it turned out not to have happened")


class Recomputed(View):
    """The rate computed anew: from the evidence, and from the log as it is now."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "breached": 6,
                "lower_bound_millionths": 145477,
                "agrees": True,
                "missing": 0,
                "withdrawn": 0,
                "measured_now": 20,
                "breached_now": 6,
                "lower_bound_millionths_now": 145477,
            }
        }
    )
    breached: int = Field(description="Evidence that the log holds, of this service, in the window")
    lower_bound_millionths: int
    agrees: bool = Field(description="Whether that is the candidate's own figure")
    missing: int = Field(description="Evidence that the log does not hold so")
    withdrawn: int = Field(description="Evidence that was withdrawn since")
    measured_now: int = Field(description="The same window, as the log tells of it now")
    breached_now: int
    lower_bound_millionths_now: int


class Evidence(View):
    """What a candidate rests on, and whether it holds."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "candidacy": _CANDIDACY,
                "recomputed": {
                    "breached": 6,
                    "lower_bound_millionths": 145477,
                    "agrees": True,
                    "missing": 0,
                    "withdrawn": 0,
                    "measured_now": 20,
                    "breached_now": 6,
                    "lower_bound_millionths_now": 145477,
                },
                "breaches": [],
            }
        }
    )
    candidacy: CandidacyView
    recomputed: Recomputed
    breaches: list[Breach]


class RiskPage(Page[RiskSummary]):
    """A page of the register, the last opened first."""


def receipt_fields(stream: str, risk: Risk) -> dict[str, Any]:
    """Return the fields that every view of a risk has."""
    current = risk.residual or risk.inherent
    treatment = risk.treatment
    return {
        "id": UUID(stream.rpartition("/")[2]),
        "status": risk.status,
        "kind": "registered" if risk.candidacy is None else "candidate",
        "origin": risk.origin,
        "category": risk.category,
        "service": risk.service,
        "owner": risk.owner,
        "opened_by": risk.opened_by,
        "opened_at": risk.opened_at,
        "updated_at": risk.updated_at,
        "score": None if current is None else current.score,
        "rating": None if current is None else current.rating,
        "strategy": None if treatment is None else treatment.strategy,
        "due_at": None if treatment is None else treatment.due_at,
    }
