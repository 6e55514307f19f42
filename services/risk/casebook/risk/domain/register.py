"""The rules of the risk register: who may say what about a risk, and when (handbook 5.1 to 5.3).

Assumption: handbook chapter 5 has headings only. Duties are apart: whoever owns a treatment
judges neither what it left of the risk nor that the risk is over. Text is sealed in the log and
cannot be compared, so what differs in its text alone counts as new.
"""

from datetime import datetime
from typing import Literal, assert_never, get_args

from casebook.events.definitions import BREACH_RATE_RULE, RISK_SCALE
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
from casebook.kit.decider import Refused, StreamFamily
from casebook.risk.domain.assessment import rating_of, score_of
from casebook.risk.domain.breach_rate import Measurement, Rate
from casebook.risk.domain.risk import Risk, Status, access, evolve

Stage = Literal["inherent", "residual"]
Strategy = Literal["avoid", "reduce", "transfer", "accept"]
STAGES: tuple[str, ...] = get_args(Stage)
STRATEGIES: tuple[str, ...] = get_args(Strategy)
"""Handbook 5.2 is a heading; the four strategies are those of ISO 31000 practice."""
CANDIDATE_CATEGORY = "service-level"


def register(
    risk: Risk,
    *,
    category: str,
    service: str | None,
    owner: str,
    title: str,
    description: str | None,
) -> list[RiskEvent]:
    """Enter a risk into the register.

    :raises Refused: ``risk-already-registered`` when it is there.
    """
    _ensure_new(risk)
    return [
        RiskRegistered(
            category=category, service=service, owner=owner, title=title, description=description
        )
    ]


def raise_candidate(risk: Risk, *, service: str, measurement: Measurement) -> list[RiskEvent]:
    """Propose a service's breach rate as a risk; once is enough."""
    if risk.status is not Status.UNKNOWN:
        return []
    return [
        RiskCandidateRaised(
            rule=BREACH_RATE_RULE.reference,
            category=CANDIDATE_CATEGORY,
            service=service,
            window_start=measurement.window_start,
            window_end=measurement.window_end,
            measured=measurement.rate.measured,
            evidence=measurement.evidence,
            lower_bound_millionths=measurement.rate.lower_bound_millionths,
            tolerance_millionths=BREACH_RATE_RULE.body.tolerance_millionths,
        )
    ]


def recover(risk: Risk, *, rate: Rate) -> list[RiskEvent]:
    """Record that the rate of a candidate is back within the tolerance; once is enough."""
    if risk.candidacy is None or risk.candidacy.recovered_at is not None:
        return []
    return [
        RiskCandidateRecovered(
            measured=rate.measured,
            breached=rate.breached,
            lower_bound_millionths=rate.lower_bound_millionths,
        )
    ]


def assess(
    risk: Risk, *, stage: Stage, likelihood: int, impact: int, reason: str | None, by: str
) -> list[RiskEvent]:
    """Judge likelihood and impact, 1 to 5 each; the same judgement again adds nothing.

    :raises Refused: ``risk-unknown``, ``risk-closed``, ``candidate-recovered``;
        ``treatment-not-planned`` for what remains after no treatment; ``assessor-owns-treatment``
        when ``by`` would judge their own treatment.
    """
    _ensure_open(risk)
    if stage == "residual":
        _ensure_treated(risk)
        if risk.treatment is not None and risk.treatment.owner == by:
            raise Refused(
                "assessor-owns-treatment", "what a treatment left is judged by somebody else"
            )
    last = risk.residual if stage == "residual" else risk.inherent
    if last is not None and (last.likelihood, last.impact) == (likelihood, impact):
        return []
    score = score_of(likelihood, impact)
    return [
        RiskAssessed(
            stage=stage,
            likelihood=likelihood,
            impact=impact,
            score=score,
            rating=rating_of(score),
            scale=RISK_SCALE.reference,
            reason=reason,
        )
    ]


