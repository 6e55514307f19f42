"""What a client sends: closed models with plain text only, whose fields the server never owns."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from casebook.dispatch.api.parameters import Identifier, TeamName
from casebook.events.values import TEXT_LENGTH_MAX, Label, Score, safe_text

CAPACITY_MAX, SKILLS_MAX = 1_000, 100


def _visible(value: str) -> str:
    """Return safe text that shows something.

    :raises PydanticCustomError: for text of white space only.
    """
    value = safe_text(value)
    if not value.strip():
        raise PydanticCustomError("blank_text", "the text holds no visible character")
    return value


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": value})


PlainText = Annotated[
    str, Field(min_length=1, max_length=TEXT_LENGTH_MAX), AfterValidator(_visible)
]
Capacity = Annotated[
    int, Field(ge=1, le=CAPACITY_MAX, description="Open work orders that an agent can hold")
]


class Body(BaseModel):
    """A body of a request: unknown fields and other JSON types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TeamBody(Body):
    """A team."""

    model_config = _example({"name": "网络组"})
    name: Label


class AgentBody(Body):
    """An agent, as registered."""

    model_config = _example(
        {"name": "李娜", "team": "network", "capacity": 4, "skills": {"networking": 3}}
    )
    name: Label | None = None
    team: TeamName
    capacity: Capacity
    skills: Annotated[dict[Label, Score], Field(max_length=SKILLS_MAX)] = {}
    available: bool = Field(default=True, description="A lead need not take work themselves")


class SkillBody(Body):
    """How well an agent masters a skill, 1 to 5."""

    model_config = _example({"level": 4})
    level: Score


class CapacityBody(Body):
    """How much an agent can hold."""

    model_config = _example({"capacity": 6})
    capacity: Capacity


class AgentTeamBody(Body):
    """Where an agent works."""

    model_config = _example({"team": "security"})
    team: TeamName


class AvailabilityBody(Body):
    """Whether an agent takes new work."""

    model_config = _example({"available": False})
    available: bool


class WaitBody(Body):
    """What the work waits for. Only `customer` pauses the resolution clock."""

    model_config = _example({"reason": "customer", "note": "请用户提供日志"})
    reason: Label = Field(
        description="Known: customer, supplier, problem, evidence, internal; others are kept"
    )
    note: PlainText | None = None


class AssignmentBody(Body):
    """Who gets the work, an agent or a team, and why."""

    model_config = _example({"agent": "wang.wei", "reason": "熟悉该客户的网络"})
    agent: Identifier | None = None
    team: TeamName | None = None
    reason: PlainText

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.agent is None) == (self.team is None):
            raise PydanticCustomError("agent_or_team", "name an agent or a team, not both")
        return self


class ResolutionBody(Body):
    """How the work ended."""

    model_config = _example({"code": "fixed", "summary": "更换了故障交换机"})
    code: Label | None = None
    summary: PlainText | None = None


class NoteBody(Body):
    """What colleagues should know."""

    model_config = _example({"text": "已联系供应商，明天上午回复"})
    text: PlainText
