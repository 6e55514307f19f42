from datetime import timedelta
from uuid import uuid5

from casebook.events.definitions import CLOSURE_SURVEY
from casebook.events.quality import SurveyAnswered, SurveySent
from casebook.events.request import RequestCancelled, RequestClosed
from casebook.kit.decider import SealedText
from casebook.quality.domain.survey import FAMILY, Survey, answer, guard, send
from casebook.quality.reactions import REACTIONS, send_survey
from tests.unit.quality.given import CLOSING, NOON, REQUEST_ID, At, fact, given, observed, refusal

SENT = SurveySent(survey=CLOSURE_SURVEY.reference)
ANSWERED = SurveyAnswered(satisfaction=5)
NEVER = given(FAMILY)
ASKED = given(FAMILY, At(SENT, cause=CLOSING))
DONE = given(FAMILY, At(SENT, cause=CLOSING), At(ANSWERED, NOON + timedelta(hours=1)))


# --- sending ------------------------------------------------------------------------------------


def test_the_requester_is_asked_about_the_closure() -> None:
    assert send(NEVER, closure=CLOSING) == [SENT]


def test_one_closure_asks_once() -> None:
    assert send(ASKED, closure=CLOSING) == []


def test_a_later_closure_asks_again_who_has_not_answered() -> None:
    assert send(ASKED, closure=uuid5(CLOSING, "later")) == [SENT]


def test_a_later_closure_does_not_ask_again_who_has_answered() -> None:
    assert send(DONE, closure=uuid5(CLOSING, "later")) == []


def test_a_closed_request_leads_to_its_survey() -> None:
    closed = fact(At(RequestClosed(basis="confirmed"), id=CLOSING))
    [reaction] = REACTIONS
    assert isinstance(closed.event, reaction.on)
    assert reaction.target(closed) == f"survey/{REQUEST_ID}"
    assert reaction.decide(NEVER, closed) == [SENT]
    assert send_survey(ASKED, closed) == []


def test_a_cancelled_request_leads_to_no_survey() -> None:
    assert not any(isinstance(RequestCancelled(), reaction.on) for reaction in REACTIONS)


# --- answering ----------------------------------------------------------------------------------


PEOPLE = {"by": "wang.fang", "worked_by": "li.na"}


def test_the_answer_is_recorded() -> None:
    assert answer(ASKED, satisfaction=2, comment="慢", **PEOPLE) == [
        SurveyAnswered(satisfaction=2, comment="慢")
    ]


def test_the_same_score_again_adds_nothing() -> None:
    assert answer(DONE, satisfaction=5, comment=None, **PEOPLE) == []


def test_another_answer_is_refused() -> None:
    code = "survey-already-answered"
    assert refusal(lambda: answer(DONE, satisfaction=4, comment=None, **PEOPLE)) == code
    assert refusal(lambda: answer(DONE, satisfaction=5, comment="and more", **PEOPLE)) == code


def test_who_was_not_asked_cannot_answer() -> None:
    code = refusal(lambda: answer(NEVER, satisfaction=5, comment=None, **PEOPLE))
    assert code == "survey-not-sent"


def test_nobody_scores_their_own_work() -> None:
    same = {"by": "li.na", "worked_by": "li.na"}
    assert refusal(lambda: answer(ASKED, satisfaction=5, comment=None, **same)) == "own-work"


# --- what another system publishes --------------------------------------------------------------


def test_a_published_answer_needs_a_survey() -> None:
    guard(ASKED, ANSWERED)
    guard(NEVER, SENT)
    assert refusal(lambda: guard(NEVER, ANSWERED)) == "survey-not-sent"
    assert refusal(lambda: guard(DONE, ANSWERED)) == "survey-already-answered"
    assert refusal(lambda: guard(DONE, SENT)) == "survey-already-answered"


# --- folding ------------------------------------------------------------------------------------


def test_the_comment_stays_sealed() -> None:
    survey: Survey = given(FAMILY, SENT, SurveyAnswered(satisfaction=1, comment="糟糕"))
    assert isinstance(survey.comment, SealedText)
    assert survey.comment.field == "comment"


def test_a_survey_is_live_from_its_first_live_fact_on() -> None:
    assert given(FAMILY, observed(SENT)).origin == "observed"
    assert given(FAMILY, observed(SENT), ANSWERED).origin == "live"
    assert given(FAMILY, SENT, observed(ANSWERED)).origin == "live"


def test_folding_takes_an_answer_to_nothing() -> None:
    survey = given(FAMILY, observed(ANSWERED))
    assert (survey.answered, survey.sent) == (True, False)
