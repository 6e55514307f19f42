"""`casebook verify` where the log is Kafka: what a hand changes in the tables or on the topic.

A topic cannot be changed, so each test has a copy of it: with a record less or more, with a
record in another place, or in another form. Offsets stay as they are.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import asyncpg
import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from casebook.console.verify import FIRST_HALF, services
from casebook.events.catalog import SERVICES as SERVICE_NAMES
from casebook.events.envelope import GENESIS, chain
from casebook.events.kafka import (
    Message,
    partition,
    record_from_kafka,
    record_to_kafka,
)
from casebook.kit.log.kafka import LogUnavailable
from casebook.kit.verification.processes import verify_in_processes
from casebook.kit.verification.verify import Difference, Place, Report, verify
from tests.support.filled import fill
from tests.support.kafka import create_topic, kafka_for_tests
from tests.support.postgres import fresh_database, postgres_for_tests
from tests.support.published_log import Partitions, read_topic, write_topic

SERVICES = services()
READ_MODELS = {
    f"{service.name}.{model.name}": f"{service.name}.{model.physical(model.version, 1)}"
    for service in SERVICES
    for model in service.projections
}
GARBAGE: Message = (b"?", [("content-type", b"text/plain")], b"not an event")


@dataclass(frozen=True)
class Filled:
    """A database and a topic with something of everything, and nobody at work on them."""

    place: Place
    records: Partitions
    loop: asyncio.Runner

    def events(self, type_: str = "") -> list[tuple[int, int, Message]]:
        """Return partition, offset and message of the events of a type, or of all."""
        return [
            (number, offset, message)
            for number, messages in sorted(self.records.items())
            for offset, message in enumerate(messages)
            if (b"casebook." + type_.encode()) in dict(message[1])["ce_type"]
        ]

    def verified(self, place: Place | None = None) -> Report:
        """Return what a verification finds."""
        return self.loop.run(verify(place or self.place, SERVICES))

    def on_a_copy(self, change: Callable[[Partitions], object]) -> list[Difference]:
        """Return what a verification finds that reads a changed copy of the topic."""
        records = {number: list(messages) for number, messages in self.records.items()}
        change(records)
        topic = f"casebook.events.{uuid4().hex}"

        async def copy() -> None:
            await create_topic(self.place.bootstrap, topic, len(records))
            await write_topic(self.place.bootstrap, topic, records)

        self.loop.run(copy())
        return self.verified(Place(self.place.dsn, self.place.bootstrap, topic)).differences

    def after(self, table: str, *statements: str) -> list[Difference]:
        """Return what a verification finds while a table is changed."""
        keep = f"CREATE TABLE public.kept AS SELECT * FROM {table}"
        done = self.loop.run(self.execute(keep, *statements))
        assert not {"UPDATE 0", "DELETE 0"} & set(done)
        try:
            return self.verified().differences
        finally:
            put_back = f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM public.kept"
            undo = (f"DELETE FROM {table}", put_back, "DROP TABLE public.kept")
            self.loop.run(self.execute(*undo))

    async def execute(self, *statements: str) -> list[str]:
        """Change the database; return what PostgreSQL says of each statement."""
        connection = await asyncpg.connect(self.place.dsn)
        try:
            async with connection.transaction():
                return [await connection.execute(statement) for statement in statements]
        finally:
            await connection.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    bootstrap, topic = kafka_for_tests(), f"casebook.events.{uuid4().hex}"
    kafka = {"kafka_bootstrap": bootstrap, "kafka_topic": topic}
    with asyncio.Runner() as loop:
        database = fresh_database(postgres_for_tests())
        dsn = loop.run(database.__aenter__())
        try:
            loop.run(create_topic(bootstrap, topic, 12))
            folder = tmp_path_factory.mktemp("filled") / "home"
            loop.run(fill(dsn, folder, requests=10, kafka=kafka))
            records = loop.run(read_topic(bootstrap, topic))
            yield Filled(Place(dsn, bootstrap, topic), records, loop)
        finally:
            loop.run(database.__aexit__(None, None, None))


def places(differences: list[Difference]) -> set[tuple[str, str, str]]:
    """Return service, table and key of differences."""
    return {(d.service, d.table, d.key) for d in differences}


def key_of(message: Message) -> str:
    """Return what a report calls an event."""
    headers = dict(message[1])
    return f"{headers['ce_subject'].decode()}@{headers['ce_streamversion'].decode()}"


def owner_of(message: Message) -> str:
    """Return the service that wrote an event."""
    return dict(message[1])["ce_source"].decode().removeprefix("/casebook/")


def changed(message: Message, **attributes: object) -> Message:
    """Return an event with other attributes, under a hash that fits nothing."""
    record = orjson.loads(record_from_kafka(*message)[0]) | attributes
    text = orjson.dumps(record, option=orjson.OPT_SORT_KEYS).decode()
    return record_to_kafka(text, chain(GENESIS, text))


# --- nothing to find ----------------------------------------------------------------------------


def test_what_nobody_has_touched_is_clean(filled: Filled) -> None:
    report = filled.verified()
    assert report.differences == []
    assert report.events > 200
    assert report.streams > 50
    assert report.projections == sum(len(service.projections) for service in SERVICES)


def test_two_processes_find_the_same(filled: Filled) -> None:
    groups = (FIRST_HALF, frozenset(SERVICE_NAMES) - FIRST_HALF)
    report = filled.loop.run(verify_in_processes(filled.place, services, groups))
    assert report == filled.verified()


def test_repetitions_and_what_is_no_event_are_no_differences(filled: Filled) -> None:
    """The relay repeats what was not acknowledged; readers quarantine what others put there."""

    def change(records: Partitions) -> None:
        for messages in records.values():
            messages.extend(messages[-5:])
            messages.append(GARBAGE)
            messages.extend(messages[:3])

    assert filled.on_a_copy(change) == []


def test_what_is_in_the_outbox_may_be_on_the_topic_already(filled: Filled) -> None:
    """The snapshot lies between the acknowledgement and the end of the relay's transaction."""
    message = filled.events("request.submitted")[0][2]
    event = dict(message[1])["ce_id"].decode()
    again = (
        "INSERT INTO intake.outbox SELECT position, partition FROM intake.events "
        f"WHERE id = '{event}'"
    )
    assert filled.after("intake.outbox", again) == []


