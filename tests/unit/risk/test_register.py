from datetime import timedelta
from typing import Any

import pytest

from casebook.events.definitions import RISK_SCALE
from casebook.events.event import Event
from casebook.events.risk import (
    RiskAssessed,
    RiskClosed,
    RiskRegistered,
    RiskTreatmentCompleted,
    RiskTreatmentPlanned,
)
from casebook.kit.decider import SealedText
from casebook.risk.domain.assessment import rating_of, score_of
from casebook.risk.domain.register import (
    STRATEGIES,
    assess,
    close,
    complete_treatment,
    guard,
    plan_treatment,
    register,
)
from casebook.risk.domain.risk import Risk, Status, access
from tests.unit.risk.given import (
    ASSESSED,
    CANDIDATE,
    CLOSED,
    COMPLETED,
    NOON,
    PLANNED,
    RECOVERED,
    REGISTERED,
    At,
    given,
    refusal,
)

UNKNOWN = given()
IDENTIFIED = given(REGISTERED)
RATED = given(REGISTERED, ASSESSED)
TREATING = given(REGISTERED, ASSESSED, PLANNED)
TREATED = given(REGISTERED, ASSESSED, PLANNED, COMPLETED)
OVER = given(REGISTERED, CLOSED)
WENT_BACK = given(CANDIDATE, RECOVERED)

FOR_ASSESSMENT: dict[str, Any] = {
    "stage": "inherent",
    "likelihood": 4,
    "impact": 5,
    "reason": None,
    "by": "li.na",
}
FOR_TREATMENT: dict[str, Any] = {
    "strategy": "reduce",
    "owner": "sun.li",
    "due_at": None,
    "plan": "第二家供应商",
    "now": NOON,
}


def but(arguments: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return arguments | changes


# --- registering --------------------------------------------------------------------------------


def test_a_risk_is_registered() -> None:
    events = register(
        UNKNOWN,
        category="supplier",
        service=None,
        owner="zhao.min",
        title="备份供应商破产",
        description=None,
    )
    assert events == [REGISTERED]


def test_a_known_risk_is_not_registered_again() -> None:
    code = refusal(
        lambda: register(
            IDENTIFIED, category="a", service=None, owner="b", title="c", description=None
        )
    )
    assert code == "risk-already-registered"


# --- assessing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "rating"),
    [
        (1, "low"),
        (4, "low"),
        (5, "medium"),
        (9, "medium"),
        (10, "high"),
        (16, "high"),
        (20, "extreme"),
        (25, "extreme"),
    ],
)
def test_the_scale_rates_a_score(score: int, rating: str) -> None:
    assert rating_of(score) == rating


def test_every_cell_of_the_matrix_has_a_rating_that_never_falls() -> None:
    ratings = ["low", "medium", "high", "extreme"]
    for likelihood in range(1, 6):
        row = [ratings.index(rating_of(score_of(likelihood, impact))) for impact in range(1, 6)]
        assert row == sorted(row)


def test_an_assessment_gives_score_and_rating() -> None:
    assert assess(IDENTIFIED, **FOR_ASSESSMENT) == [ASSESSED]


def test_the_same_assessment_again_adds_nothing() -> None:
    assert assess(RATED, **FOR_ASSESSMENT) == []


def test_another_assessment_replaces_the_one_before() -> None:
    [event] = assess(RATED, **but(FOR_ASSESSMENT, likelihood=2, reason="新合同"))
    assert event == RiskAssessed(
        stage="inherent",
        likelihood=2,
        impact=5,
        score=10,
        rating="high",
        scale=RISK_SCALE.reference,
        reason="新合同",
    )


def test_what_remains_is_assessed_after_a_treatment() -> None:
    residual = but(FOR_ASSESSMENT, stage="residual", likelihood=1)
    assert refusal(lambda: assess(RATED, **residual)) == "treatment-not-planned"
    [event] = assess(TREATED, **residual)
    assert isinstance(event, RiskAssessed)
    assert (event.stage, event.score, event.rating) == ("residual", 5, "medium")


