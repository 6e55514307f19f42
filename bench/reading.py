"""From Kafka into a table of work orders: by the reader of a service, and by rebuilding it.

The product folds with all that its promises need: it locks and moves checkpoints, drops what was
applied, keeps the versions of each case. The reader's limit consumes, decodes, folds in memory, and
writes rows and offsets of each poll in one transaction; that of rebuilding folds in memory and
copies the rows at the end. Each side is a process of its own.
"""

import json
import secrets
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.kafka import Topic
from bench.measuring import (
    LIMIT,
    Bench,
    Budget,
    Effort,
    Measure,
    Measured,
    Peer,
    Report,
    Run,
    check,
    interleaved,
)
from bench.peers import ran, timed_peer
from bench.reading_service import READING
from bench.server import Intake, intake
from bench.work_orders import EVENTS_A_REQUEST, filled_topic
from casebook.kit.log.event_log import PARTITIONS
from casebook.kit.log.kafka import GROUP

READ_EVENTS, REBUILT_EVENTS = 200_000, 1_000_000
BATCH_EVENTS, MESSAGE_EVENTS, PROJECTED_EVENTS = 50_000, 1_000, 5_000
FASTSTREAM, FASTSTREAM_ONE = "faststream", "faststream, by message"
QUIX, EVENTSOURCING = "quixstreams", "eventsourcing"
PEER_SECONDS_MAX = 600.0
BATCH = 500

_TABLE = """
CREATE TABLE {0}.work (
    request text PRIMARY KEY, status text NOT NULL, team text, agent text, waiting_reason text,
    updated_at timestamptz NOT NULL
);
CREATE INDEX ON {0}.work (team)
"""
_AGAIN = """
DROP SCHEMA IF EXISTS bare, faststream, eventsourcing CASCADE;
CREATE SCHEMA bare; CREATE SCHEMA faststream; CREATE SCHEMA eventsourcing;
CREATE TABLE bare.offsets (partition int PRIMARY KEY, next_offset bigint NOT NULL);
TRUNCATE cases;
UPDATE checkpoints SET next_offset = 0
"""
_TO_THE_END = """
UPDATE checkpoints c SET next_offset = u.next_offset
FROM unnest($1::smallint[], $2::bigint[]) AS u(partition, next_offset)
WHERE c.subscription = 'live' AND c.partition = u.partition
"""


