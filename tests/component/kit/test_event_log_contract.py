"""One contract for the three logs: memory, a table in PostgreSQL, real Kafka (decisions 3.3)."""

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from casebook.events.kafka import partition
from casebook.events.request import RequestCommented
from casebook.kit.log import outbox
from casebook.kit.log.event_log import PARTITIONS, EventLog, LogConsumer, LogRecord
from casebook.kit.log.kafka import BATCH_BYTES_MAX, KafkaLog, LogUnavailable
from casebook.kit.log.memory import MemoryLog
from casebook.kit.runtime import Runtime
from tests.support.kafka import create_topic, kafka_for_tests
from tests.support.published_log import send_undecodable
from tests.support.service import Bench, append, case, open_bench, publish
from tests.support.toy import dispatch, intake, submitted

CASES = 30


class Crash(Exception):
    """The process ends here."""


@dataclass
class Subject:
    """One kind of log with a service that publishes to it."""

    kind: str
    bench: Bench
    runtime: Runtime
    other: Runtime
    monkeypatch: pytest.MonkeyPatch

    @property
    def log(self) -> EventLog:
        return self.runtime.log

    async def wrote(self, cases: int = CASES, rounds: int = 3) -> dict[str, list[str]]:
        """Append events of several streams, interleaved; return the records of each stream."""
        keys = [case() for _ in range(cases)]
        for _ in range(rounds):
            for key in keys:
                await append(self.runtime, f"request/{key}", submitted())
        rows = await self.bench.fetch("SELECT stream, record FROM events ORDER BY stream, version")
        records: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            records[row[0]].append(row[1])
        return records

    async def crash_after_send(self) -> None:
        """Relay, and crash before the outbox is emptied."""
        async with self.runtime.database.background() as connection:
            match self.kind:
                case "memory":
                    memory = self.log
                    assert isinstance(memory, MemoryLog)
                    memory.fault = _at("ack")
                    with pytest.raises(Crash):
                        await memory.relay(connection, 1000)
                    memory.fault = _never
                case "postgres":
                    transaction = connection.transaction()
                    await transaction.start()
                    await self.log.relay(connection, 1000)
                    await transaction.rollback()
                case _:
                    self.monkeypatch.setattr(outbox, "delete_published", _crash)
                    with pytest.raises(Crash):
                        await self.log.relay(connection, 1000)
                    self.monkeypatch.undo()


def _never(step: str) -> None:
    """Let every step succeed."""


def _at(wanted: str) -> Callable[[str], None]:
    def fault(step: str) -> None:
        if step == wanted:
            raise Crash

    return fault


async def _crash(*_: object) -> None:
    raise Crash


@pytest.fixture(params=["memory", "postgres", "kafka"])
async def subject(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Subject]:
    kind: str = request.param
    async with open_subject(kind, tmp_path, monkeypatch) as opened:
        yield opened


@asynccontextmanager
async def open_subject(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Subject]:
    """Prepare a log of one kind, and two services on it."""
    settings: dict[str, Any] = {}
    if kind == "kafka":
        topic = f"test.{secrets.token_hex(6)}"
        await create_topic(kafka_for_tests(), topic, PARTITIONS)
        settings = {"kafka_bootstrap": kafka_for_tests(), "kafka_topic": topic}
    log = MemoryLog() if kind == "memory" else None
    async with (
        open_bench(folder, intake(), dispatch(), log=log, **settings) as bench,
        bench.idle(intake()) as runtime,
        bench.idle(dispatch()) as other,
    ):
        yield Subject(kind, bench, runtime, other, monkeypatch)


async def read(
    consumer: LogConsumer, wanted: int, records_max: int = 100
) -> dict[int, list[LogRecord]]:
    """Return the records by partition, once there are as many as wanted."""
    found: dict[int, list[LogRecord]] = defaultdict(list)
    ends = time.monotonic() + 15
    while sum(map(len, found.values())) < wanted:
        assert time.monotonic() < ends, f"{sum(map(len, found.values()))} of {wanted} records"
        for number, records in (await consumer.poll(records_max, 0.2)).items():
            assert {record.partition for record in records} == {number}
            found[number].extend(records)
    return found


async def reading(log: EventLog, wanted: int) -> dict[int, list[LogRecord]]:
    """Return the whole log."""
    consumer = await log.consumer(None)
    try:
        return await read(consumer, wanted)
    finally:
        await consumer.close()


def streams(found: dict[int, list[LogRecord]]) -> dict[str, list[LogRecord]]:
    """Return the records of each stream, as they come."""
    by_stream: dict[str, list[LogRecord]] = defaultdict(list)
    for records in found.values():
        for record in records:
            by_stream[record.attributes()["subject"]].append(record)
    return by_stream