# --- what the tables hold -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "reported", "change"),
    [
        ("intake.timeline", "timeline", "type = 'casebook.request.cancelled.v1'"),
        ("monitoring.kpi_facts", "kpi_facts", "team = 'nobody'"),
        ("risk.resolution_breaches", "resolution_breaches", "breached_at = now()"),
        ("dispatch.cases", "cases", "requester = 'somebody-else'"),
        ("dispatch.agent_load", "agent_load", "capacity = capacity + 1"),
        ("quality.checkpoints", "checkpoints", "next_offset = next_offset - 1"),
        ("quality.checkpoints", "checkpoints", "next_offset = next_offset + 1000"),
        ("intake.streams", "streams", 'state = state || \'{"status": "lost"}\''),
    ],
)
def test_a_row_that_a_hand_changed_is_named(
    filled: Filled, table: str, reported: str, change: str
) -> None:
    service, _, _ = table.partition(".")
    table = READ_MODELS.get(table, table)
    one = f"ctid = (SELECT max(ctid) FROM {table})"
    differences = filled.after(table, f"UPDATE {table} SET {change} WHERE {one}")
    assert [(d.service, d.table) for d in differences] == [(service, reported)]


def test_a_tail_that_was_cut_from_the_events_is_named(filled: Filled) -> None:
    """The topic and the head both have what the table has not."""
    message = filled.events("request.closed")[-1][2]
    stream, _, version = key_of(message).partition("@")
    cut = f"DELETE FROM intake.events WHERE stream = '{stream}' AND version >= {version}"
    found = {(d.service, d.table, d.key) for d in filled.after("intake.events", cut)}
    assert ("intake", "events", key_of(message)) in found, found
    assert ("intake", "streams", stream) in found, found


def test_an_event_that_is_neither_on_the_topic_nor_in_the_outbox_is_named(filled: Filled) -> None:
    differences = filled.after("intake.outbox", "DELETE FROM intake.outbox")
    assert differences
    assert {(d.service, d.table, d.reason) for d in differences} == {
        ("intake", "events", "is neither in the log nor in the outbox")
    }


# --- what the topic holds -----------------------------------------------------------------------


