"""What a client gets: the clocks of a request."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from casebook.kit.http.pagination import Page
from casebook.monitoring.domain.clock import Reading, Status, whole_seconds

_CLOCK: dict[str, JsonValue] = {
    "clock": "resolution",
    "state": "running",
    "priority": 2,
    "target_seconds": 28800,
    "elapsed_seconds": 4210,
    "due_at": "2026-03-02T16:00:00Z",
    "warned": False,
    "breached_at": None,
    "stopped_at": None,
    "met": None,
}


class ClockView(BaseModel):
    """One promise: how long it has run, and when it has to be kept."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"example": _CLOCK})
    clock: str = Field(description="response or resolution")
    state: Status
    priority: int | None = Field(description="Nothing before the first priority")
    target_seconds: int | None
    elapsed_seconds: int = Field(description="Without pauses, rounded up")
    due_at: datetime | None = Field(description="Nothing while the clock does not run")
    warned: bool = Field(description="Whether a running clock was warned about")
    breached_at: datetime | None
    stopped_at: datetime | None = Field(description="The last time, also when it runs again")
    met: bool | None = Field(description="How the last stop was; nothing before it")

    @classmethod
    def of(
        cls,
        name: str,
        reading: Reading,
        moment: datetime,
        breached_at: datetime | None,
        warned: bool,
    ) -> "ClockView":
        """Return what a clock shows at ``moment``."""
        stop = reading.last_stop
        return cls(
            clock=name,
            state=reading.status,
            priority=reading.priority,
            target_seconds=reading.target_seconds,
            elapsed_seconds=whole_seconds(reading.elapsed_at(moment)),
            due_at=reading.due_at,
            warned=warned,
            breached_at=breached_at,
            stopped_at=None if stop is None else stop.at,
            met=None if stop is None else stop.met,
        )


class ServiceLevelView(BaseModel):
    """The clocks of a request at a moment, and what another system says of its own."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {
                "request_id": "0197a3c2-7d1e-7a60-8f3e-2b1c5d4e6f70",
                "origin": "live",
                "as_of": "2026-03-02T09:10:10Z",
                "service": "mail",
                "source_result": None,
                "clocks": [_CLOCK],
            }
        },
    )
    request_id: UUID
    origin: str = Field(description="live, or observed in another system")
    as_of: datetime
    service: str | None
    source_result: str | None = Field(description="met or missed, by the source's own account")
    clocks: list[ClockView]


class ServiceLevelPage(Page[ServiceLevelView]):
    """A page of the list of clocks."""
