"""What a client sends: closed models with plain text only, whose fields the server never owns."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from casebook.events.values import TEXT_LENGTH_MAX, Score, safe_text


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


class Answer(BaseModel):
    """How satisfied the requester is: 1 very dissatisfied, 5 very satisfied."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={"example": {"satisfaction": 5, "comment": "解决得很快，谢谢！"}},
    )
    satisfaction: Score
    comment: PlainText | None = None