async def test_every_stream_comes_in_order_and_every_case_in_one_partition(
    subject: Subject,
) -> None:
    written = await subject.wrote()
    assert await publish(subject.runtime) == 3 * CASES
    found = await reading(subject.log, 3 * CASES)

    assert {k: [r.record for r in v] for k, v in streams(found).items()} == written
    for number, records in found.items():
        assert [record.offset for record in records] == list(range(len(records)))
        for record in records:
            assert partition(record.key) == number
            assert record.type == "casebook.request.submitted.v1"
    hashes = {row[0] for row in await subject.bench.fetch("SELECT hash FROM events")}
    assert {record.hash for records in found.values() for record in records} == hashes
    assert await subject.bench.value("SELECT count(*) FROM outbox") == 0


async def test_an_effect_of_another_service_comes_after_its_cause(subject: Subject) -> None:
    keys = [case() for _ in range(5)]
    for key in keys:
        await append(subject.runtime, f"request/{key}", submitted())
    await publish(subject.runtime)
    for key in keys:
        await append(subject.other, f"work-order/{key}", RequestCommented(body="x"))
    await append(subject.runtime, f"request/{keys[0]}", submitted())
    await publish(subject.other)
    await publish(subject.runtime)

    found = await reading(subject.log, 11)
    order = [r.attributes()["subject"] for r in found[partition(keys[0])] if r.key == keys[0]]
    assert order == [f"request/{keys[0]}", f"work-order/{keys[0]}", f"request/{keys[0]}"]


async def test_an_empty_log_has_nothing_and_says_so(subject: Subject) -> None:
    assert await subject.log.heads() == dict.fromkeys(range(PARTITIONS), 0)
    assert await subject.log.starts() == dict.fromkeys(range(PARTITIONS), 0)
    assert await publish(subject.runtime) == 0
    consumer = await subject.log.consumer(None)
    try:
        assert consumer.assigned() == frozenset(range(PARTITIONS))
        assert await consumer.poll(10, 0.05) == {}
    finally:
        await consumer.close()


async def test_the_heads_are_what_can_be_read(subject: Subject) -> None:
    await subject.wrote(cases=7)
    await publish(subject.runtime)
    heads = await subject.log.heads()
    found = await reading(subject.log, 21)
    assert heads == {p: len(found.get(p, [])) for p in range(PARTITIONS)}
    assert await subject.log.starts() == dict.fromkeys(range(PARTITIONS), 0)


async def test_a_consumer_reads_again_from_where_it_is_told(subject: Subject) -> None:
    await subject.wrote(cases=1, rounds=10)
    await publish(subject.runtime)
    consumer = await subject.log.consumer(None)
    try:
        ((number, first),) = (await read(consumer, 10)).items()
        consumer.seek(number, 4)
        again = (await read(consumer, 6))[number]
        assert [r.offset for r in again] == [4, 5, 6, 7, 8, 9]
        assert [r.record for r in again] == [r.record for r in first[4:]]
        consumer.seek(number, 10)
        assert await consumer.poll(10, 0.05) == {}
        await append(subject.runtime, first[0].attributes()["subject"], submitted())
        await publish(subject.runtime)
        assert [r.offset for r in (await read(consumer, 1))[number]] == [10]
    finally:
        await consumer.close()


async def test_a_small_batch_takes_from_the_front_of_every_partition(subject: Subject) -> None:
    await subject.wrote(cases=4, rounds=5)
    await publish(subject.runtime)
    consumer = await subject.log.consumer(None)
    try:
        found = await read(consumer, 20, records_max=3)
    finally:
        await consumer.close()
    for records in found.values():
        assert [record.offset for record in records] == list(range(len(records)))


async def test_a_crash_between_send_and_delete_repeats_and_never_loses(subject: Subject) -> None:
    written = await subject.wrote(cases=5)
    await subject.crash_after_send()
    assert await subject.bench.value("SELECT count(*) FROM outbox") == 15
    await append(subject.runtime, next(iter(written)), submitted())  # written before the repetition
    await publish(subject.runtime)
    in_log = 16 if subject.kind == "postgres" else 31
    assert sum((await subject.log.heads()).values()) == in_log

    found = streams(await reading(subject.log, in_log))
    for stream, records in found.items():
        versions = [record.attributes()["streamversion"] for record in records]
        first_seen = list(dict.fromkeys(versions))
        assert first_seen == sorted(first_seen), versions
        assert set(versions) == set(range(1, len(first_seen) + 1))
        by_version = {record.attributes()["streamversion"]: record.record for record in records}
        assert [by_version[v] for v in (1, 2, 3)] == written[stream]


