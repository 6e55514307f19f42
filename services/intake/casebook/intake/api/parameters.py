"""What a client may ask for in an address; an unknown parameter is refused."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from casebook.events.values import Label, Moment
from casebook.intake.domain.classification import Kind
from casebook.kit.http.pagination import CURSOR_LENGTH_MAX, PAGE_DEFAULT, PAGE_MAX

AsOf = Annotated[
    Moment, Field(description="Only what had happened by then, as RFC 3339 with a zone")
]


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DetailQuery(_Parameters):
    """How to read one request."""

    as_of: AsOf | None = None


class _Paged(_Parameters):
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT
    cursor: Annotated[
        str | None, Field(max_length=CURSOR_LENGTH_MAX, description="`next_cursor` of a page")
    ] = None


class ListQuery(_Paged):
    """Which requests to list."""

    status: Literal["open", "resolved", "closed", "cancelled"] | None = None
    priority: Annotated[int, Field(ge=1, le=4)] | None = None
    kind: Kind | None = None
    team: Annotated[Label, Field(description="Where the work lies")] | None = None
    organisation: Label | None = None


class TimelineQuery(_Paged):
    """Which facts to list."""

    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 100
    as_of: AsOf | None = None
