"""What a client sends: closed models with plain text only, whose fields the server never owns."""

from datetime import UTC
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from casebook.events.values import TEXT_LENGTH_MAX, Label, Moment, Score, safe_text
from casebook.risk.domain.register import Stage, Strategy


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
Due = Annotated[
    Moment,
    Field(strict=False),  # JSON has no times: a strict body holds text
    AfterValidator(lambda moment: moment.astimezone(UTC)),
]


class Body(BaseModel):
    """A body of a request: unknown fields and other JSON types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Registration(Body):
    """A risk that somebody has seen."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "category": "supplier",
                "title": "备份供应商可能破产",
                "description": "第三季度起未按时交付备份介质。",
                "owner": "zhao.min",
                "service": "backup",
            }
        }
    )
    category: Label = Field(
        description="Known: system-failure, data-leak, supplier, capacity, service-level, other"
    )
    title: Label
    owner: Label = Field(description="Who answers for the risk")
    description: PlainText | None = None
    service: Label | None = None


class AssessmentBody(Body):
    """Likelihood and impact, 1 to 5 each; score and rating follow."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"stage": "inherent", "likelihood": 3, "impact": 4, "reason": "两次延迟"}
        }
    )
    stage: Stage = "inherent"
    likelihood: Score
    impact: Score
    reason: PlainText | None = None


class TreatmentBody(Body):
    """What will be done about the risk, by whom, until when."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "strategy": "reduce",
                "owner": "sun.li",
                "due_at": "2099-06-30T16:00:00Z",
                "plan": "与第二家供应商签约。",
            }
        }
    )
    strategy: Strategy
    owner: Label
    due_at: Due | None = None
    plan: PlainText


class CompletionBody(Body):
    """How the treatment went, if there is something to say."""

    model_config = ConfigDict(json_schema_extra={"example": {"result": "合同已签。"}})
    result: PlainText | None = None


class ClosureBody(Body):
    """Why the risk is over."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "服务已终止。"}})
    reason: PlainText
