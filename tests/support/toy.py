"""Two small services on real contracts: ``intake`` with requests, ``dispatch`` with work orders.

Their rules are as small as a test needs them: a request is submitted, commented on and closed,
announces its closure and closes by timers; resolved work proposes a resolution.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, column, func, select
from sqlalchemy import table as sql_table

from casebook.events.envelope import Envelope
from casebook.events.event import Event
from casebook.events.request import (
    RequestClosed,
    RequestClosureAnnounced,
    RequestCommented,
    RequestResolutionProposed,
    RequestSubmitted,
    SourceRegistered,
)
from casebook.events.values import Label, SecretText, SecretTitle
from casebook.events.work_order import (
    WorkOrderOpened,
    WorkOrderResolved,
    WorkOrderStarted,
)
from casebook.kit.access.policy import AccessColumns, Operation, Policy
from casebook.kit.decider import Access, Fact, Reaction, Refused, SealedText, StreamFamily
from casebook.kit.decider import sealed_text as sealed
from casebook.kit.http.commands import Commands
from casebook.kit.http.exchange import operation
from casebook.kit.http.queries import Queries
from casebook.kit.read_models.projections import Projection, Row
from casebook.kit.service import Service

ANNOUNCED_AFTER = timedelta(hours=1)
CLOSED_AFTER = timedelta(hours=2)


@dataclass(frozen=True)
class Request:
    """The state of a request."""

    status: str = "none"
    origin: str = "observed"
    requester: str | None = None
    organisation: str | None = None
    title: SealedText | None = None
    submitted_at: datetime | None = None
    announced: bool = False
    proposals: int = 0
    comments: int = 0


def evolve(state: Request, event: Event, envelope: Envelope) -> Request:
    """Return the state after an event."""
    state = replace(state, origin="live" if envelope.origin == "live" else state.origin)
    match event:
        case RequestSubmitted():
            return replace(
                state,
                status="open",
                requester=event.requester,
                organisation=event.organisation,
                title=sealed(event.title, envelope, "title"),
                submitted_at=envelope.time,
            )
        case RequestCommented():
            return replace(state, comments=state.comments + 1)
        case RequestResolutionProposed():
            return replace(state, status="resolved", proposals=state.proposals + 1)
        case RequestClosureAnnounced():
            return replace(state, announced=True)
        case RequestClosed():
            return replace(state, status="closed")
        case _:
            return state


def guard(state: Request, event: Event) -> None:
    """Refuse a closure of what is not open."""
    if isinstance(event, RequestClosed) and state.status not in {"open", "resolved"}:
        raise Refused("not-open", "only an open request can be closed")


def deadlines(state: Request) -> Mapping[str, datetime]:
    """Want an announcement after an hour and a closure after two."""
    if state.origin != "live" or state.submitted_at is None or state.status == "closed":
        return {}
    wanted = {"close": state.submitted_at + CLOSED_AFTER}
    if not state.announced:
        wanted["announce"] = state.submitted_at + ANNOUNCED_AFTER
    return wanted


def on_deadline(state: Request, kind: str, due: datetime, now: datetime) -> list[Event]:
    """Announce or close; the code tells when it was due, the reader finds when it fired."""
    if kind == "announce":
        return [RequestClosureAnnounced(closes_at=due + CLOSED_AFTER - ANNOUNCED_AFTER)]
    return [RequestClosed(basis="announced", code=f"{due:%Y-%m-%dT%H:%M:%S}")]


REQUEST: StreamFamily[Request] = StreamFamily(
    name="request",
    initial=Request(),
    evolve=evolve,
    guard=guard,
    deadlines=deadlines,
    on_deadline=on_deadline,
    access=lambda state: Access(requester=state.requester, organisation=state.organisation),
)
SOURCE: StreamFamily[int] = StreamFamily(
    name="definition/source", initial=0, evolve=lambda state, event, envelope: state + 1
)


def propose(state: Request, fact: Fact) -> list[Event]:
    """Propose the resolution that dispatch reports."""
    return [RequestResolutionProposed(resolved_at=fact.envelope.time)]


class Tally(Projection):
    """Counts the facts of a case; ``mark`` is the version that counted, in every row the same."""

    name: ClassVar[str] = "tally"
    table: ClassVar[Table] = Table(
        "tally",
        MetaData(),
        Column("key", Text, primary_key=True),
        Column("mark", Text),
        Column("facts", Integer),
        Column("history", Text),
        Column("place", BigInteger),
    )
    handles: ClassVar[tuple[type[Event], ...]] = (
        RequestSubmitted,
        RequestCommented,
        RequestClosed,
        WorkOrderOpened,
        WorkOrderStarted,
        WorkOrderResolved,
    )

    def __init__(self, version: int = 1) -> None:
        self.version = version  # type: ignore[misc]
        self.failing: set[str] = set()
        """Cases that the fold fails on."""

    def fold(self, row: Row | None, fact: Fact) -> Row:
        """Count one more."""
        if fact.case in self.failing:
            raise ValueError("the handler has a bug")
        before = row or {"facts": 0, "history": ""}
        slot = f"{fact.envelope.subject.partition('/')[0]}@{fact.envelope.streamversion}"
        return {
            "key": fact.case,
            "mark": f"v{self.version}",
            "facts": before["facts"] + 1,
            "history": f"{before['history']} {slot}".strip(),
            "place": fact.offset,
        }


# --- over HTTP -----------------------------------------------------------------------------------

POLICY = Policy(
    Operation("request.get", {"requester": "own", "lead": "organisation", "auditor": "all"}),
    Operation("request.submit", {"requester": "own", "admin": "all"}, visible="request.get"),
    Operation("request.list", {"requester": "own", "lead": "organisation", "auditor": "all"}),
    Operation("request.close", {"requester": "own"}, visible="request.get"),
    Operation("request.comment", {"requester": "own", "lead": "organisation"}),
)
COLUMNS = AccessColumns(requester=column("requester"), organisation=column("organisation"))


class Submission(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: SecretTitle
    organisation: Label | None = None


class Comment(BaseModel):
    body: SecretText


def view(stream: str, version: int, state: Request) -> dict[str, Any]:
    """Return a request as JSON."""
    return {"stream": stream, "version": version, "status": state.status}


router = APIRouter(prefix="/intake/v1", tags=["requests"])


@router.put("/requests/{id_}", operation_id="submitRequest")
async def submit(
    id_: UUID, body: Submission, commands: Annotated[Commands, operation("request.submit")]
) -> Response:
    """Submit a request under an id of the client's choice."""
    who = commands.principal.subject

    def decide(state: Request, now: datetime) -> list[Event]:
        if state.status != "none":
            raise Refused("exists", "there is such a request")
        return [
            RequestSubmitted(
                number=f"T{id_.hex[:8]}",
                kind="incident",
                requester=who,
                organisation=body.organisation,
                title=body.title,
            )
        ]

    access = Access(requester=who, organisation=body.organisation)
    return await commands.run(
        f"request/{id_}", decide, respond=view, status=201, creates=True, access=access
    )