def plan_treatment(
    risk: Risk,
    *,
    strategy: Strategy,
    owner: str,
    due_at: datetime | None,
    plan: str,
    now: datetime,
) -> list[RiskEvent]:
    """Say what will be done about an assessed risk; a new plan replaces the one before.

    :raises Refused: ``risk-unknown``, ``risk-closed``, ``candidate-recovered``;
        ``risk-not-assessed`` before it is known how big it is; ``due-date-passed`` for a date
        that is not to come.
    """
    _ensure_open(risk)
    _ensure_assessed(risk)
    if due_at is not None and due_at <= now:
        raise Refused("due-date-passed", "a treatment is due in the future")
    return [RiskTreatmentPlanned(strategy=strategy, owner=owner, due_at=due_at, plan=plan)]


def complete_treatment(risk: Risk, *, result: str | None) -> list[RiskEvent]:
    """Say that the planned treatment is in place; saying it again adds nothing.

    :raises Refused: ``risk-unknown``, ``risk-closed``, ``candidate-recovered``;
        ``treatment-not-planned`` when there is nothing to complete.
    """
    _ensure_open(risk)
    _ensure_treated(risk)
    if risk.status is Status.TREATED:
        return []
    return [RiskTreatmentCompleted(result=result)]


def close(risk: Risk, *, reason: str, by: str) -> list[RiskEvent]:
    """Take the risk out of the open part of the register; closing again adds nothing.

    :raises Refused: ``risk-unknown``; ``treatment-not-completed`` while a plan is under way;
        ``closer-owns-treatment`` when ``by`` would sign off their own treatment.
    """
    if risk.status is Status.CLOSED:
        return []
    _ensure_known(risk)
    if risk.status is Status.TREATING:
        raise Refused("treatment-not-completed", "complete the treatment before closing the risk")
    if risk.treatment is not None and risk.treatment.owner == by:
        raise Refused("closer-owns-treatment", "a treated risk is closed by somebody else")
    return [RiskClosed(reason=reason)]


def guard(risk: Risk, event: RiskEvent) -> None:
    """Hold what another system publishes to the rules of the commands.

    :raises Refused: with the codes of the commands; ``unknown-stage``, ``unknown-strategy`` and
        ``score-mismatch`` for values that no command would have written.
    """
    match event:
        case RiskRegistered() | RiskCandidateRaised():
            _ensure_new(risk)
        case RiskCandidateRecovered():
            _ensure_known(risk)
            if risk.candidacy is None or risk.candidacy.recovered_at is not None:
                raise Refused("not-an-open-candidate", "there is no candidate to recover")
        case RiskAssessed():
            _ensure_open(risk)
            _ensure_plausible(event)
            if event.stage == "residual":
                _ensure_treated(risk)
        case RiskTreatmentPlanned():
            _ensure_open(risk)
            _ensure_assessed(risk)
            if event.strategy not in STRATEGIES:
                raise Refused("unknown-strategy", "a strategy is avoid, reduce, transfer or accept")
        case RiskTreatmentCompleted():
            _ensure_open(risk)
            _ensure_treated(risk)
        case RiskClosed():
            _ensure_open(risk)
        case _:
            assert_never(event)


def _ensure_new(risk: Risk) -> None:
    if risk.status is not Status.UNKNOWN:
        raise Refused("risk-already-registered", "a risk of this id is in the register")


def _ensure_known(risk: Risk) -> None:
    if risk.status is Status.UNKNOWN:
        raise Refused("risk-unknown", "no risk of this id is in the register")


def _ensure_open(risk: Risk) -> None:
    _ensure_known(risk)
    if risk.status is Status.CLOSED:
        raise Refused("risk-closed", "the risk is closed")
    if risk.status is Status.RECOVERED:
        raise Refused("candidate-recovered", "the rate went back before the candidate was taken up")


def _ensure_assessed(risk: Risk) -> None:
    if risk.inherent is None:
        raise Refused("risk-not-assessed", "assess the inherent risk before treating it")


def _ensure_treated(risk: Risk) -> None:
    if risk.treatment is None:
        raise Refused("treatment-not-planned", "no treatment has been planned")


def _ensure_plausible(event: RiskAssessed) -> None:
    if event.stage not in STAGES:
        raise Refused("unknown-stage", "a stage is inherent or residual")
    score = score_of(event.likelihood, event.impact)
    if (event.score, event.rating) != (score, rating_of(score)):
        raise Refused("score-mismatch", "score and rating follow from likelihood and impact")


FAMILY: StreamFamily[Risk] = StreamFamily(
    name="risk", initial=Risk(), evolve=evolve, guard=guard, access=access
)
