"""The risk: from identification over assessment and treatment to closure (handbook 5.1 to 5.3).

Assumption: of chapter 5 only the headings are known. A person registers a risk, or the log
shows a candidate; both are assessed, treated and closed alike. This module folds the facts; the
rules are in :mod:`casebook.risk.domain.register`.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from casebook.events.envelope import Envelope
from casebook.events.risk import (
    RiskAssessed,
    RiskCandidateRaised,
    RiskCandidateRecovered,
    RiskClosed,
    RiskEvent,
    RiskRegistered,
    RiskTreatmentCompleted,
    RiskTreatmentPlanned,
)
from casebook.kit.decider import Access, SealedText, StoredMoment, sealed_text


class Status(StrEnum):
    """How far the handling of a risk is."""

    UNKNOWN = "unknown"
    CANDIDATE = "candidate"
    RECOVERED = "recovered"
    IDENTIFIED = "identified"
    ASSESSED = "assessed"
    TREATING = "treating"
    TREATED = "treated"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Candidacy:
    """What the log showed when the candidate was raised."""

    rule: str
    rule_version: int
    window_start: StoredMoment
    window_end: StoredMoment
    measured: int
    lower_bound_millionths: int
    tolerance_millionths: int
    recovered_at: StoredMoment | None = None
    evidence: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Assessment:
    """One judgement of likelihood and impact."""

    likelihood: int
    impact: int
    score: int
    rating: str
    scale_version: int
    assessed_by: str
    assessed_at: StoredMoment
    reason: SealedText | None = None


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done about the risk, by whom, until when."""

    strategy: str
    owner: str
    due_at: StoredMoment | None
    plan: SealedText | None
    planned_at: StoredMoment
    completed_at: StoredMoment | None = None
    result: SealedText | None = None


@dataclass(frozen=True, slots=True)
class Risk:
    """A risk as its facts tell it."""

    status: Status = Status.UNKNOWN
    origin: str = "observed"
    category: str = ""
    service: str | None = None
    owner: str | None = None
    title: SealedText | None = None
    description: SealedText | None = None
    opened_by: str | None = None
    opened_at: StoredMoment | None = None
    updated_at: StoredMoment | None = None
    candidacy: Candidacy | None = None
    inherent: Assessment | None = None
    residual: Assessment | None = None
    treatment: Treatment | None = None
    closed_at: StoredMoment | None = None
    closed_by: str | None = None
    closing_reason: SealedText | None = None


def access(risk: Risk) -> Access:
    """Return whose risk it is: for those who may only see what they reported themselves."""
    return Access(requester=risk.opened_by)


def evolve(risk: Risk, event: RiskEvent, envelope: Envelope) -> Risk:
    """Return the risk after ``event``; total, and never refuses."""
    risk = replace(
        _changed(risk, event, envelope),
        origin="live" if envelope.origin == "live" else risk.origin,
        updated_at=envelope.time,
    )
    return replace(risk, status=_status(risk))


def _changed(risk: Risk, event: RiskEvent, envelope: Envelope) -> Risk:
    match event:
        case RiskRegistered():
            return _registered(risk, event, envelope)
        case RiskCandidateRaised():
            return replace(
                risk,
                category=event.category,
                service=event.service,
                opened_by=_person(envelope),
                opened_at=envelope.time,
                candidacy=_candidacy(event),
            )
        case RiskCandidateRecovered():
            if risk.candidacy is None:
                return risk
            return replace(risk, candidacy=replace(risk.candidacy, recovered_at=envelope.time))
        case RiskAssessed():
            assessment = _assessment(event, envelope)
            if event.stage == "residual":
                return replace(risk, residual=assessment)
            return replace(risk, inherent=assessment)
        case RiskTreatmentPlanned():
            return replace(risk, treatment=_treatment(event, envelope))
        case RiskTreatmentCompleted():
            if risk.treatment is None:
                return risk
            completed = replace(
                risk.treatment,
                completed_at=envelope.time,
                result=sealed_text(event.result, envelope, "result"),
            )
            return replace(risk, treatment=completed)
        case RiskClosed():
            return replace(
                risk,
                closed_at=envelope.time,
                closed_by=_person(envelope),
                closing_reason=sealed_text(event.reason, envelope, "reason"),
            )
        case _:
            assert_never(event)


def _registered(risk: Risk, event: RiskRegistered, envelope: Envelope) -> Risk:
    return replace(
        risk,
        category=event.category,
        service=event.service,
        owner=event.owner,
        title=sealed_text(event.title, envelope, "title"),
        description=sealed_text(event.description, envelope, "description"),
        opened_by=_person(envelope),
        opened_at=envelope.time,
    )


def _candidacy(event: RiskCandidateRaised) -> Candidacy:
    return Candidacy(
        rule=event.rule.id,
        rule_version=event.rule.version,
        window_start=event.window_start,
        window_end=event.window_end,
        measured=event.measured,
        evidence=event.evidence,
        lower_bound_millionths=event.lower_bound_millionths,
        tolerance_millionths=event.tolerance_millionths,
    )


def _assessment(event: RiskAssessed, envelope: Envelope) -> Assessment:
    return Assessment(
        likelihood=event.likelihood,
        impact=event.impact,
        score=event.score,
        rating=event.rating,
        scale_version=event.scale.version,
        assessed_by=_person(envelope),
        assessed_at=envelope.time,
        reason=sealed_text(event.reason, envelope, "reason"),
    )


def _treatment(event: RiskTreatmentPlanned, envelope: Envelope) -> Treatment:
    return Treatment(
        strategy=event.strategy,
        owner=event.owner,
        due_at=event.due_at,
        plan=sealed_text(event.plan, envelope, "plan"),
        planned_at=envelope.time,
    )


def _person(envelope: Envelope) -> str:
    """Return who did it, by the name that owners of risks and treatments have."""
    return envelope.actor.removeprefix("user:")


def _status(risk: Risk) -> Status:
    """Return the status that follows from the rest: the furthest that was reached."""
    if risk.opened_at is None:
        return Status.UNKNOWN
    if risk.closed_at is not None:
        return Status.CLOSED
    if risk.treatment is not None:
        return Status.TREATING if risk.treatment.completed_at is None else Status.TREATED
    if risk.inherent is not None:
        return Status.ASSESSED
    if risk.candidacy is not None:
        return Status.CANDIDATE if risk.candidacy.recovered_at is None else Status.RECOVERED
    return Status.IDENTIFIED