def test_nobody_judges_their_own_treatment() -> None:
    residual = but(FOR_ASSESSMENT, stage="residual", by="sun.li")
    assert refusal(lambda: assess(TREATED, **residual)) == "assessor-owns-treatment"
    assert assess(TREATING, **but(FOR_ASSESSMENT, likelihood=3, by="sun.li"))


# --- treating -----------------------------------------------------------------------------------


def test_an_assessed_risk_gets_a_treatment() -> None:
    assert plan_treatment(RATED, **FOR_TREATMENT) == [PLANNED]


def test_a_new_plan_replaces_the_one_before() -> None:
    events = plan_treatment(TREATED, **but(FOR_TREATMENT, strategy="transfer"))
    assert [event.type for event in events] == [RiskTreatmentPlanned.type]


def test_there_are_four_strategies_for_commands_and_for_published_facts() -> None:
    assert STRATEGIES == ("avoid", "reduce", "transfer", "accept")
    for strategy in STRATEGIES:
        (planned,) = plan_treatment(RATED, **but(FOR_TREATMENT, strategy=strategy))
        assert isinstance(planned, RiskTreatmentPlanned)
        assert planned.strategy == strategy
        guard(RATED, planned)


def test_a_risk_of_unknown_size_is_not_treated() -> None:
    assert refusal(lambda: plan_treatment(IDENTIFIED, **FOR_TREATMENT)) == "risk-not-assessed"


def test_a_treatment_is_due_in_the_future() -> None:
    assert plan_treatment(RATED, **but(FOR_TREATMENT, due_at=NOON + timedelta(days=30)))
    late = but(FOR_TREATMENT, due_at=NOON)
    assert refusal(lambda: plan_treatment(RATED, **late)) == "due-date-passed"


def test_a_treatment_is_completed() -> None:
    assert complete_treatment(TREATING, result="签约") == [RiskTreatmentCompleted(result="签约")]


def test_a_completed_treatment_completed_again_adds_nothing() -> None:
    assert complete_treatment(TREATED, result=None) == []


def test_without_a_treatment_nothing_is_completed() -> None:
    assert refusal(lambda: complete_treatment(RATED, result=None)) == "treatment-not-planned"


# --- closing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("risk", [IDENTIFIED, RATED, TREATED, WENT_BACK])
def test_a_risk_is_closed_with_a_reason(risk: Risk) -> None:
    assert close(risk, reason="合同已终止", by="li.na") == [RiskClosed(reason="合同已终止")]


def test_a_closed_risk_closed_again_adds_nothing() -> None:
    assert close(OVER, reason="again", by="li.na") == []


def test_a_risk_is_not_closed_while_it_is_treated() -> None:
    assert refusal(lambda: close(TREATING, reason="x", by="li.na")) == "treatment-not-completed"


def test_nobody_signs_off_their_own_treatment() -> None:
    assert refusal(lambda: close(TREATED, reason="x", by="sun.li")) == "closer-owns-treatment"


def test_an_unknown_risk_is_not_closed() -> None:
    assert refusal(lambda: close(UNKNOWN, reason="x", by="li.na")) == "risk-unknown"


# --- what no command does to a risk that is not open --------------------------------------------


@pytest.mark.parametrize(
    ("risk", "code"),
    [(UNKNOWN, "risk-unknown"), (OVER, "risk-closed"), (WENT_BACK, "candidate-recovered")],
)
def test_only_an_open_risk_is_worked_on(risk: Risk, code: str) -> None:
    assert refusal(lambda: assess(risk, **FOR_ASSESSMENT)) == code
    assert refusal(lambda: plan_treatment(risk, **FOR_TREATMENT)) == code
    assert refusal(lambda: complete_treatment(risk, result=None)) == code


# --- what another system publishes --------------------------------------------------------------


