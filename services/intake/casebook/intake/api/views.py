"""What a client gets: requests, their timelines and sources, with text as plain text."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from casebook.intake.domain.request import Request
from casebook.intake.domain.source import Source
from casebook.kit.http.pagination import Page

ID = "0197a3c2-7d1e-7a60-8f3e-2b1c5d4e6f70"
MOMENT = "2026-03-02T08:00:00Z"
_RECEIPT: dict[str, JsonValue] = {
    "id": ID,
    "number": "REQ0000001",
    "status": "open",
    "priority": 2,
    "impact": 2,
    "urgency": 1,
    "reopenings": 0,
}
_SUMMARY: dict[str, JsonValue] = {
    **_RECEIPT,
    "kind": "incident",
    "requester": "wang.fang",
    "organisation": "青岛分公司",
    "service": "mail",
    "origin": "live",
    "title": "邮件无法发送",
    "problem_type": "data-processing",
    "category": "mail",
    "submitted_at": MOMENT,
    "updated_at": MOMENT,
    "work": {"status": "in-progress", "team": "mail", "agent": "li.na"},
}


class View(BaseModel):
    """Something that a client reads."""

    model_config = ConfigDict(frozen=True)


class Receipt(View):
    """Where a request stands after a command; its text is read with the request itself."""

    model_config = ConfigDict(json_schema_extra={"example": _RECEIPT})
    id: UUID
    number: str
    status: str = Field(description="open, resolved, closed or cancelled")
    priority: int | None
    impact: int | None
    urgency: int | None
    resolved_at: datetime | None = None
    closes_at: datetime | None = Field(default=None, description="When it closes by itself")
    closed_at: datetime | None = None
    closed_basis: str | None = None
    reopenings: int

    @classmethod
    def of(cls, stream: str, version: int, request: Request) -> "Receipt":
        """Return the receipt for a request's stream."""
        return cls(
            id=request_id(stream),
            number=request.number,
            status=request.status,
            priority=request.priority,
            impact=request.impact,
            urgency=request.urgency,
            resolved_at=request.resolved_at,
            closes_at=request.closes_at,
            closed_at=request.closed_at,
            closed_basis=request.closed_basis,
            reopenings=request.reopenings,
        )


class WorkView(View):
    """How the work goes, as far as the log has told."""

    status: str
    team: str | None = None
    agent: str | None = None
    waiting_reason: str | None = None
    updated_at: datetime | None = None


class RequestSummary(Receipt):
    """A request in a list."""

    model_config = ConfigDict(json_schema_extra={"example": _SUMMARY})
    kind: str
    requester: str | None
    organisation: str | None
    service: str | None
    origin: str = Field(description="live, or observed in another system")
    title: str | None = Field(description="Nothing when it was erased, or never given")
    problem_type: str | None
    category: str | None
    submitted_at: datetime | None
    updated_at: datetime | None
    work: WorkView | None = None


class RequestDetail(RequestSummary):
    """A request with everything that was said about it when it came in."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                **_SUMMARY,
                "channel": "self-service",
                "description": "从今天早上开始，所有邮件都被退回。",
            }
        }
    )
    description: str | None
    subcategory: str | None
    symptom: str | None
    channel: str | None
    location: str | None
    opened_by: str | None
    confirmed_at: datetime | None = None
    cancelled_at: datetime | None = None
    closed_code: str | None = None
    configuration_item: str | None = Field(default=None, description="For staff only")
    priority_confirmed: bool | None = Field(default=None, description="For staff only")


class TimelineEntry(View):
    """One fact about a request."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": ID,
                "type": "casebook.request.commented.v1",
                "service": "intake",
                "time": MOMENT,
                "recorded_time": MOMENT,
                "actor": "user:wang.fang",
                "audience": "customer",
                "origin": "live",
                "data": {"body": "重启之后还是一样。"},
            }
        }
    )
    id: UUID
    type: str
    service: str
    time: datetime
    recorded_time: datetime
    actor: str
    audience: str
    origin: str
    data: dict[str, Any]


class SourceView(View):
    """A registered source."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "source": "uci498",
                "types": ["casebook.request.submitted.v1"],
                "organisation": None,
                "mode": "observed",
                "publisher": "importer",
                "version": 1,
            }
        }
    )
    source: str
    types: list[str]
    organisation: str | None
    mode: str
    publisher: str
    version: int = Field(description="How often it was registered anew; the ETag says it too")

    @classmethod
    def of(cls, stream: str, version: int, source: Source) -> "SourceView":
        """Return the view of a source's stream."""
        return cls(
            source=source.name,
            types=list(source.types),
            organisation=source.organisation,
            mode=source.mode,
            publisher=source.publisher,
            version=version,
        )


class RequestPage(Page[RequestSummary]):
    """A page of the requests, the last submitted first."""


class TimelinePage(Page[TimelineEntry]):
    """A page of what happened to a request, in the order of the log."""


def request_id(stream: str) -> UUID:
    """Return the id of the request that a stream is about."""
    return UUID(stream.rpartition("/")[2])


def summary_fields(stream: str, request: Request, title: str | None) -> dict[str, Any]:
    """Return the fields of a summary, but the work."""
    about = request.classification
    return Receipt.of(stream, 0, request).model_dump() | {
        "kind": request.kind,
        "requester": request.requester,
        "organisation": request.organisation,
        "service": request.service,
        "origin": request.origin,
        "title": title,
        "problem_type": None if about is None else about.problem_type,
        "category": None if about is None else about.category,
        "submitted_at": request.submitted_at,
        "updated_at": request.updated_at,
    }


def detail_fields(request: Request, description: str | None, *, staff: bool) -> dict[str, Any]:
    """Return the fields that a detail has beyond its summary."""
    about = request.classification
    fields: dict[str, Any] = {
        "description": description,
        "subcategory": None if about is None else about.subcategory,
        "symptom": None if about is None else about.symptom,
        "channel": request.channel,
        "location": request.location,
        "opened_by": request.opened_by,
        "confirmed_at": request.confirmed_at,
        "cancelled_at": request.cancelled_at,
        "closed_code": request.closed_code,
    }
    if staff:
        fields["configuration_item"] = request.configuration_item
        fields["priority_confirmed"] = request.priority_confirmed
    return fields


def work_view(row: Mapping[str, Any]) -> WorkView | None:
    """Return the work of a row, if any is known."""
    if row["work_status"] is None:
        return None
    return WorkView(
        status=row["work_status"],
        team=row["work_team"],
        agent=row["work_agent"],
        waiting_reason=row["work_waiting_reason"],
        updated_at=row["work_updated_at"],
    )
