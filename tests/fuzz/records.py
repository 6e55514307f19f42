"""Hostile records on real Kafka: on a publisher's topic, and straight on the log.

On a publisher's topic stand the nasties in every text of the example of every type, in binary and
in structured mode, and in every attribute. On the log stands a share of the same, with a header, a
value or a key that nobody of ours would write. Each record must come to an end in every service
that reads it: a fact, a quarantine, or parked with the reason.

Left out is what claims to be a service's own event (``/casebook/<service>``): whoever may write to
the log can stop a service with it, which is what ACLs are for (ADR 0050).
"""

import asyncio
import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from casebook.events.catalog import EVENTS
from casebook.events.envelope import GENESIS, chain
from casebook.events.kafka import PARTITIONS, TYPE_HEADER, partition, record_to_kafka
from casebook.kit.ingress.kafka import PREFIX
from tests.fuzz.events import EXAMPLES, nasty_events, new_event, texts_of
from tests.fuzz.ground import SOURCES, Ground
from tests.fuzz.outcome import Outcome
from tests.support.foreign import fact
from tests.support.interface import SERVICES, Json, spliced
from tests.support.nasties import NASTIES, Nasty
from tests.support.published_log import send_undecodable

KIND_INGRESS, KIND_LOG = "nasty records on a publisher's topic", "nasty records on the log"
STRUCTURED, BINARY = b"application/cloudevents+json", b"application/json"
ATTRIBUTES = (
    "id", "source", "type", "subject", "time", "sourcesequence", "traceparent", "actor",
    "specversion", "datacontenttype",
)  # fmt: skip
SENT_AT_ONCE = 500
CAUGHT_UP_SECONDS_MAX = 600.0


@dataclass(frozen=True)
class Record:
    """A record to be sent; ``ids`` are those that its event may be known by."""

    key: bytes | None
    headers: list[tuple[str, bytes | None]]
    value: bytes | None
    ids: frozenset[str] = frozenset()
    partition: int | None = None

    @property
    def case(self) -> str:
        """Return the key, as far as it is text."""
        return (self.key or b"").decode("utf-8", "replace")


Place = tuple[int, int]
"""Partition and offset."""


# --- a publisher's topic -------------------------------------------------------------------------


def on_a_publishers_topic(ground: Ground, step: int, start: int) -> Outcome:
    """Send every ``step``-th of them; each must become a fact or a quarantine row."""
    return ground.do(_ingress(ground, step, start))


async def _ingress(ground: Ground, step: int, start: int) -> Outcome:
    outcome, topics = Outcome(), ground.kafka
    records = [*_with_bad_attributes(step, start), *_with_bad_data(step, start), *_no_events()]
    sent = await _send(topics.bootstrap, topics.ingress, records)
    sent |= await _undecodable(topics.bootstrap, topics.ingress)
    await _read(topics.bootstrap, topics.ingress)
    await ground.quiet()
    outcome.cases[KIND_INGRESS] = len(sent)
    known, unreadable = await _ends(ground)
    for place, record in sent.items():
        if place in unreadable:
            outcome.answers["unreadable"] += 1
        elif found := sorted({known[id_] for id_ in record.ids if id_ in known}):
            outcome.answers[found[0]] += 1
        else:
            outcome.fail(f"lost: {record.headers} {(record.value or b'')[:300]!r}")
    return outcome


def _with_bad_data(step: int, start: int) -> Iterator[Record]:
    for number, (_, event, place, nasty) in enumerate(nasty_events(step, start)):
        ids = frozenset({event["id"]})
        if number % 2:
            yield _structured(event, spliced(event, place, nasty.body), ids)
        else:
            yield _binary(event, spliced(event["data"], place[1:], nasty.body), ids)


def _with_bad_attributes(step: int, start: int) -> Iterator[Record]:
    data: Json = {"number": "N", "kind": "incident", "requester": "li"}
    number = 0
    for name in ATTRIBUTES:
        for nasty in NASTIES:
            number += 1
            if number % step != start % step:
                continue
            event = new_event("casebook.request.submitted.v1", data, SOURCES[number % 2])
            ids = frozenset({event["id"], text_of(nasty).decode("utf-8", "replace")})
            if number // step % 2:
                yield _structured(event, spliced(event, (name,), nasty.body), ids)
            else:
                yield _binary(event | {name: text_of(nasty)}, json.dumps(data).encode(), ids)


