"""How far the KPI table lags behind events that are published at a steady pace.

A ``casebook up`` of its own. A source publishes over HTTP, in batches as publishers send them; a
batch counts as seen when the row of its last request is in the table of KPI facts.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from bench.client import Connection, request
from bench.measuring import (
    BadBench,
    Bench,
    Budget,
    Effort,
    Measured,
    Report,
    Run,
    check,
    interleaved,
    percentiles,
)
from bench.platforms import SOURCE, Platform, platform
from bench.server import durable_settings
from bench.watching import Watch
from casebook.console.client import Client
from casebook.events.request import RequestSubmitted
from casebook.kit.ids import new_id, source_id

PER_SECOND = 200
BATCH = 10
EVENTS = 4_000
WARM_UP = 200
ROWS_LOOKS_MAX = 100
FIGURE = "p95_ms"
_SEEN = "SELECT request_id FROM monitoring.kpi_facts WHERE request_id = ANY($1::uuid[])"


@dataclass(slots=True)
class _Publisher:
    """Publishes submissions of requests that were never heard of."""

    platform: Platform
    token: str
    events: int

    async def product(self) -> Run:
        """Publish at the pace, and watch the table."""
        before = await self._rows()
        watch = await self._publish(self.events)
        await self._all_there(before + self.events)
        return Run(self.events, sum(watch.latencies), percentiles(watch.latencies))

    async def warm_up(self) -> None:
        """Let connections be opened and plans be made."""
        await self._publish(WARM_UP)
        await self._all_there(WARM_UP)

    async def _all_there(self, rows: int) -> None:
        """Wait for the other requests of the last batches."""
        for _ in range(ROWS_LOOKS_MAX):
            if await self._rows() >= rows:
                break
            await asyncio.sleep(0.1)
        check("rows of the table", await self._rows(), rows)

    async def _publish(self, events: int) -> Watch:
        """Publish so many events; return the watch that saw the last of each batch."""
        watch = Watch(self.platform.database, _SEEN)
        await watch.pace(self._batch, events // BATCH, PER_SECOND / BATCH)
        return watch

    async def _batch(self) -> UUID:
        """Publish a batch; return the id of its last request."""
        subjects = [str(new_id()) for _ in range(BATCH)]
        data = RequestSubmitted(number="REQ0000001", kind="incident", requester="li.na").payload()
        now = datetime.now(UTC).isoformat()
        body = json.dumps(
            [
                {
                    "specversion": "1.0",
                    "id": f"{subject}/1",
                    "source": SOURCE,
                    "type": RequestSubmitted.type,
                    "subject": subject,
                    "time": now,
                    "sourcesequence": 1,
                    "data": data | {"number": subject},
                }
                for subject in subjects
            ]
        ).encode()
        headers = {"Authorization": f"Bearer {self.token}"}
        connection = Connection(self.platform.port)
        kind = "application/cloudevents-batch+json"
        answer = await connection.ask(request("POST", "/intake/v1/events", headers, body, kind))
        await connection.close()
        if answer.status != 202 or json.loads(answer.body)["accepted"] != BATCH:
            raise BadBench(f"{answer.status}: {answer.body[:500]!r}")
        return source_id(SOURCE, "request", subjects[-1])

    async def _rows(self) -> int:
        """Return how many requests the table has."""
        counted = "SELECT count(*) FROM monitoring.kpi_facts"
        return int(await self.platform.database.fetchval(counted))


@asynccontextmanager
async def _publisher(events: int) -> AsyncGenerator[tuple[_Publisher, dict[str, str]]]:
    """Start a platform that knows the source."""
    async with platform() as place:
        token = place.publisher()
        registration = {
            "source": SOURCE,
            "types": [RequestSubmitted.type],
            "mode": "observed",
            "publisher": SOURCE,
        }
        async with Client(place.at.url, token) as client:
            await client.put(f"/intake/v1/sources/{SOURCE}", registration)
        publisher = _Publisher(place, token, events)
        await publisher.warm_up()
        yield publisher, await durable_settings(place.database)


async def _measure(effort: Effort, say: Report) -> Measured:
    """Measure again and again."""
    events = effort.amount(EVENTS // BATCH, least=5) * BATCH
    async with _publisher(events) as (publisher, settings):
        return Measured(await interleaved(effort, publisher.product, {}, say, FIGURE), settings)


KPI_LAG = Bench(
    name="kpi-lag",
    product=f"from publishing {PER_SECOND} events a second, {BATCH} at a time, to the KPI table",
    limit=None,
    target=None,
    measure=_measure,
    budgets=(Budget(FIGURE, 1_000.0),),
    unit="ms",
    figure=FIGURE,
)