@dataclass(frozen=True, slots=True)
class _Reads:
    """Reads the same topic again and again, each side into an empty table of its own."""

    place: Intake
    topic: Topic
    events: int
    effort: Effort

    async def reader(self) -> Run:
        """Measure Casebook's reader."""
        await self._again()
        await self.place.execute("TRUNCATE work_v1_1")
        run = await self._side("reader")
        read = await self.place.value("SELECT sum(next_offset) FROM checkpoints")
        check("records applied", int(read), self.events)
        check("cases", await self.place.count("cases"), self._requests)
        return await self._resolved("work", run)

    async def rebuild(self) -> Run:
        """Measure Casebook's rebuilding, with a live reader that is at the end."""
        await self._again()
        heads = await _heads(self.topic)
        await self.place.execute(_TO_THE_END, list(heads), list(heads.values()))
        return await self._resolved("work", await self._side("rebuild"))

    async def bare_reader(self) -> Run:
        """Measure consuming, folding and bulk upserts."""
        await self._again()
        return await self._resolved("bare.work", await self._side("bare-reader"))

    async def bare_rebuild(self) -> Run:
        """Measure folding in memory and COPY."""
        await self._again()
        return await self._resolved("bare.work", await self._side("bare-rebuild"))

    async def faststream(self) -> Run:
        """Measure FastStream by batches."""
        return await self._faststream(BATCH_EVENTS, BATCH)

    async def faststream_by_message(self) -> Run:
        """Measure FastStream message by message."""
        return await self._faststream(MESSAGE_EVENTS, None)

    async def quixstreams(self) -> Run:
        """Measure the table of Quix Streams; its state is counted by its own changelog."""
        group = f"quix-{secrets.token_hex(4)}"
        run = await timed_peer(
            "quixstreams_table", bootstrap=self.topic.bootstrap, topic=self.topic.name,
            group=group, events=self.events,
        )  # fmt: skip
        changelog = Topic(self.topic.bootstrap, f"changelog__{group}--{self.topic.name}--default")
        if await changelog.count() < self._requests:
            check("rows of its changelog", await changelog.count(), self._requests)
        return Run(check("events read", run.events, self.events), run.seconds, run.notes)

    async def eventsourcing(self) -> Run:
        """Measure the projection of ``eventsourcing``, which reads its own events."""
        await self._again()
        requests = self.effort.amount(PROJECTED_EVENTS // EVENTS_A_REQUEST, least=2)
        run = await timed_peer(
            "eventsourcing_projection", dsn=self.place.dsn, requests=requests,
            seconds_max=PEER_SECONDS_MAX,
        )  # fmt: skip
        check("rows of the peer", await self.place.count("eventsourcing.work"), requests)
        return run

    @property
    def _requests(self) -> int:
        """Return how many requests the events are about."""
        return self.events // EVENTS_A_REQUEST

    async def _faststream(self, usual: int, batch: int | None) -> Run:
        """Read the first events of the topic with FastStream."""
        await self._again()
        run = await timed_peer(
            "faststream_reader", dsn=self.place.dsn, bootstrap=self.topic.bootstrap,
            topic=self.topic.name, group=f"faststream-{secrets.token_hex(4)}",
            events=min(self.events, self.effort.amount(usual, least=50)), batch=batch,
        )  # fmt: skip
        if not await self.place.count("faststream.work"):
            check("rows of the peer", 0, self._requests)
        return run

    async def _side(self, name: str) -> Run:
        """Run one side as a process."""
        task = {
            "dsn": self.place.dsn,
            "bootstrap": self.topic.bootstrap,
            "topic": self.topic.name,
            "events": self.events,
        }
        found = await ran(sys.executable, "-m", "bench.sides", name, json.dumps(task))
        notes = {key: found[key] for key in ("cpu_seconds", "rss_max_mib")}
        return Run(found["events"], found["seconds"], notes)

    async def _resolved(self, table: str, run: Run) -> Run:
        """Look whether every work order was folded to its end."""
        where = f"{table} WHERE status = 'resolved' AND team = 'service-desk'"
        check("resolved work orders", await self.place.count(where), self._requests)
        return run

    async def _again(self) -> None:
        """Begin with empty tables, as if nothing had been read."""
        for statement in (
            _AGAIN, *(_TABLE.format(schema) for schema in ("bare", "faststream")),
        ):  # fmt: skip
            await self.place.execute(statement)
        await _forget_group(self.topic)


async def _heads(topic: Topic) -> Mapping[int, int]:
    """Return the end of each partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=topic.bootstrap)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(
            [TopicPartition(topic.name, p) for p in range(PARTITIONS)]
        )
        return {place.partition: end for place, end in ends.items()}
    finally:
        await consumer.stop()


async def _forget_group(topic: Topic) -> None:
    """Let the group of the reader be one that has read nothing: else its store looks restored."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=topic.bootstrap, group_id=GROUP.format("intake"),
        enable_auto_commit=False,
    )  # fmt: skip
    await consumer.start()
    try:
        places = [TopicPartition(topic.name, number) for number in range(PARTITIONS)]
        consumer.assign(places)
        await consumer.commit(dict.fromkeys(places, 0))
    finally:
        await consumer.stop()


@asynccontextmanager
async def _reads(effort: Effort, usual: int) -> AsyncGenerator[_Reads]:
    """Fill a topic, and prepare tables."""
    requests = effort.amount(usual // EVENTS_A_REQUEST, least=100)
    topic = await filled_topic(requests)
    async with intake(READING) as place:
        yield _Reads(place, topic, requests * EVENTS_A_REQUEST, effort)


async def _measure_reader(effort: Effort, say: Report) -> Measured:
    """Measure all in turns."""
    async with _reads(effort, READ_EVENTS) as reads:
        others: dict[str, Measure] = {
            LIMIT: reads.bare_reader,
            FASTSTREAM: reads.faststream,
            FASTSTREAM_ONE: reads.faststream_by_message,
        }
        return Measured(await interleaved(effort, reads.reader, others, say), reads.place.settings)


async def _measure_rebuild(effort: Effort, say: Report) -> Measured:
    """Measure all in turns."""
    async with _reads(effort, REBUILT_EVENTS) as reads:
        others: dict[str, Measure] = {
            LIMIT: reads.bare_rebuild,
            QUIX: reads.quixstreams,
            EVENTSOURCING: reads.eventsourcing,
        }
        return Measured(await interleaved(effort, reads.rebuild, others, say), reads.place.settings)


READER = Bench(
    name="reader",
    product="a service's reader, from Kafka into cases and one projection",
    limit="aiokafka, decode, fold in memory, upsert of the rows of each poll with its offsets",
    target=0.5,
    peers=(
        Peer(FASTSTREAM, f"batches of {BATCH} with the same upsert", target=1.0),
        Peer(FASTSTREAM_ONE, "each message with the same upsert", target=1.0),
    ),
    measure=_measure_reader,
)
REBUILD = Bench(
    name="rebuild",
    product=f"a projection rebuilt from Kafka, {REBUILT_EVENTS:,} events of a tenth as many keys",
    limit="aiokafka, decode, fold in memory, COPY",
    target=0.6,
    peers=(
        Peer(QUIX, "a table by key, in RocksDB and its changelog", target=1.0),
        Peer(EVENTSOURCING, "a projection of its own events into PostgreSQL", target=1.0),
    ),
    budgets=(Budget("rss_max_mib", 400.0),),
    measure=_measure_rebuild,
)
