"""What operators do: lag, parked cases, quarantine, rebuilds, and the raw events (decisions §8)."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from casebook.kit.bookkeeping.checkpoints import LIVE
from casebook.kit.http.exchange import Exchange, operation
from casebook.kit.http.pagination import CURSOR_LENGTH_MAX, decode_cursor, encode_cursor
from casebook.kit.http.problems import PROBLEM_RESPONSES, Problem, problem_responses, rebuilding
from casebook.kit.http.queries import Queries
from casebook.kit.ingress.release import discard, retry
from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import Connection
from casebook.kit.reading.applying import Outcome
from casebook.kit.reading.lag import measure
from casebook.kit.rebuilding.rebuild import rebuild
from casebook.kit.routes.views import (
    Applied,
    Discarded,
    LagView,
    OperatorReason,
    ParkedCase,
    ParkedPage,
    QuarantinedEvent,
    QuarantinePage,
    Rebuilt,
    Retried,
    StoredEvent,
)

_LOG = get_logger("operations")
# The claim of a rebuild waits for its end, which takes longer than a session may idle.
_WAITS = "SET LOCAL idle_in_transaction_session_timeout = 0"
_QUARANTINE = """
SELECT id, reason, detail, channel, source, source_event, type, sequence, received_at
FROM quarantine WHERE reason <> 'discarded' AND ($1::text IS NULL OR source = $1)
    AND ($2::timestamptz IS NULL OR (received_at, id) > ($2, $3::uuid))
ORDER BY received_at, id LIMIT $4
"""
_PARKED = """
SELECT key, count(*) AS records, (array_agg(error ORDER BY sequence))[1] AS error,
    min(parked_at) AS parked_at
FROM parked WHERE subscription = $1 AND status = 'parked'
GROUP BY key
HAVING $2::timestamptz IS NULL OR (min(parked_at), key) > ($2, $3::text)
ORDER BY min(parked_at), key LIMIT $4
"""
_EVENTS = """
SELECT position, record, encode(hash, 'hex') FROM events WHERE position > $1
ORDER BY position LIMIT $2
"""

Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[
    str | None, Query(max_length=CURSOR_LENGTH_MAX, description="`next_cursor` of a page")
]


def _place(cursor: str | None, kind: type[Any]) -> list[Any]:
    """Return the time and the id, of a kind, that a page begins after."""
    return [None, None] if cursor is None else decode_cursor(cursor, (datetime, kind))


def _next(rows: Sequence[Any], limit: int, time: str, name: str) -> str | None:
    """Return the cursor after a page, if there is more behind it."""
    if len(rows) <= limit:
        return None
    last = rows[limit - 1]
    return encode_cursor([last[time], last[name]])


def _acting(model: type[BaseModel]) -> dict[str, Any]:
    """Return how a route is described that acts once for an idempotency key."""
    return {"response_model": model, "responses": problem_responses(409)}


def operations_router(service: str) -> APIRouter:
    """Return the operators' routes of a service."""
    router = APIRouter(prefix=f"/{service}/v1", tags=["operations"], responses=PROBLEM_RESPONSES)
    _add_reads(router)
    _add_releases(router)
    _add_rebuilds(router)
    return router