@router.put("/requests/{id_}/closure", operation_id="closeRequest")
async def close(id_: UUID, commands: Annotated[Commands, operation("request.close")]) -> Response:
    """Close a request."""

    def decide(state: Request, now: datetime) -> list[Event]:
        guard(state, RequestClosed(basis="confirmed"))
        return [RequestClosed(basis="confirmed")]

    return await commands.run(f"request/{id_}", decide, respond=view)


@router.post("/requests/{id_}/comments", operation_id="comment")
async def comment(
    id_: UUID, body: Comment, commands: Annotated[Commands, operation("request.comment")]
) -> Response:
    """Comment; depends on nothing that was seen, and answers nothing."""
    return await commands.run(
        f"request/{id_}",
        lambda state, now: [RequestCommented(body=body.body)],
        conditional=False,
    )


@router.get("/requests/{id_}", operation_id="getRequest")
async def get(id_: UUID, queries: Annotated[Queries, operation("request.get")]) -> dict[str, Any]:
    """Return a request."""
    version, state = await queries.state(f"request/{id_}")
    return view(f"request/{id_}", version, state)


@router.get("/requests", operation_id="listRequests")
async def list_requests(
    queries: Annotated[Queries, operation("request.list")], limit: int = 50
) -> list[str]:
    """Return the first page of the requests that the principal may see."""
    cases = sql_table("cases", column("key"), column("requester"), column("organisation"))
    statement = select(cases.c.key).where(queries.scope(COLUMNS)).order_by(cases.c.key).limit(limit)
    return [row["key"] for row in await queries.fetch(statement)]


@router.get("/tally", operation_id="getTally")
async def get_tally(queries: Annotated[Queries, operation("request.list")]) -> dict[str, int]:
    """Return how many facts each version of the projection counted."""
    counted = select(Tally.table.c.mark, func.sum(Tally.table.c.facts).label("facts"))
    rows = await queries.fetch(counted.group_by(Tally.table.c.mark))
    return {row["mark"]: row["facts"] for row in rows}


def intake(
    *projections: Projection,
    reactions: Sequence[Reaction] | None = None,
    found_at: str | None = None,
) -> Service:
    """Return the service of requests."""
    standard = (Reaction((WorkOrderResolved,), "request", propose),)
    return Service(
        name="intake",
        families=(REQUEST, SOURCE),
        policy=POLICY,
        reactions=standard if reactions is None else tuple(reactions),
        projections=projections or (Tally(),),
        found_at=found_at,
    )


# --- the neighbour -------------------------------------------------------------------------------

WORK_ORDER: StreamFamily[int] = StreamFamily(
    name="work-order", initial=0, evolve=lambda state, event, envelope: state + 1
)


def open_work(state: int, fact: Fact) -> list[Event]:
    """Open a work order for a new request."""
    return [] if state else [WorkOrderOpened()]


def dispatch() -> Service:
    """Return the service of work orders."""
    return Service(
        name="dispatch",
        families=(WORK_ORDER,),
        policy=Policy(),
        reactions=(Reaction((RequestSubmitted,), "work-order", open_work),),
    )


def submitted(number: str = "T1", **changes: Any) -> RequestSubmitted:
    """Return a submission."""
    return RequestSubmitted(
        **{"number": number, "kind": "incident", "requester": "wang.fang"} | changes
    )


def source(name: str, mode: str = "observed", **changes: Any) -> SourceRegistered:
    """Return the registration of a source that publishes as ``pump``."""
    types = (
        RequestSubmitted.type, RequestCommented.type, RequestClosed.type,
        WorkOrderStarted.type, WorkOrderResolved.type,
    )  # fmt: skip
    given = {"source": name, "types": types, "mode": mode, "publisher": "pump"}
    return SourceRegistered(**given | changes)
