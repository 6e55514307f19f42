"""What a client sends: closed models with plain text only, whose fields the server never owns."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from casebook.events.values import TEXT_LENGTH_MAX, Label, safe_text
from casebook.intake.domain.classification import Kind, ProblemType
from casebook.intake.domain.request import Classification
from casebook.intake.domain.source import Mode

SOURCE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


def _visible(value: str) -> str:
    """Return safe text that shows something.

    :raises PydanticCustomError: for text of white space only.
    """
    value = safe_text(value)
    if not value.strip():
        raise PydanticCustomError("blank_text", "the text holds no visible character")
    return value


PlainText = Annotated[
    str, Field(min_length=1, max_length=TEXT_LENGTH_MAX), AfterValidator(_visible)
]
Level = Annotated[int, Field(ge=1, le=3, description="1 high, 2 medium, 3 low")]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=SOURCE_NAME)]


class Body(BaseModel):
    """A body of a request: unknown fields and other JSON types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ClassificationBody(Body):
    """What the request is about (handbook 2.1, needs assessment)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"problem_type": "infrastructure-maintenance", "category": "network"}
        }
    )
    problem_type: ProblemType
    category: Label | None = None
    subcategory: Label | None = None
    symptom: Label | None = None

    def value(self) -> Classification:
        """Return it as the domain knows it."""
        return Classification(self.problem_type, self.category, self.subcategory, self.symptom)


class Submission(Body):
    """A new request. Staff may name the requester, whom a requester never names."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "kind": "incident",
                "title": "邮件无法发送",
                "description": "从今天早上开始，所有发出的邮件都被退回。",
                "service": "mail",
                "impact": 2,
                "urgency": 1,
                "classification": {"problem_type": "data-processing", "category": "mail"},
            }
        }
    )
    kind: Kind
    title: Label
    description: PlainText | None = None
    service: Label | None = None
    location: Label | None = None
    channel: Label | None = Field(
        default=None, description="How it came in; only staff may say so, default `agent`"
    )
    impact: Level | None = None
    urgency: Level | None = None
    classification: ClassificationBody | None = None
    requester: Label | None = Field(default=None, description="On whose behalf; staff only")
    organisation: Label | None = Field(default=None, description="The requester's; staff only")

    @model_validator(mode="after")
    def _whose_organisation(self) -> Self:
        if self.organisation is not None and self.requester is None:
            raise PydanticCustomError("requester_missing", "an organisation needs its requester")
        return self

    @property
    def on_behalf(self) -> bool:
        """Say whether it holds what only staff may say."""
        return self.requester is not None or self.channel is not None


class PriorityBody(Body):
    """Impact and urgency; the matrix gives the priority."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"impact": 1, "urgency": 2, "reason": "整个部门受影响"}}
    )
    impact: Level
    urgency: Level
    reason: PlainText | None = None


class CommentBody(Body):
    """A comment."""

    model_config = ConfigDict(json_schema_extra={"example": {"body": "重启之后还是一样。"}})
    body: PlainText


class OptionalReason(Body):
    """Why, if there is something to say."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "问题又出现了"}})
    reason: PlainText | None = None


class Reason(Body):
    """Why."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "客户已离职"}})
    reason: PlainText


class SourceBody(Body):
    """Which events a system may publish, for whom, and as what kind of history."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "types": ["casebook.request.submitted.v1", "casebook.request.closed.v1"],
                "organisation": "青岛分公司",
                "mode": "observed",
                "publisher": "importer",
            }
        }
    )
    source: Name | None = Field(default=None, description="If given, the name in the address")
    types: Annotated[list[Label], Field(min_length=1, max_length=500)]
    organisation: Label | None = None
    mode: Mode
    publisher: Label = Field(description="The subject of the tokens that may speak for it")
