"""Publishing over real Kafka: the topic says who, the key which subject (decisions 3.6)."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from casebook.events.ingress import Published, to_structured
from casebook.events.request import RequestCommented
from casebook.events.work_order import WorkOrderStarted
from casebook.kit.ingress import kafka as ingress_kafka
from casebook.kit.log.event_log import PARTITIONS
from tests.support.kafka import create_topic, kafka_for_tests
from tests.support.published_log import send_undecodable
from tests.support.pump import event, inbox_size, key_of, quarantined, register
from tests.support.service import START, Bench, open_bench, settled, until
from tests.support.toy import dispatch, intake, submitted


@pytest.fixture
async def kafka(tmp_path: Path) -> AsyncGenerator[Bench]:
    """Return a bench with the log on a topic of its own."""
    topic = f"test.{secrets.token_hex(6)}"
    await create_topic(kafka_for_tests(), topic, PARTITIONS)
    settings: dict[str, Any] = {"kafka_bootstrap": kafka_for_tests(), "kafka_topic": topic}
    async with open_bench(tmp_path, intake(), dispatch(), **settings) as prepared:
        yield prepared


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a publisher whose topic no other test writes to, or reads."""
    name = f"pump-{secrets.token_hex(4)}"
    monkeypatch.setattr(ingress_kafka, "PATTERN", rf"^casebook\.ingress\.(forger-)?{name}$")
    monkeypatch.setattr(ingress_kafka, "NEW_TOPICS_SECONDS", 0.3)
    return name


async def produce(
    publisher: str, *records: tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_for_tests())
    await producer.start()
    try:
        for key, value, headers in records:
            topic = f"casebook.ingress.{publisher}"
            await producer.send_and_wait(topic, value, key=key, headers=list(headers))
    finally:
        await producer.stop()


def structured(
    published: Published, key: bytes | None = None
) -> tuple[bytes | None, bytes, list[tuple[str, bytes]]]:
    headers = [("content-type", b"application/cloudevents+json")]
    return key or published.subject.encode(), to_structured(published), headers


def binary(published: Published) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    headers = [(f"ce_{k}", str(v).encode()) for k, v in published.attributes().items()]
    return published.subject.encode(), b'{"body": "x"}', [
        *headers, ("content-type", b"application/json"),
    ]  # fmt: skip


async def facts(bench: Bench, schema: str) -> list[tuple[str, int]]:
    rows = await bench.fetch(
        "SELECT type, (record::json->>'sourcesequence')::int FROM events"
        " WHERE record::json->>'originsource' IS NOT NULL ORDER BY position",
        schema=schema,
    )
    return [(row[0].split(".")[2], row[1]) for row in rows]


async def test_each_owner_takes_its_own_in_the_order_of_the_source(
    kafka: Bench, publisher: str
) -> None:
    await create_topic(kafka_for_tests(), f"casebook.ingress.{publisher}", 2)
    async with kafka.running(intake()) as requests, kafka.running(dispatch()) as work:
        await register(requests, work, publisher=publisher)
        await produce(
            publisher,
            structured(event("S", submitted(title="标题"), 1)),
            structured(event("S", WorkOrderStarted(), 2)),
            binary(event("S", RequestCommented(body="x"), 3)),
            structured(event("S", WorkOrderStarted(), 4)),
            structured(event("S", submitted(title="标题"), 1)),
        )
        await until(lambda: _facts(kafka, 2, 2), [requests, work])
        await settled(requests, work)
        assert requests.failed_tasks() == work.failed_tasks() == []
    assert await facts(kafka, "intake") == [("submitted", 1), ("commented", 3)]
    assert await facts(kafka, "dispatch") == [("started", 2), ("started", 4)]
    assert await quarantined(kafka) == await quarantined(kafka, "dispatch") == []
    assert await kafka.value("SELECT source_sequence FROM cases WHERE key = $1", key_of("S")) == 4


async def test_what_is_no_event_is_intakes_to_quarantine(kafka: Bench, publisher: str) -> None:
    await create_topic(kafka_for_tests(), f"casebook.ingress.{publisher}", 1)
    nasty = event("S", submitted(), 1)
    async with kafka.running(intake()) as requests, kafka.running(dispatch()) as work:
        await register(requests, work, publisher=publisher)
        ce = [("content-type", b"application/cloudevents+json")]
        await produce(
            publisher,
            (b"k", None, []),
            (b"k", b"\x00\xff", []),
            (b"S", b'{"specversion":"1.0","id":NaN}', ce),
            (b"S", to_structured(nasty).replace(b"incident", b"\\u0000"), ce),
            structured(nasty, key=b"another-subject"),
            structured(event("S", {"x": 1}, type_="casebook.parcel.sent.v1")),
            structured(event("S", {"wrong": 1}, 2, type_=WorkOrderStarted.type)),
            structured(event("T", submitted(), time=START + timedelta(minutes=6))),
            structured(event("S", submitted(), 1)),
        )
        await until(lambda: _facts(kafka, 1, 0), [requests, work])
        await until(lambda: _quarantine(kafka, 7), [requests, work])
        assert requests.failed_tasks() == work.failed_tasks() == []
    reasons = sorted(reason for reason, _ in await _reasons(kafka))
    assert reasons == sorted(
        ["data-not-an-object", "invalid-utf-8", "key-mismatch", "malformed-json", "time-in-future",
         "unknown-type", "unsafe-text"]
    )  # fmt: skip
    assert [reason for reason, _ in await quarantined(kafka, "dispatch")] == ["invalid-data"]