def test_an_event_that_is_missing_from_the_topic_is_named(filled: Filled) -> None:
    number, offset, message = filled.events("work-order.resolved")[0]

    def change(records: Partitions) -> None:
        records[number][offset] = GARBAGE

    found = places(filled.on_a_copy(change))
    assert (owner_of(message), "events", key_of(message)) in found, found


def test_the_end_of_a_topic_that_was_lost_is_named(filled: Filled) -> None:
    number, _, message = filled.events()[-1]
    differences = filled.on_a_copy(lambda records: records[number].pop())
    assert (owner_of(message), "events", key_of(message)) in places(differences)
    assert {(name, "checkpoints", f"live/{number}") for name in SERVICE_NAMES} <= places(
        differences
    )


def test_a_record_with_changed_bytes_is_named_even_at_the_end(filled: Filled) -> None:
    """Readers drop it as a repetition; who reads the topic without Casebook would not."""
    number, _, (key, headers, value) = filled.events("request.submitted")[0]
    forged = (key, headers, value.replace(b'"kind":"incident"', b'"kind":"question"'))
    assert forged[2] != value
    differences = filled.on_a_copy(lambda records: records[number].append(forged))
    at = f"{number}/{len(filled.records[number])}"
    assert [(d.service, d.key, d.column, d.reason) for d in differences] == [
        ("log", at, "record", "differs from the event")
    ]


def test_an_event_that_nobody_stored_is_named(filled: Filled) -> None:
    """A next version of a stream, well made; and one that says it is ours and cannot be read."""
    number, _, message = filled.events("agent.registered")[0]
    forged = changed(message, streamversion=999, id=str(uuid4()))
    broken = (message[0], message[1], b"{")
    differences = filled.on_a_copy(lambda records: records[number].extend((forged, broken)))
    end = len(filled.records[number])
    at = ("log", "records", f"{number}/{end + 1}")
    assert {(owner_of(message), "events", key_of(forged)), at} <= places(differences)


def test_a_copy_in_another_partition_is_named(filled: Filled) -> None:
    number, _, message = filled.events("request.submitted")[0]
    other = (number + 1) % 12
    differences = filled.on_a_copy(lambda records: records[other].append(message))
    reasons = {d.key: d.reason for d in differences if d.column == "partition"}
    at = f"{other}/{len(filled.records[other])}"
    assert reasons == {at: "is not the partition of the key"}
    assert partition(message[0].decode()) == number


def test_an_order_that_no_service_has_published_is_named(filled: Filled) -> None:
    """Two versions of a stream change places; then the first comes once more, as if repeated."""
    number, offset, message = filled.events("work-order.accepted")[0]
    stream = dict(message[1])["ce_subject"]
    later = next(
        place
        for place in range(offset + 1, len(filled.records[number]))
        if dict(filled.records[number][place][1])["ce_subject"] == stream
    )

    def change(records: Partitions) -> None:
        mine = records[number]
        mine[offset], mine[later] = mine[later], mine[offset]
        mine.append(mine[offset])

    differences = filled.on_a_copy(change)
    assert ("log", "records", f"{number}/{offset}") in places(differences)


def test_a_topic_that_has_lost_its_beginning_is_named(filled: Filled) -> None:
    number, _, message = filled.events("agent.registered")[0]
    topic = f"casebook.events.{uuid4().hex}"

    async def copy() -> None:
        await create_topic(filled.place.bootstrap, topic, 12)
        await write_topic(filled.place.bootstrap, topic, filled.records)
        admin = AIOKafkaAdminClient(bootstrap_servers=filled.place.bootstrap)
        await admin.start()
        try:
            place = TopicPartition(topic, number)
            offset = len(filled.records[number]) - 1
            await admin.delete_records({place: RecordsToDelete(before_offset=offset)})
        finally:
            await admin.close()

    filled.loop.run(copy())
    report = filled.verified(Place(filled.place.dsn, filled.place.bootstrap, topic))
    assert {("log", "records", f"{number}/0"), (owner_of(message), "events", key_of(message))} <= (
        places(report.differences)
    )


def test_a_kafka_that_is_away_proves_nothing(filled: Filled) -> None:
    with pytest.raises(LogUnavailable):
        filled.verified(Place(filled.place.dsn, "127.0.0.1:1", filled.place.topic))