def _no_events() -> Iterator[Record]:
    """Yield what no producer of ours could send, and Kafka takes."""
    event = new_event("casebook.request.submitted.v1", {}, SOURCES[0])
    good = _binary(event, b"{}", frozenset({event["id"]}))
    yield Record(b"k", [], None)
    yield Record(None, [], b"")
    yield Record(b"\xff", [], b"\xff")
    yield Record(good.key, [*good.headers, (TYPE_HEADER, None)], b"{}")
    yield Record(good.key, [("ce_id", None), *good.headers[1:]], b"{}")
    yield Record(good.key, [("content-type", None)], b"{}")
    yield Record(good.key, [*good.headers, *good.headers], b"{}")
    yield Record(good.key, [*good.headers, ("CE_ID", b"again")], b"{}")
    yield Record(good.key, [("", b""), ("ce_", b""), ("\u202e", b"x")], b"{}")
    yield Record(good.key, good.headers, None)


def _structured(event: Json, body: bytes, ids: frozenset[str]) -> Record:
    return Record(event["subject"].encode(), [("content-type", STRUCTURED)], body, ids)


def _binary(event: Json, body: bytes, ids: frozenset[str]) -> Record:
    attributes = {name: value for name, value in event.items() if name != "data"}
    headers: list[tuple[str, bytes | None]] = [
        (f"ce_{name}", value if isinstance(value, bytes) else str(value).encode())
        for name, value in attributes.items()
    ]
    subject = attributes["subject"]
    key = subject if isinstance(subject, bytes) else str(subject).encode()
    return Record(key, [*headers, ("content-type", BINARY)], body, ids)


def text_of(nasty: Nasty) -> bytes:
    """Return a nasty as a header would hold it: the text that it is, or its bytes."""
    try:
        value = json.loads(nasty.body)
        return value.encode() if isinstance(value, str) else nasty.body
    except (ValueError, RecursionError):
        return nasty.body


async def _ends(ground: Ground) -> tuple[dict[str, str], set[Place]]:
    """Return what became of events by their id, and where records stood that are none."""
    known: dict[str, str] = {}
    places: set[Place] = set()
    for service in SERVICES:
        for id_ in await ground.column(
            f"SELECT record::json->>'originid' FROM {service}.events "
            "WHERE record::json->>'originid' IS NOT NULL"
        ):
            known[id_] = "fact"
        for id_ in await ground.column(
            f"SELECT source_event FROM {service}.quarantine WHERE source_event IS NOT NULL"
        ):
            known.setdefault(id_, "quarantined")
        for detail in await ground.column(
            f"SELECT detail FROM {service}.quarantine WHERE channel = 'kafka' "
            f"AND detail LIKE '{ground.kafka.ingress}/%'"
        ):
            _, number, offset = detail.partition(": ")[0].split("/")
            places.add((int(number), int(offset)))
    return known, places


# --- the log -------------------------------------------------------------------------------------


def on_the_log(ground: Ground, step: int, start: int) -> Outcome:
    """Write every ``step``-th of them; each must come to an end in all five services."""
    return ground.do(_log(ground, step, start))


async def _log(ground: Ground, step: int, start: int) -> Outcome:
    outcome, topics = Outcome(), ground.kafka
    records = [*_bad_facts(step, start), *_bad_headers(step, start), *_no_facts()]
    sent = await _send(topics.bootstrap, topics.log, records)
    sent |= await _undecodable(topics.bootstrap, topics.log)
    ground.planted |= {record.case for record in records}
    await ground.quiet()
    outcome.cases[KIND_LOG] = len(sent)
    for service in SERVICES:
        quarantined = {
            tuple(map(int, detail.split()[1::2]))
            for detail in await ground.column(
                f"SELECT detail FROM {service}.quarantine WHERE channel = 'log'"
            )
        }
        parked = {
            tuple(map(int, place.split("/")))
            for place in await ground.column(
                f"SELECT partition || '/' || \"offset\" FROM {service}.parked WHERE error <> ''"
            )
        }
        cases = set(await ground.column(f"SELECT key FROM {service}.cases"))
        for place, record in sent.items():
            if place in quarantined:
                outcome.answers["not an event"] += 1
            elif place in parked:
                outcome.answers["parked"] += 1
            elif record.case in cases:
                outcome.answers["applied"] += 1
            else:
                outcome.fail(f"{service} lost {record.headers} {(record.value or b'')[:300]!r}")
    return outcome


def _bad_facts(step: int, start: int) -> Iterator[Record]:
    """Yield facts of all types with a nasty in one of the texts of their data."""
    number = 0
    for type_, data in _stored():
        for place in texts_of(data, ()):
            for nasty in NASTIES:
                number += 1
                if number % step == start % step:
                    record = _fact(type_, data)
                    yield Record(
                        record.key, record.headers, spliced(data, place, nasty.body),
                        partition=record.partition,
                    )  # fmt: skip