async def test_a_publisher_on_the_source_of_another_is_refused(
    kafka: Bench, publisher: str
) -> None:
    forger = f"forger-{publisher}"
    for name in (publisher, forger):
        await create_topic(kafka_for_tests(), f"casebook.ingress.{name}", 1)
    async with kafka.running(intake()) as requests:
        await register(requests, publisher=publisher)
        await produce(forger, structured(event("S", submitted(requester="mallory"), 1)))
        await until(lambda: _quarantine(kafka, 1), [requests])
        await produce(publisher, structured(event("S", submitted(), 1)))
        await until(lambda: _facts(kafka, 1, 0), [requests])
    assert [reason for reason, _ in await quarantined(kafka)] == ["wrong-publisher"]
    requester = await kafka.value("SELECT record::json->'data'->>'requester' FROM events"
                                  " WHERE type ~ 'submitted'")  # fmt: skip
    assert requester == "wang.fang"


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_a_publisher_may_compress_as_it_likes(
    kafka: Bench, publisher: str, codec: str
) -> None:
    await create_topic(kafka_for_tests(), f"casebook.ingress.{publisher}", 1)
    other = Producer({"bootstrap.servers": kafka_for_tests(), "compression.type": codec})
    for subject in "STU":  # a batch, which is what is compressed
        key, value, headers = structured(event(subject, submitted(), 1))
        named: dict[str, str | bytes | None] = dict(headers)
        other.produce(f"casebook.ingress.{publisher}", value, key, headers=named)
    assert other.flush(30) == 0
    async with kafka.running(intake()) as requests:
        await register(requests, publisher=publisher)
        await until(lambda: _facts(kafka, 3, 0), [requests])


async def test_a_record_that_no_client_can_decode_is_passed_over_and_seen(
    kafka: Bench, publisher: str
) -> None:
    topic = f"casebook.ingress.{publisher}"
    await create_topic(kafka_for_tests(), topic, 1)
    await produce(publisher, structured(event("S", submitted(), 1)))
    places = await send_undecodable(kafka_for_tests(), topic, 0)
    await produce(publisher, structured(event("T", submitted(), 1)))
    async with kafka.running(intake()) as requests:
        await register(requests, publisher=publisher)
        await until(lambda: _facts(kafka, 2, 0), [requests])
        await until(lambda: _quarantine(kafka, 3), [requests])
        assert requests.failed_tasks() == []
    rows = await kafka.fetch("SELECT detail, reason FROM quarantine ORDER BY detail")
    assert [row[0].partition(": ")[0] for row in rows] == [f"{topic}/0/{at}" for at in places]
    assert [row[1] for row in rows] == ["unknown-specversion", "not-utf-8", "not-utf-8"]


async def test_a_full_inbox_is_left_to_kafka_and_a_restart_goes_on(
    kafka: Bench, publisher: str
) -> None:
    await create_topic(kafka_for_tests(), f"casebook.ingress.{publisher}", 1)
    await produce(publisher, *(structured(event(f"S{n}", submitted(), 1)) for n in range(8)))
    async with kafka.running(intake(), inbox_events_max=1, lag_records_max=-1) as requests:
        await until(lambda: _inbox_above(kafka, 0), [requests])
        await asyncio.sleep(0.5)
        accepted = await inbox_size(kafka)
        await produce(publisher, *(structured(event(f"T{n}", submitted(), 1)) for n in range(3)))
        await asyncio.sleep(0.7)
        assert await inbox_size(kafka) == accepted
    async with kafka.running(intake()) as requests:
        await register(requests, publisher=publisher)
        await until(lambda: _facts(kafka, 11, 0), [requests])


async def _facts(bench: Bench, intake_: int, dispatch_: int) -> bool:
    return [len(await facts(bench, schema)) for schema in ("intake", "dispatch")] == [
        intake_,
        dispatch_,
    ]


async def _reasons(bench: Bench) -> list[tuple[str, str]]:
    return [(row[0], "") for row in await bench.fetch("SELECT reason FROM quarantine")]


async def _quarantine(bench: Bench, wanted: int) -> bool:
    return len(await _reasons(bench)) == wanted


async def _inbox_above(bench: Bench, least: int) -> bool:
    return await inbox_size(bench) > least
