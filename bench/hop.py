"""One hop: how long after an append its row can be read, over Kafka (:mod:`bench.hopping`)."""

import json
import sys

from bench.hopping import BARE_TABLES, PER_SECOND, WARM_UP
from bench.kafka import new_topic
from bench.measuring import (
    LIMIT,
    Bench,
    Budget,
    Effort,
    Measured,
    Report,
    Run,
    check,
    interleaved,
)
from bench.peers import ran
from bench.reading_service import HOPPING
from bench.server import Intake, intake

EVENTS = 500
FIGURE = "p50_ms"
_AGAIN = """
DROP SCHEMA IF EXISTS bare CASCADE; CREATE SCHEMA bare;
CREATE TABLE bare.offsets (partition int PRIMARY KEY, next_offset bigint NOT NULL);
TRUNCATE events, streams, outbox, cases, timeline_v1_1; UPDATE checkpoints SET next_offset = 0;
"""


class _Hops:
    """Hops from empty tables over a new topic."""

    def __init__(self, place: Intake, events: int) -> None:
        self._place = place
        self._events = events

    async def product(self) -> Run:
        """Measure Casebook's path."""
        return await self._run("hop", ("events", "timeline"))

    async def limit(self) -> Run:
        """Measure the prototype's."""
        return await self._run("bare-hop", ("bare.events", "bare.timeline"))

    async def _run(self, side: str, tables: tuple[str, ...]) -> Run:
        """Run one side as a process, and count what it wrote."""
        await self._place.execute(_AGAIN + BARE_TABLES)
        topic = await new_topic()
        task = {
            "dsn": self._place.dsn,
            "bootstrap": topic.bootstrap,
            "topic": topic.name,
            "events": self._events,
        }
        found = await ran(sys.executable, "-m", "bench.sides", side, json.dumps(task))
        for table in tables:
            check(table, await self._place.count(table), self._events + WARM_UP)
        notes = {name: found[name] for name in ("p50_ms", "p95_ms")}
        return Run(self._events, found["seconds"], notes)


async def _measure(effort: Effort, say: Report) -> Measured:
    """Measure both in turns."""
    async with intake(HOPPING) as place:
        hops = _Hops(place, effort.amount(EVENTS, least=20))
        turns = await interleaved(effort, hops.product, {LIMIT: hops.limit}, say, FIGURE)
        return Measured(turns, place.settings)


HOP = Bench(
    name="hop",
    product=f"append until the row of a projection is there, over Kafka, {PER_SECOND} a second",
    limit="a prototype of the same path, in one process too",
    target=None,
    measure=_measure,
    budgets=(Budget("p50_ms", 2.0, times_limit=True), Budget("p95_ms", 3.0, times_limit=True)),
    unit="ms",
    figure=FIGURE,
)
