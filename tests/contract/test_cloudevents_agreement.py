"""Our codec and the ``cloudevents`` package read each other, in every mode."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from cloudevents.core.bindings import http as their_http
from cloudevents.core.bindings import kafka as their_kafka
from cloudevents.core.v1.event import CloudEvent

from casebook.events.envelope import Envelope
from casebook.events.ingress import (
    BATCH,
    STRUCTURED,
    Published,
    from_http,
    from_kafka_ingress,
    to_batch,
    to_http_binary,
    to_structured,
)
from casebook.events.kafka import from_kafka, to_kafka

HASH = bytes(range(32))
FACT = Envelope(
    id=UUID("0199c3f2-6a40-7d11-8e2f-90a1b2c3d4e5"),
    source="/casebook/dispatch",
    type="casebook.work-order.resolved.v1",
    subject="work-order/0199c3f2-0000-7000-8000-000000000001",
    streamversion=7,
    partitionkey="0199c3f2-0000-7000-8000-000000000001",
    time=datetime(2026, 3, 2, 1, 5, 12, 340000, tzinfo=UTC),
    recordedtime=datetime(2026, 3, 2, 1, 5, 12, 341001, tzinfo=UTC),
    correlationid="0199c3f2-0000-7000-8000-000000000001",
    actor="a-王强",
    origin="observed",
    audience="customer",
    data={"code": "更换证书", "summary": {"key": "k-1", "ciphertext": "c2VhbGVk"}},
    causationid=UUID("0199c3f2-6a40-7d11-8e2f-90a1b2c3d4e4"),
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    originsource="uci498",
    originid="INC0000045/9/casebook.work-order.resolved.v1",
    origindigest="9f2c",
    sourcesequence=41,
)
EVENT = Published(
    source="urn:工单系统",
    id='row 7, "again" 100%',
    type="casebook.request.classified.v1",
    subject="INC0000045",
    time=datetime(2016, 2, 29, 1, 16, 0, 250000, tzinfo=UTC),
    data={"problem_type": "other", "category": "网络"},
    sourcesequence=3,
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    actor="Resolved by 149",
)
PLAIN = replace(EVENT, sourcesequence=None, traceparent=None, actor=None)


def theirs(event: Published) -> CloudEvent:
    attributes = event.attributes() | {"time": event.time, "datacontenttype": "application/json"}
    return CloudEvent(attributes, dict(event.data))


def agree(found: Any, event: Published) -> None:
    assert found.get_data() == event.data
    assert found.get_time() == event.time
    expected = {name: str(value) for name, value in event.attributes().items() if name != "time"}
    assert {name: str(found.get_attributes()[name]) for name in expected} == expected


def test_they_read_our_facts_on_kafka() -> None:
    key, headers, value = to_kafka(FACT, HASH)
    message = their_kafka.KafkaMessage(headers=dict(headers), key=key, value=value)
    event = their_kafka.from_kafka_event(message)
    attributes = dict(event.get_attributes())
    assert event.get_data() == FACT.data
    assert event.get_time() == FACT.time
    record = json.loads(FACT.record())
    for name in record.keys() - {"data", "time"}:
        assert attributes[name] == str(record[name])
    assert attributes["dataschema"] == f"urn:casebook:schema:{FACT.type}"
    assert attributes["datacontenttype"] == "application/json"
    assert attributes["chainhash"] == HASH.hex()


def test_we_read_facts_that_they_wrote_to_kafka() -> None:
    attributes = json.loads(FACT.record())
    data = attributes.pop("data")
    attributes |= {"time": FACT.time, "datacontenttype": "application/json"}
    attributes |= {"chainhash": HASH.hex()}
    message = their_kafka.to_binary_event(CloudEvent(attributes, data))
    assert isinstance(message.key, str)
    back, chain_hash = from_kafka(message.key.encode(), message.headers.items(), message.value)
    assert (back, chain_hash) == (FACT, HASH)
    assert back.record() == FACT.record()


@pytest.mark.parametrize("event", [EVENT, PLAIN], ids=["full", "plain"])
class TestPublished:
    """Events of other systems."""

    def test_they_read_our_structured_form(self, event: Published) -> None:
        message = their_http.HTTPMessage({"content-type": STRUCTURED}, to_structured(event))
        agree(their_http.from_http_event(message), event)

    def test_they_read_each_event_of_our_batch(self, event: Published) -> None:
        for item in json.loads(to_batch([event, event])):
            body = json.dumps(item).encode()
            message = their_http.HTTPMessage({"content-type": STRUCTURED}, body)
            agree(their_http.from_http_event(message), event)

    def test_they_read_our_binary_form(self, event: Published) -> None:
        headers, body = to_http_binary(event)
        agree(their_http.from_http_event(their_http.HTTPMessage(headers, body)), event)

    def test_we_read_their_structured_form(self, event: Published) -> None:
        message = their_http.to_structured_event(theirs(event))
        assert ours(message.headers, message.body) == event

    def test_we_read_their_structured_forms_as_a_batch(self, event: Published) -> None:
        body = their_http.to_structured_event(theirs(event)).body
        assert from_http(BATCH, [], b"[" + body + b"," + body + b"]") == [event, event]

    def test_we_read_their_binary_form(self, event: Published) -> None:
        message = their_http.to_binary_event(theirs(event))
        assert ours(message.headers, message.body) == event

    def test_we_read_what_they_send_to_kafka(self, event: Published) -> None:
        key = event.subject.encode()
        for send in (their_kafka.to_binary_event, their_kafka.to_structured_event):
            message = send(theirs(event), None, lambda _: key)
            assert from_kafka_ingress(key, message.headers.items(), message.value) == event


def ours(headers: Mapping[str, str], body: bytes) -> object:
    [event] = from_http(headers["content-type"], headers.items(), body)
    return event