def _bad_headers(step: int, start: int) -> Iterator[Record]:
    """Yield facts with a nasty in one of their headers; what it says must not be the next one."""
    number = 0
    [first, *_] = _stored()
    for index, (name, _) in enumerate(_fact(*first).headers):
        for nasty in NASTIES:
            number += 1
            if number % step != start % step or name == "ce_streamversion":
                continue
            record, text = _fact(*first), text_of(nasty)
            headers = [*record.headers]
            headers[index] = (name, text)
            key = text if name == "ce_partitionkey" else record.key
            yield Record(key, headers, record.value, partition=number % PARTITIONS)


def _no_facts() -> Iterator[Record]:
    """Yield what is nothing that the log may hold."""
    [first, *_] = _stored()
    good = _fact(*first)
    for version in (
        b"0",
        b"-1",
        b"1" * 19,
        b"1" * 20,
        b"1" * 21,
        b"9" * 5_000,
        b"1.0",
        b"",
        b"x",
        None,
    ):
        headers = [(n, version if n == "ce_streamversion" else v) for n, v in good.headers]
        yield Record(good.key, headers, good.value, partition=0)
    for sequence in (b"9" * 18, b"9" * 40, b"-1", b"x", None):
        record = _fact(*first)
        yield Record(
            record.key, [*record.headers, ("ce_sourcesequence", sequence)], record.value,
            partition=record.partition,
        )  # fmt: skip
    yield Record(b"k", [], None, partition=1)
    yield Record(None, [], b"{}", partition=1)
    yield Record(b"\xff", [], b"\xff", partition=2)
    yield Record(good.key, [*good.headers, (TYPE_HEADER, None)], good.value, partition=3)
    yield Record(good.key, [*good.headers, *good.headers], good.value, partition=4)
    yield Record(good.key, [("", b""), ("ce_", b""), ("\u202e", b"x")], b"{}", partition=5)
    yield Record(good.key, good.headers, None, partition=6)


def _stored() -> list[tuple[str, Json]]:
    """Return type and data of the example of every type, as the log holds them."""
    paths = sorted(EXAMPLES.glob("*.json"))
    return [(path.stem, json.loads(path.read_text("utf-8"))) for path in paths]


def _fact(type_: str, data: Json) -> Record:
    """Return a fact of a service that there is not, about a case of its own."""
    case, event = str(uuid.uuid4()), EVENTS[type_]
    made = fact(
        f"{event.family}/{case}", 1, event.tolerant(data), data=data, source="/casebook/elsewhere"
    )
    key, headers, value = record_to_kafka(made.record(), chain(GENESIS, made.record()))
    return Record(key, [*headers], value, partition=partition(case))


# --- Kafka ---------------------------------------------------------------------------------------


async def _send(bootstrap: str, topic: str, records: Iterable[Record]) -> dict[Place, Record]:
    """Write records as somebody does who may; return where each stands."""
    sent: dict[Place, Record] = {}
    waiting = list(records)
    producer: Any = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    await producer.start()
    try:
        for at in range(0, len(waiting), SENT_AT_ONCE):
            some = waiting[at : at + SENT_AT_ONCE]
            futures = [
                await producer.send(
                    topic, one.value, key=one.key, headers=one.headers, partition=one.partition
                )
                for one in some
            ]
            for one, done in zip(some, await asyncio.gather(*futures), strict=True):
                sent[done.partition, done.offset] = one
    finally:
        await producer.stop()
    return sent


async def _undecodable(bootstrap: str, topic: str) -> dict[Place, Record]:
    """Send what no client can decode; of its batch, only what stands before can be read."""
    places = await send_undecodable(bootstrap, topic, 0)
    return {(0, at): Record(b"k", [], b"{}") for at in places}


async def _read(bootstrap: str, topic: str) -> None:
    """Wait until all five services have read a publisher's topic to its end."""
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer: Any = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await admin.start()
    await consumer.start()
    try:
        numbers = [e["partition"] for e in (await admin.describe_topics([topic]))[0]["partitions"]]
        places = [TopicPartition(topic, number) for number in numbers]
        ends = await consumer.end_offsets(places)
        async with asyncio.timeout(CAUGHT_UP_SECONDS_MAX):
            for service in SERVICES:
                while True:
                    found = await admin.list_consumer_group_offsets(f"{PREFIX}{service}")
                    if all(p in found and found[p].offset >= ends[p] for p in places if ends[p]):
                        break
                    await asyncio.sleep(0.2)
    finally:
        await consumer.stop()
        await admin.close()