@pytest.mark.parametrize(
    ("risk", "event"),
    [
        (UNKNOWN, REGISTERED),
        (UNKNOWN, CANDIDATE),
        (given(CANDIDATE), RECOVERED),
        (IDENTIFIED, ASSESSED),
        (RATED, PLANNED),
        (TREATING, COMPLETED),
        (TREATED, ASSESSED.model_copy(update={"stage": "residual"})),
        (IDENTIFIED, CLOSED),
    ],
)
def test_a_published_fact_that_fits_is_taken(risk: Risk, event: Any) -> None:
    guard(risk, event)


@pytest.mark.parametrize(
    ("risk", "event", "code"),
    [
        (IDENTIFIED, REGISTERED, "risk-already-registered"),
        (IDENTIFIED, CANDIDATE, "risk-already-registered"),
        (IDENTIFIED, RECOVERED, "not-an-open-candidate"),
        (WENT_BACK, RECOVERED, "not-an-open-candidate"),
        (UNKNOWN, RECOVERED, "risk-unknown"),
        (UNKNOWN, ASSESSED, "risk-unknown"),
        (OVER, ASSESSED, "risk-closed"),
        (WENT_BACK, ASSESSED, "candidate-recovered"),
        (RATED, ASSESSED.model_copy(update={"stage": "residual"}), "treatment-not-planned"),
        (IDENTIFIED, ASSESSED.model_copy(update={"stage": "someday"}), "unknown-stage"),
        (IDENTIFIED, ASSESSED.model_copy(update={"score": 9}), "score-mismatch"),
        (IDENTIFIED, ASSESSED.model_copy(update={"rating": "low"}), "score-mismatch"),
        (IDENTIFIED, PLANNED, "risk-not-assessed"),
        (RATED, PLANNED.model_copy(update={"strategy": "pray"}), "unknown-strategy"),
        (RATED, COMPLETED, "treatment-not-planned"),
        (OVER, CLOSED, "risk-closed"),
    ],
)
def test_a_published_fact_that_does_not_fit_is_refused(risk: Risk, event: Any, code: str) -> None:
    assert refusal(lambda: guard(risk, event)) == code


# --- folding ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "status"),
    [
        ([], Status.UNKNOWN),
        ([REGISTERED], Status.IDENTIFIED),
        ([CANDIDATE], Status.CANDIDATE),
        ([CANDIDATE, RECOVERED], Status.RECOVERED),
        ([CANDIDATE, ASSESSED, RECOVERED], Status.ASSESSED),
        ([REGISTERED, ASSESSED, PLANNED], Status.TREATING),
        ([REGISTERED, ASSESSED, PLANNED, COMPLETED], Status.TREATED),
        ([REGISTERED, ASSESSED, PLANNED, COMPLETED, PLANNED], Status.TREATING),
        ([CANDIDATE, CLOSED, RECOVERED], Status.CLOSED),
        ([RECOVERED, COMPLETED], Status.UNKNOWN),
    ],
)
def test_the_status_follows_from_the_facts(items: list[Event], status: Status) -> None:
    assert given(*items).status is status


def test_text_stays_sealed() -> None:
    risk = given(REGISTERED, ASSESSED, PLANNED, COMPLETED, CLOSED)
    assert risk.treatment is not None
    assert all(
        isinstance(text, SealedText)
        for text in (risk.title, risk.treatment.plan, risk.closing_reason)
    )


def test_a_risk_belongs_to_who_reported_it() -> None:
    assert access(given(At(REGISTERED, actor="user:wang.fang"))).requester == "wang.fang"


def test_a_risk_is_live_from_its_first_live_fact_on() -> None:
    assert given(At(REGISTERED, origin="observed")).origin == "observed"
    assert given(At(REGISTERED, origin="observed"), ASSESSED).origin == "live"


def test_registering_keeps_what_was_said() -> None:
    event = RiskRegistered(category="a", service="mail", owner="b", title="c", description="d")
    risk = given(event)
    assert (risk.category, risk.service, risk.owner) == ("a", "mail", "b")
    assert risk.opened_at == NOON
