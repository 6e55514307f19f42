"""What a client gets: surveys, controls, nonconformities, links, with text as plain text."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from casebook.kit.http.pagination import Page
from casebook.quality.domain.nonconformity import Nonconformity
from casebook.quality.domain.request_link import RequestLinks
from casebook.quality.domain.survey import Survey

ID = "0197a3c2-7d1e-7a60-8f3e-2b1c5d4e6f70"
OTHER_ID = "5c6f1a52-3c1f-5d0c-9b77-0a8de3a0f0c1"
MOMENT = "2026-03-02T08:00:00Z"
_RECEIPT: JsonDict = {
    "request_id": ID,
    "status": "answered",
    "origin": "live",
    "sent_at": MOMENT,
    "answered_at": MOMENT,
    "satisfaction": 5,
}
_FINDING: JsonDict = {
    "closing": ID,
    "resolution": OTHER_ID,
    "kind": "not-agreed",
    "basis": "direct",
    "origin": "live",
    "closed_at": MOMENT,
    "closed_by": "user:chen.jie",
    "nonconformity": OTHER_ID,
    "raised": True,
}
_COUNTS: JsonDict = {"observed": 17442, "live": 12}


class View(BaseModel):
    """Something that a client reads."""

    model_config = ConfigDict(frozen=True)


# --- surveys ------------------------------------------------------------------------------------


class SurveyReceipt(View):
    """Where a survey stands after a command; its comment is read with the survey itself."""

    model_config = ConfigDict(json_schema_extra={"example": _RECEIPT})
    request_id: UUID
    status: str = Field(description="sent or answered")
    origin: str = Field(description="live, or observed in another system")
    sent_at: datetime | None
    answered_at: datetime | None
    satisfaction: int | None = Field(description="1 very dissatisfied to 5 very satisfied")

    @classmethod
    def of(cls, stream: str, version: int, survey: Survey) -> "SurveyReceipt":
        """Return the receipt for a survey's stream."""
        return cls(
            request_id=id_of(stream),
            status="answered" if survey.answered else "sent",
            origin=survey.origin,
            sent_at=survey.sent_at,
            answered_at=survey.answered_at,
            satisfaction=survey.satisfaction,
        )


class SurveyView(SurveyReceipt):
    """The survey of a request."""

    model_config = ConfigDict(json_schema_extra={"example": _RECEIPT | {"comment": "谢谢！"}})
    comment: str | None = Field(description="Nothing when it was erased, or never given")


class IntervalView(View):
    """The 95 % interval of a share (Wilson)."""

    low: float
    high: float


class SurveyResults(View):
    """How satisfied requesters are; ``n`` is the number of answers."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "survey": "closure-survey",
                "version": 1,
                "sent": 312,
                "n": 263,
                "satisfied": 81,
                "share": 0.308,
                "interval": {"low": 0.2553, "high": 0.3662},
                "mean": 3.1,
            }
        }
    )
    survey: str
    version: int
    sent: int = Field(description="Surveys sent here; answers from other systems may exceed them")
    n: int
    satisfied: int = Field(description="Answers of 4 and 5")
    share: float | None = Field(description="satisfied / n; nothing without answers")
    interval: IntervalView | None
    mean: float | None


# --- controls -----------------------------------------------------------------------------------


class Counts(View):
    """Observed history and live work, never added up."""

    model_config = ConfigDict(json_schema_extra={"example": _COUNTS})
    observed: int
    live: int


_CONTROL: JsonDict = {
    "id": "closure-agreed",
    "version": 1,
    "title": "No request is closed that was not confirmed or whose closure was not announced",
    "clause": "handbook 2.1 (final confirmation), 3.4",
    "grade": "major",
    "checked": _COUNTS,
    "findings": _COUNTS | {"live": 1},
    "nonconformities": 1,
}


class ControlView(View):
    """A control, with what it has checked and found."""

    model_config = ConfigDict(json_schema_extra={"example": _CONTROL})
    id: str
    version: int
    title: str
    clause: str
    grade: str
    checked: Counts = Field(description="Closings judged")
    findings: Counts = Field(description="Closings that failed")
    nonconformities: int = Field(description="Raised, for live findings only")


class ControlList(View):
    """All controls."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_CONTROL]}})
    items: list[ControlView]


class Finding(View):
    """A closing that failed the control."""

    model_config = ConfigDict(json_schema_extra={"example": _FINDING})
    closing: UUID = Field(description="The event that closed the request")
    resolution: UUID | None = Field(description="The event that proposed what was not agreed")
    kind: str = Field(description="not-agreed, or claim-not-backed: the log contradicts the basis")
    basis: str = Field(description="What the closing says of itself")
    origin: str
    closed_at: datetime
    closed_by: str
    nonconformity: UUID | None = Field(description="Its id; observed history gets none")
    raised: bool


class FindingsOfRequest(View):
    """What a control found about one request, in the order of its history."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"request_id": ID, "found_at": MOMENT, "findings": [_FINDING]}
        }
    )
    request_id: UUID
    found_at: datetime = Field(description="When the last of them happened")
    findings: list[Finding]


class NonconformityView(View):
    """A case that did not follow the process."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": OTHER_ID,
                "control": "closure-agreed",
                "control_version": 1,
                "request_id": ID,
                "grade": "major",
                "evidence": [ID, OTHER_ID],
                "raised_at": MOMENT,
                "origin": "live",
            }
        }
    )
    id: UUID
    control: str
    control_version: int
    request_id: UUID
    grade: str
    evidence: list[UUID] = Field(description="The events that show it")
    raised_at: datetime
    origin: str

    @classmethod
    def of(cls, stream: str, state: Nonconformity) -> "NonconformityView":
        """Return the view of a nonconformity's stream."""
        return cls.model_validate(
            {
                "id": id_of(stream),
                "control": state.control,
                "control_version": state.control_version,
                "request_id": state.request_id,
                "grade": state.grade,
                "evidence": list(state.evidence),
                "raised_at": state.raised_at,
                "origin": state.origin,
            }
        )


class FindingsPage(Page[FindingsOfRequest]):
    """A page of the findings of a control, the last found first."""


class NonconformityPage(Page[NonconformityView]):
    """A page of the nonconformities, the last raised first."""


# --- links --------------------------------------------------------------------------------------


class RequestLinksView(View):
    """What a request is linked with."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "request_id": ID,
                "knowledge_linked": True,
                "articles": ["KB0010042"],
                "problem": "PRB0000007",
                "origin": "observed",
                "updated_at": MOMENT,
            }
        }
    )
    request_id: UUID
    knowledge_linked: bool = Field(description="True also when the source names no article")
    articles: list[str]
    problem: str | None
    origin: str
    updated_at: datetime | None

    @classmethod
    def of(cls, stream: str, links: RequestLinks) -> "RequestLinksView":
        """Return the view of a request's links."""
        return cls(
            request_id=id_of(stream),
            knowledge_linked=bool(links.articles),
            articles=[name for name in links.articles if name],
            problem=links.problem,
            origin=links.origin,
            updated_at=links.updated_at,
        )


def id_of(stream: str) -> UUID:
    """Return the id at the end of a stream's name."""
    return UUID(stream.rpartition("/")[2])
