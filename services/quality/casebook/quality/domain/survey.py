"""The survey of a request: is the requester satisfied (handbook 1.3, customer orientation).

Assumption: the handbook asks for regular satisfaction surveys and says no more; here everyone is
asked once after their request was closed. Whoever was asked is the requester of the request,
so the policy, not this module, keeps everybody else from answering.
"""

from dataclasses import dataclass, replace
from typing import assert_never
from uuid import UUID

from casebook.events.definitions import CLOSURE_SURVEY
from casebook.events.envelope import Envelope
from casebook.events.quality import SurveyAnswered, SurveyEvent, SurveySent
from casebook.kit.decider import Refused, SealedText, StoredMoment, StreamFamily, sealed_text


@dataclass(frozen=True, slots=True)
class Survey:
    """A survey as its facts tell it; ``origin`` is live once anything of it happened here."""

    origin: str = "observed"
    sent_count: int = 0
    sent_at: StoredMoment | None = None
    closure: UUID | None = None
    satisfaction: int | None = None
    comment: SealedText | None = None
    answered_at: StoredMoment | None = None

    @property
    def sent(self) -> bool:
        """Say whether the requester was asked."""
        return self.sent_count > 0

    @property
    def answered(self) -> bool:
        """Say whether the requester has answered."""
        return self.satisfaction is not None


def evolve(survey: Survey, event: SurveyEvent, envelope: Envelope) -> Survey:
    """Return the survey after ``event``; total, and never refuses."""
    origin = "live" if envelope.origin == "live" else survey.origin
    match event:
        case SurveySent():
            return replace(
                survey,
                origin=origin,
                sent_count=survey.sent_count + 1,
                sent_at=envelope.time,
                closure=envelope.causationid,
            )
        case SurveyAnswered():
            return replace(
                survey,
                origin=origin,
                satisfaction=event.satisfaction,
                comment=sealed_text(event.comment, envelope, "comment"),
                answered_at=envelope.time,
            )
        case _:
            assert_never(event)


def send(survey: Survey, *, closure: UUID) -> list[SurveyEvent]:
    """Ask the requester about the closure that the event ``closure`` tells of.

    Assumption: who has answered is not asked again after a reopening; who has not, is.
    """
    if survey.answered or survey.closure == closure:
        return []
    return [SurveySent(survey=CLOSURE_SURVEY.reference)]


def answer(
    survey: Survey, *, satisfaction: int, comment: str | None, by: str, worked_by: str | None
) -> list[SurveyEvent]:
    """Record how satisfied the requester is, from 1 to 5; the same score again adds nothing.

    A comment cannot be compared, because it is sealed; so a second answer that has one, or
    comes after one, is another answer. ``worked_by`` is the agent who has the work.

    :raises Refused: ``own-work`` when ``by`` would score themselves, ``survey-not-sent`` when
        nobody was asked, ``survey-already-answered`` for another answer.
    """
    if by == worked_by:
        raise Refused("own-work", "nobody scores a request that they worked on")
    if not survey.sent:
        raise Refused("survey-not-sent", "the survey is sent when the request is closed")
    if survey.answered:
        if survey.satisfaction == satisfaction and survey.comment is None and comment is None:
            return []
        raise Refused("survey-already-answered", "a survey is answered once")
    return [SurveyAnswered(satisfaction=satisfaction, comment=comment)]


def guard(survey: Survey, event: SurveyEvent) -> None:
    """Hold what another system publishes to the rules of the commands.

    :raises Refused: ``survey-already-answered``, or ``survey-not-sent`` for an answer to nothing.
    """
    if survey.answered:
        raise Refused("survey-already-answered", "a survey is answered once")
    if isinstance(event, SurveyAnswered) and not survey.sent:
        raise Refused("survey-not-sent", "nobody was asked")


FAMILY: StreamFamily[Survey] = StreamFamily(
    name="survey", initial=Survey(), evolve=evolve, guard=guard
)