def _add_reads(router: APIRouter) -> None:
    """Add what only looks."""

    @router.get("/lag", operation_id="getLag")
    async def get_lag(queries: Annotated[Queries, operation("lag.read")]) -> LagView:
        """Return how far this service is behind the log, in records."""
        lag = await measure(queries.runtime)
        return LagView(**asdict(lag))

    @router.get("/events", operation_id="listEvents")
    async def list_events(
        queries: Annotated[Queries, operation("events.read")],
        after: Annotated[int, Query(ge=0, le=2**62)] = 0,
        limit: Limit = 100,
    ) -> list[StoredEvent]:
        """Return this service's own events in the order they were stored, as stored."""
        async with queries.runtime.database.http() as connection:
            rows = await connection.fetch(_EVENTS, after, limit)
        return [StoredEvent(position=row[0], record=row[1], hash=row[2]) for row in rows]

    @router.get("/parked", operation_id="listParkedCases")
    async def list_parked(
        queries: Annotated[Queries, operation("parked.read")],
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> ParkedPage:
        """Return a page of the cases that wait for an operator, the longest parked first."""
        after = _place(cursor, str)
        async with queries.runtime.database.http() as connection:
            rows = await connection.fetch(_PARKED, LIVE, *after, limit + 1)
        return ParkedPage(
            items=[ParkedCase(**dict(row)) for row in rows[:limit]],
            next_cursor=_next(rows, limit, "parked_at", "key"),
        )

    @router.get("/quarantine", operation_id="listQuarantine")
    async def list_quarantine(
        queries: Annotated[Queries, operation("quarantine.read")],
        source: Annotated[str | None, Query(max_length=255)] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> QuarantinePage:
        """Return a page of what could not become a fact, with the reason; bodies stay sealed."""
        after = _place(cursor, UUID)
        async with queries.runtime.database.http() as connection:
            rows = await connection.fetch(_QUARANTINE, source, *after, limit + 1)
        return QuarantinePage(
            items=[QuarantinedEvent(**dict(row)) for row in rows[:limit]],
            next_cursor=_next(rows, limit, "received_at", "id"),
        )


# What changes something needs a reason, which is logged with the actor, and a key: sent again, it
# is answered again and not done again.


def _add_releases(router: APIRouter) -> None:
    """Add what releases or gives up what could not be taken."""
    _add_parked(router)
    _add_quarantine(router)


def _add_parked(router: APIRouter) -> None:
    """Add what ends the waiting of a parked case."""

    @router.post("/parked/{key}/retries", operation_id="retryParkedCase", **_acting(Applied))
    async def retry_parked(
        key: str, body: OperatorReason, exchange: Annotated[Exchange, operation("parked.retry")]
    ) -> Response:
        """Apply a parked case's records again, in order; all or none."""
        led_to = Outcome()

        async def work(connection: Connection) -> Applied:
            _audit("parked.retried", exchange, body, key=key)
            count, outcome = await exchange.runtime.reader.applier.retry(connection, key)
            led_to.add(outcome)
            return Applied(applied=count)

        response = await exchange.act(work)
        exchange.runtime.reader.announce(led_to)
        return response

    @router.post("/parked/{key}/discards", operation_id="discardParkedCase", **_acting(Discarded))
    async def discard_parked(
        key: str, body: OperatorReason, exchange: Annotated[Exchange, operation("parked.discard")]
    ) -> Response:
        """Give up a parked case's records; its later events are applied as they come."""
        led_to = Outcome()

        async def work(connection: Connection) -> Discarded:
            _audit("parked.discarded", exchange, body, key=key)
            count, outcome = await exchange.runtime.reader.applier.discard(connection, key)
            led_to.add(outcome)
            return Discarded(discarded=count)

        response = await exchange.act(work)
        exchange.runtime.reader.announce(led_to)
        return response


def _add_quarantine(router: APIRouter) -> None:
    """Add what ends the quarantine of an event."""

    @router.post(
        "/quarantine/{row_id}/retries", operation_id="retryQuarantined", **_acting(Retried)
    )
    async def retry_quarantined(
        row_id: UUID,
        body: OperatorReason,
        exchange: Annotated[Exchange, operation("quarantine.retry")],
    ) -> Response:
        """Offer one quarantined event again; the outcome is what became of it."""

        async def work(connection: Connection) -> Retried:
            _audit("quarantine.retried", exchange, body, id=str(row_id))
            outcome = await retry(exchange.runtime, connection, row_id)
            if outcome is None:
                raise Problem(404)
            return Retried(outcome=outcome)

        response = await exchange.act(work)
        exchange.runtime.promoter.look()
        return response

    @router.post(
        "/quarantine/{row_id}/discards", operation_id="discardQuarantined", **_acting(Discarded)
    )
    async def discard_quarantined(
        row_id: UUID,
        body: OperatorReason,
        exchange: Annotated[Exchange, operation("quarantine.discard")],
    ) -> Response:
        """Give up one quarantined event for good; a place that it had is skipped."""

        async def work(connection: Connection) -> Discarded:
            _audit("quarantine.discarded", exchange, body, id=str(row_id))
            if not await discard(exchange.runtime, connection, row_id):
                raise Problem(404)
            return Discarded(discarded=1)

        response = await exchange.act(work)
        exchange.runtime.promoter.look()
        return response


def _add_rebuilds(router: APIRouter) -> None:
    """Add what makes a read model anew."""

    @router.post(
        "/projections/{name}/rebuilds", operation_id="rebuildProjection", **_acting(Rebuilt)
    )
    async def rebuild_projection(
        name: str,
        body: OperatorReason,
        exchange: Annotated[Exchange, operation("projection.rebuild")],
    ) -> Response:
        """Rebuild one projection from the log and swap it in; reads go on meanwhile."""
        projections = {one.name: one for one in exchange.runtime.service.projections}

        async def work(connection: Connection) -> Rebuilt:
            if name not in projections:
                raise Problem(404)
            if exchange.runtime.rebuilding.locked():  # whoever waited would keep a connection
                raise rebuilding("another read model of this service is being rebuilt")
            _audit("projection.rebuild-asked", exchange, body, projection=name)
            await connection.execute(_WAITS)
            result = await exchange.runtime.beside(rebuild(exchange.runtime, projections[name]))
            return Rebuilt(
                projection=result.projection,
                generation=result.generation,
                records=result.records,
                seconds=round(result.seconds, 3),
            )

        return await exchange.act(work)


def _audit(event: str, exchange: Exchange, body: OperatorReason, **fields: str) -> None:
    """Log who did what, and why."""
    _LOG.warning(event, actor=exchange.principal.subject, reason=body.reason, **fields)
