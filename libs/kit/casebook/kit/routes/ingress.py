"""Publishing over HTTP: ``POST /{service}/v1/events``, in all CloudEvents modes (decisions 3.6).

The answer is 202 with a result per event: nothing is in the log yet, but nothing accepted can be
lost, and sending the same event again is harmless.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import ARRAY, BigInteger, Text, and_, cast, column, func, select, table

from casebook.events.ingress import Published, from_http
from casebook.events.malformed import Malformed
from casebook.kit import strict_json
from casebook.kit.access.policy import AccessColumns
from casebook.kit.http.exchange import operation
from casebook.kit.http.problems import PROBLEM_RESPONSES, Problem, problem_responses
from casebook.kit.http.queries import Queries
from casebook.kit.ingress.inbox import Result, count_results
from casebook.kit.ingress.release import DISCARDED
from casebook.kit.reading.lag import measure
from casebook.kit.routes.ingress_docs import publishing
from casebook.kit.routes.views import IngressStatus, PublishedSummary
from casebook.kit.tracing import current_traceparent

EVENTS_MAX = 1_000
COUNT_SECONDS = 0.5
ACCEPT_SECONDS_MAX = 15.0
"""Of a request that publishes, with its wait for those before it; then it is refused as busy."""
_SOURCE, _REASON, _RULE, _MODE = (
    column(name, Text) for name in ("source", "reason", "rule", "mode")
)
_TYPES = column("types", ARRAY(Text))
_COUNT = column("count", BigInteger)


def ingress_router(service: str) -> APIRouter:
    """Return the publishing routes of a service."""
    router = APIRouter(prefix=f"/{service}/v1", tags=["events"])
    depth = _Depth()
    turn = asyncio.Lock()  # more of them at once would need the whole pool

    @router.post(
        "/events",
        status_code=202,
        operation_id="publishEvents",
        response_model=PublishedSummary,
        openapi_extra=publishing(service, EVENTS_MAX),
        responses=PROBLEM_RESPONSES | problem_responses(429),
    )
    async def publish_events(
        request: Request, queries: Annotated[Queries, operation("ingress.publish")]
    ) -> Response:
        """Publish one CloudEvent or a batch of at most 1,000; source and id make it unique."""
        body = await request.body()
        await depth.check(queries)
        results = await queries.runtime.beside(_publish(queries, request, body, turn))
        if len(results) == 1 and results[0]["outcome"] == "not-the-owner":
            raise Problem(422, "not-the-owner", results[0]["detail"])
        return JSONResponse(_summary(results), 202)

    @router.get("/ingress", operation_id="getIngressStatus", responses=PROBLEM_RESPONSES)
    async def get_ingress_status(
        queries: Annotated[Queries, operation("ingress.status")],
        source: Annotated[str | None, Query(max_length=255)] = None,
    ) -> IngressStatus:
        """Return what is pending of a source here, and how far this service is behind the log."""
        return await _status(queries, source)

    return router


async def _publish(
    queries: Queries, request: Request, body: bytes, turn: asyncio.Lock
) -> list[dict[str, Any]]:
    """Read and accept what a request publishes; a thousand events are work for the background."""
    return await _accept(queries, _events(request, body), turn)


def _events(request: Request, body: bytes) -> list[Published | Malformed]:
    """Read the events of a request.

    :raises Problem: 400 or 415 for a body that is no event, 413 for more than 1,000 events.
    """
    try:
        events = from_http(
            request.headers.get("content-type", ""),
            request.headers.items(),
            body,
            loads=strict_json.loads,
        )
    except Malformed as error:
        status = 415 if error.code == "unsupported-media-type" else 400
        raise Problem(status, error.code, error.detail) from error
    if len(events) > EVENTS_MAX:
        raise Problem(413, "too-many-events", f"a batch has at most {EVENTS_MAX} events")
    return events


async def _accept(
    queries: Queries, events: Sequence[Published | Malformed], turn: asyncio.Lock
) -> list[dict[str, Any]]:
    """Put what the publisher may publish into the inbox; return a result for every event.

    :raises TimeoutError: when that takes too long; nothing is in the inbox then.
    """
    runtime, principal = queries.runtime, queries.principal
    allowed = [
        event
        for event in events
        if isinstance(event, Published) and event.source in principal.sources
    ]
    accepted: list[Result] = []
    if allowed:
        runtime.history.check()
        async with (
            asyncio.timeout(ACCEPT_SECONDS_MAX),
            turn,
            runtime.database.transaction() as connection,
        ):
            accepted, cases = await runtime.inbox.accept(
                connection,
                allowed,
                publisher=principal.subject,
                channel="http",
                traceparent=current_traceparent(),
            )
        count_results(runtime.service.name, accepted)
        runtime.signals.cases.add(cases)
        runtime.signals.inbox.set()
    remaining = iter(accepted)
    results: list[dict[str, Any]] = []
    for event in events:
        if isinstance(event, Malformed):
            results.append(
                {"id": None, "outcome": "malformed", "code": event.code, "detail": event.detail}
            )
        elif event.source not in principal.sources:
            detail = "your token does not name this source"
            results.append(
                {"id": event.id, "outcome": "refused", "code": "foreign-source", "detail": detail}
            )
        else:
            results.append(_result(next(remaining)))
    return results


def _result(result: Result) -> dict[str, Any]:
    """Return one result as JSON, without empty fields."""
    found: dict[str, Any] = {"id": result.id, "outcome": result.outcome}
    if result.code is not None:
        found |= {"code": result.code, "detail": result.detail}
    return found


def _summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the answer: the results and their counts."""
    outcomes = [result["outcome"] for result in results]
    return {
        "results": results,
        "accepted": outcomes.count("accepted"),
        "duplicates": outcomes.count("duplicate"),
        "quarantined": outcomes.count("quarantined"),
    }