async def test_events_as_large_as_allowed_come_back_whole(subject: Subject) -> None:
    key = case()
    text = "大" * 20_000
    for _ in range(6):
        await append(subject.runtime, f"request/{key}", *[RequestCommented(body=text)] * 3)
    sizes = [row[0] for row in await subject.bench.fetch("SELECT octet_length(record) FROM events")]
    assert sum(sizes) > BATCH_BYTES_MAX, "one batch would do"
    await publish(subject.runtime)
    (records,) = (await reading(subject.log, 18)).values()
    stored = await subject.bench.fetch("SELECT record FROM events ORDER BY version")
    assert [record.record for record in records] == [row[0] for row in stored]


async def test_two_relays_at_once_lose_nothing_and_keep_the_order(subject: Subject) -> None:
    keys = [case() for _ in range(4)]
    written = asyncio.Event()

    async def write() -> None:
        for _ in range(15):
            for key in keys:
                await append(subject.runtime, f"request/{key}", submitted())
        written.set()

    async def relay(log: EventLog) -> None:
        while True:
            done = written.is_set()
            async with subject.runtime.database.background() as connection:
                moved = await log.relay(connection, 7)
            if done and not moved:
                return
            await asyncio.sleep(0)

    second = KafkaLog(*_kafka(subject)) if subject.kind == "kafka" else subject.log
    await asyncio.gather(write(), relay(subject.log), relay(second))
    await second.close()

    total = sum((await subject.log.heads()).values())
    assert total >= 60
    for records in streams(await reading(subject.log, total)).values():
        versions = list(dict.fromkeys(r.attributes()["streamversion"] for r in records))
        assert versions == list(range(1, 16))


async def test_who_waits_is_woken_by_a_new_record(subject: Subject) -> None:
    if not subject.log.wakes():
        consumer = await subject.log.consumer(None)
        started = time.monotonic()
        assert await consumer.poll(10, 5.0) == {}
        assert time.monotonic() - started < 1.0, "a log that does not wake must not wait"
        return
    consumer = await subject.log.consumer(None)
    try:
        await consumer.poll(10, 0.1)
        waiting = asyncio.create_task(_first(consumer))
        await asyncio.sleep(0.1)
        await subject.wrote(cases=1, rounds=1)
        await publish(subject.runtime)
        async with asyncio.timeout(4.0):
            assert len(await waiting) == 1
    finally:
        await consumer.close()


async def test_what_the_client_of_kafka_cannot_decode_is_a_record_that_is_no_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_subject("kafka", tmp_path, monkeypatch) as subject:
        settings = subject.runtime.settings
        key = next(key for key in map(str, iter(case, "")) if partition(key) == 0)
        await append(subject.runtime, f"request/{key}", submitted())
        await publish(subject.runtime)
        bad = await send_undecodable(settings.kafka_bootstrap, settings.kafka_topic, 0)
        await append(subject.runtime, f"request/{key}", submitted())
        await publish(subject.runtime)
        [records] = (await reading(subject.log, 5)).values()
        assert [record.offset for record in records] == [0, *bad, 4]
        assert [record.parse() for record in records] == [True, False, False, False, True]
        assert isinstance(subject.log, KafkaLog)
        again = [one async for some in subject.log.read(0, 0, 5) for one in some]
        assert [record.offset for record in again] == [0, *bad, 4]


@pytest.mark.parametrize("bad", [0, 6, 11])
async def test_what_no_client_can_decode_takes_nothing_else_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    """Nothing more comes in the other partitions, which could show that something was passed."""
    async with open_subject("kafka", tmp_path, monkeypatch) as subject:
        settings = subject.runtime.settings
        await subject.wrote(cases=100, rounds=2)
        await publish(subject.runtime)
        await send_undecodable(settings.kafka_bootstrap, settings.kafka_topic, bad)
        heads = await subject.log.heads()
        found = await reading(subject.log, sum(heads.values()))
        assert {
            place: [record.offset for record in records] for place, records in found.items()
        } == {place: list(range(head)) for place, head in heads.items()}


async def test_a_kafka_that_is_away_leaves_the_outbox_as_it_is(bench: Bench) -> None:
    log = KafkaLog("127.0.0.1:9", "nowhere")
    async with bench.idle(intake()) as runtime:
        await append(runtime, f"request/{case()}", submitted())
        questions: list[Callable[[], Awaitable[object]]] = [log.heads, log.starts]
        for question in questions:
            with pytest.raises(LogUnavailable):
                await question()
        with pytest.raises(LogUnavailable):
            await log.consumer("intake")
        async with runtime.database.background() as connection:
            with pytest.raises(LogUnavailable):
                await log.relay(connection, 10)
    assert await bench.value("SELECT count(*) FROM outbox") == 1
    await log.close()


async def _first(consumer: LogConsumer) -> list[LogRecord]:
    return list(next(iter((await consumer.poll(10, 10.0)).values())))


def _kafka(subject: Subject) -> tuple[str, str]:
    settings = subject.bench.settings
    return settings.kafka_bootstrap, settings.kafka_topic
