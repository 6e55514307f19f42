"""Facts about surveys, nonconformities and links, written by quality.

Handbook 1.3, 3.3, 3.4, 4.3.
"""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from casebook.events.event import Audience, Event
from casebook.events.values import DefinitionReference, Label, Score, SecretText


class _Survey(Event):
    family: ClassVar[str] = "survey"
    audience: ClassVar[Audience] = "customer"


class SurveySent(_Survey):
    """The requester of the request was asked how satisfied they are (handbook 1.3)."""

    type: ClassVar[str] = "casebook.survey.sent.v1"
    survey: DefinitionReference


class SurveyAnswered(_Survey):
    """The requester answered, from 1 (very dissatisfied) to 5 (very satisfied)."""

    type: ClassVar[str] = "casebook.survey.answered.v1"
    satisfaction: Score
    comment: SecretText | None = None


SurveyEvent = SurveySent | SurveyAnswered


class NonconformityRaised(Event):
    """A control found a request that did not follow the process (handbook 3.3, 3.4)."""

    type: ClassVar[str] = "casebook.nonconformity.raised.v1"
    family: ClassVar[str] = "nonconformity"
    control: DefinitionReference
    request_id: UUID
    grade: Label
    evidence: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=100)]


NonconformityEvent = NonconformityRaised


class _RequestLink(Event):
    family: ClassVar[str] = "request-link"


class RequestLinkKnowledgeLinked(_RequestLink):
    """A knowledge article was used for the request (handbook 4.3)."""

    type: ClassVar[str] = "casebook.request-link.knowledge-linked.v1"
    article: Label | None = None


class RequestLinkKnowledgeUnlinked(_RequestLink):
    """The knowledge article is no longer said to be used."""

    type: ClassVar[str] = "casebook.request-link.knowledge-unlinked.v1"
    article: Label | None = None


class RequestLinkProblemLinked(_RequestLink):
    """The request belongs to this problem."""

    type: ClassVar[str] = "casebook.request-link.problem-linked.v1"
    problem: Label


RequestLinkEvent = (
    RequestLinkKnowledgeLinked | RequestLinkKnowledgeUnlinked | RequestLinkProblemLinked
)