async def _status(queries: Queries, source: str | None) -> IngressStatus:
    """Return what is pending of a source, or of all that may be seen, and how far it is behind."""
    lag = await measure(queries.runtime)
    shown = queries.scope(AccessColumns(source=_SOURCE))
    if source is not None:
        shown = and_(shown, _SOURCE.in_([source]))
    number = func.count().label("number")
    (pending,) = await queries.fetch(select(number).select_from(table("inbox")).where(shown))
    registered: Sequence[Mapping[str, Any]] = []
    if source is not None:
        registered = await queries.fetch(
            select(_MODE, _TYPES).select_from(table("sources")).where(shown)
        )
    held = select(number).select_from(table("quarantine"))
    (quarantined,) = await queries.fetch(held.where(shown, _REASON != DISCARDED))
    counts = select(_RULE, cast(func.sum(_COUNT), BigInteger).label("number"))
    deviations = await queries.fetch(
        counts.select_from(table("deviations")).where(shown).group_by(_RULE).order_by(_RULE)
    )
    return IngressStatus(
        pending=pending["number"],
        quarantined=quarantined["number"],
        deviations={row["rule"]: row["number"] for row in deviations},
        lag=lag.records,
        outbox=lag.outbox,
        mode=registered[0]["mode"] if registered else None,
        types=registered[0]["types"] if registered else None,
        heads=dict(lag.heads),
        applied=dict(lag.applied),
    )


class _Depth:
    """Refuses more events while the inbox is full; counts at most twice a second."""

    def __init__(self) -> None:
        self._depth = 0
        self._counted_at = 0.0

    async def check(self, queries: Queries) -> None:
        """Let the request through, or not.

        :raises Problem: 429 while more events wait than the settings allow.
        """
        limit = queries.runtime.settings.inbox_events_max
        if time.monotonic() - self._counted_at > COUNT_SECONDS:
            self._counted_at = time.monotonic()
            async with queries.runtime.database.http() as connection:
                self._depth = await connection.fetchval(
                    "SELECT count(*) FROM (SELECT FROM inbox LIMIT $1) AS i", limit
                )
        if self._depth >= limit:
            raise Problem(
                429, "inbox-full", "too many events wait to be promoted",
                headers={"Retry-After": "1"},
            )  # fmt: skip
