"""What the operators' and the publishing routes take and give, with examples."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from casebook.events.envelope import GENESIS, chain
from casebook.events.values import Label
from casebook.kit.http.pagination import Page

_ID = "0197a3c2-7d1e-7a60-8f3e-2b1c5d4e6f70"
_MOMENT = "2026-03-02T08:00:00Z"
_RECORD = (
    '{"actor":"user:li.na","audience":"staff","correlationid":"' + _ID + '","data":{},'
    '"id":"0197a3c2-7d1e-7a60-8f3e-2b1c5d4e6f71","origin":"live","partitionkey":"' + _ID + '",'
    '"recordedtime":"2026-03-02T08:00:00.000001Z","source":"/casebook/intake",'
    '"specversion":"1.0","streamversion":1,"subject":"request/' + _ID + '",'
    '"time":"2026-03-02T08:00:00.000000Z","type":"casebook.request.priority-confirmed.v1"}'
)

_PARKED: dict[str, Any] = {
    "key": _ID,
    "records": 3,
    "error": "UnknownMajor: casebook.request.closed.v2",
    "parked_at": _MOMENT,
}
_QUARANTINED: dict[str, Any] = {
    "id": _ID,
    "reason": "invalid-data",
    "detail": "number: Field required",
    "channel": "http",
    "source": "helpdesk",
    "source_event": "INC0000045/3",
    "type": "casebook.request.submitted.v1",
    "sequence": 3,
    "received_at": _MOMENT,
}


def _example(value: dict[str, Any], **more: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": value}, **more)


class OperatorReason(BaseModel):
    """Why an operator acts."""

    model_config = _example({"reason": "处理程序已修复"}, extra="forbid")
    reason: Label


class LagView(BaseModel):
    """How far a service is behind, in records and cases."""

    model_config = _example(
        {"records": 12, "outbox": 0, "parked": 1, "timers": 40, "failed_timers": 0}
    )
    records: int = Field(description="Of the log, not applied here")
    outbox: int = Field(description="Recorded here, not in the log yet")
    parked: int = Field(description="Cases that wait for an operator")
    timers: int = Field(description="Deadlines that lie ahead")
    failed_timers: int = Field(description="Due, and tried again when the service starts anew")


class StoredEvent(BaseModel):
    """One event as it is stored: the canonical record (ciphertext in it) and its chain hash."""

    model_config = _example(
        {
            "position": 1,
            "record": _RECORD,
            "hash": chain(GENESIS, _RECORD).hex(),
        }
    )
    position: int
    record: str
    hash: str


class ParkedCase(BaseModel):
    """A case that a handler could not take."""

    model_config = _example(_PARKED)
    key: str
    records: int
    error: str
    parked_at: datetime


class ParkedPage(Page[ParkedCase]):
    """A page of the parked cases, the longest parked first."""

    model_config = _example({"items": [_PARKED], "next_cursor": None})


class QuarantinedEvent(BaseModel):
    """What was published and could not become a fact; its body stays sealed."""

    model_config = _example(_QUARANTINED)
    id: UUID
    reason: str
    detail: str
    channel: str = Field(description="http or kafka")
    source: str | None = Field(description="Nothing where it could not be read")
    source_event: str | None
    type: str | None
    sequence: int | None
    received_at: datetime


class QuarantinePage(Page[QuarantinedEvent]):
    """A page of the quarantine, the first received first."""

    model_config = _example({"items": [_QUARANTINED], "next_cursor": None})


class Applied(BaseModel):
    """How many records of a parked case were applied."""

    model_config = _example({"applied": 3})
    applied: int


class Discarded(BaseModel):
    """How many records were given up."""

    model_config = _example({"discarded": 1})
    discarded: int


class Retried(BaseModel):
    """What became of an event that was offered again."""

    model_config = _example({"outcome": "accepted"})
    outcome: str = Field(description="accepted, duplicate, quarantined")


class Rebuilt(BaseModel):
    """A projection that was built anew from the log."""

    model_config = _example(
        {"projection": "timeline", "generation": 2, "records": 223145, "seconds": 41.8}
    )
    projection: str
    generation: int
    records: int
    seconds: float


class IngressStatus(BaseModel):
    """What is pending of a source, and how far the service is behind the log."""

    model_config = _example(
        {
            "pending": 0,
            "quarantined": 1,
            "deviations": {"not-resolved": 4},
            "lag": 0,
            "outbox": 0,
            "mode": "observed",
            "types": ["casebook.request.submitted.v1"],
            "heads": {"0": 48, "1": 51},
            "applied": {"0": 48, "1": 51},
        }
    )
    pending: int = Field(description="Accepted, and not a fact yet")
    quarantined: int
    deviations: dict[str, int] = Field(
        description="Facts of observed history that the rules would have refused, by rule"
    )
    lag: int = Field(description="Records of the log that are not applied here yet")
    outbox: int = Field(description="Events of this service that are not in the log yet")
    mode: str | None = Field(
        default=None, description="Of the source that was asked for: live, observed; else null"
    )
    types: list[str] | None = Field(
        default=None, description="What that source may publish, as far as this service has read"
    )
    heads: dict[int, int] = Field(description="The next offset of the log, by partition")
    applied: dict[int, int] = Field(description="The next offset to apply here, by partition")


class PublishedResult(BaseModel):
    """What became of one published event."""

    model_config = _example({"id": "INC0000045/1", "outcome": "accepted"})
    id: str | None = Field(description="As published; nothing if it could not be read")
    outcome: str = Field(
        description="accepted, duplicate, quarantined, malformed, refused or not-the-owner"
    )
    # Left out, rather than null, where there is nothing to say.
    code: str | SkipJsonSchema[None] = Field(default=None, description="Why it was not accepted")
    detail: str | SkipJsonSchema[None] = None


class PublishedSummary(BaseModel):
    """A result for every event, in order, and how many there are of each."""

    model_config = _example(
        {
            "results": [
                {"id": "INC0000045/1", "outcome": "accepted"},
                {
                    "id": "INC0000045/2",
                    "outcome": "quarantined",
                    "code": "invalid-data",
                    "detail": "number: Field required",
                },
            ],
            "accepted": 1,
            "duplicates": 0,
            "quarantined": 1,
        }
    )
    results: list[PublishedResult]
    accepted: int
    duplicates: int
    quarantined: int
