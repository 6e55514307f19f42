"""What a client may ask for in an address; an unknown parameter is refused."""

from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from casebook.events.values import Label, Moment
from casebook.kit.http.pagination import CURSOR_LENGTH_MAX, PAGE_DEFAULT, PAGE_MAX

# Ids become names of streams, which travel in headers: visible ASCII without slash or at sign.
# A team may keep the name that it has in an imported history, such as "Group 70".
IDENTIFIER = r"^[A-Za-z0-9][A-Za-z0-9._:|+-]*$"
TEAM_NAME = r"^[A-Za-z0-9]([A-Za-z0-9 ._:|+-]*[A-Za-z0-9._:|+-])?$"
Identifier = Annotated[str, Field(min_length=1, max_length=100, pattern=IDENTIFIER)]
TeamName = Annotated[str, Field(min_length=1, max_length=100, pattern=TEAM_NAME)]
TeamId = Annotated[str, Path(min_length=1, max_length=100, pattern=TEAM_NAME)]
AnyTeam = Annotated[Label, Path(description="A team of ours, or of an imported history")]
AgentId = Annotated[
    str,
    Path(
        min_length=1,
        max_length=100,
        pattern=IDENTIFIER,
        description="The subject of the agent's token",
    ),
]
SkillName = Annotated[Label, Path(description="Any label, such as `networking` or `数据库`")]


AsOf = Annotated[
    Moment, Field(description="Only what had happened by then, as RFC 3339 with a zone")
]


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DetailQuery(_Parameters):
    """How to read one work order."""

    as_of: AsOf | None = None


class PageQuery(_Parameters):
    """Which part of a list to read."""

    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT
    cursor: Annotated[
        str | None, Field(max_length=CURSOR_LENGTH_MAX, description="`next_cursor` of a page")
    ] = None


class QueueQuery(PageQuery):
    """Which work of a team to list; without a status, all that is open."""

    status: (
        Literal["queued", "assigned", "accepted", "in-progress", "waiting", "resolved"] | None
    ) = None
    agent: Annotated[Label, Field(description="Whose work")] | None = None
    origin: Literal["live", "observed"] | None = None


class AgentQuery(PageQuery):
    """Which agents to list."""

    team: Label | None = None
