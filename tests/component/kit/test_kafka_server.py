"""The Kafka that other tests use: it answers, keeps its data, and is not left behind."""

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError

from tests.support.kafka import (
    KafkaServer,
    broker_properties,
    create_topic,
    kafka_for_tests,
    new_nodes,
)

OWNER = """
import sys
from tests.support.kafka import KafkaServer
server = KafkaServer()
server.start()
print(server.bootstrap, flush=True)
sys.stdin.read()
"""


async def test_a_record_comes_back() -> None:
    bootstrap, topic = kafka_for_tests(), f"test-{secrets.token_hex(4)}"
    await create_topic(bootstrap, topic, 12)
    await produce(bootstrap, topic, b"hello")
    assert await first_record(bootstrap, topic) == b"hello"


async def test_a_topic_is_never_created_by_the_way() -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_for_tests(), request_timeout_ms=2000)
    await producer.start()
    try:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send_and_wait("test-nobody-created-this", b"lost")
    finally:
        await producer.stop()


async def test_a_killed_broker_starts_again_with_its_data() -> None:
    with KafkaServer() as server:
        await create_topic(server.bootstrap, "kept", 1)
        await produce(server.bootstrap, "kept", b"before")
        server.kill()
        began = time.monotonic()
        server.start()
        taken = time.monotonic() - began
        print(f"broker after a kill: {taken:.2f} s")  # noqa: T201 - a timing for people
        assert await first_record(server.bootstrap, "kept") == b"before"


def test_a_broker_ends_with_the_process_that_started_it() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout
        port = owner.stdout.readline().strip().rpartition(":")[2]
        assert brokers_on(port)
        os.kill(owner.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while brokers_on(port) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not brokers_on(port)


def test_three_members_share_one_configuration() -> None:
    nodes = new_nodes(3)
    properties = [broker_properties(node, nodes, "data") for node in nodes]
    assert len({one["controller.quorum.voters"] for one in properties}) == 1
    assert {one["offsets.topic.replication.factor"] for one in properties} == {"3"}
    assert {one["min.insync.replicas"] for one in properties} == {"2"}
    assert len({one["listeners"] for one in properties}) == 3


async def produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(topic, value, key=b"case")
    finally:
        await producer.stop()


async def first_record(bootstrap: str, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=f"{topic}-reader", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        record = await consumer.getone()
        return record.value
    finally:
        await consumer.stop()


def brokers_on(port: str) -> list[str]:
    """Return the listening sockets on ``port``, from the kernel's own table."""
    wanted = f"0100007F:{int(port):04X}"
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    lines = [line.split() for table in tables for line in table.read_text().splitlines()[1:]]
    return [line[1] for line in lines if line[1].endswith(wanted) and line[3] == "0A"]
