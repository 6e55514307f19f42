"""A fact goes through Kafka unchanged, so its chain can be verified from Kafka alone."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.events.catalog import EVENTS
from casebook.events.envelope import GENESIS, Envelope, chain
from casebook.events.kafka import (
    Headers,
    classification,
    from_kafka,
    record_from_kafka,
    record_to_kafka,
    to_kafka,
    type_of,
)
from casebook.events.malformed import Malformed

HASH = bytes(range(32))
FACT = Envelope(
    id=UUID("0199c3f2-6a40-7d11-8e2f-90a1b2c3d4e5"),
    source="/casebook/intake",
    type="casebook.request.classified.v1",
    subject="request/0199c3f2-0000-7000-8000-000000000001",
    streamversion=2,
    partitionkey="0199c3f2-0000-7000-8000-000000000001",
    time=datetime(2026, 3, 2, 1, 5, 12, 340000, tzinfo=UTC),
    recordedtime=datetime(2026, 3, 2, 1, 5, 12, 341001, tzinfo=UTC),
    correlationid="0199c3f2-0000-7000-8000-000000000001",
    actor="用户:王强",
    origin="live",
    audience="customer",
    data={"problem_type": "security-policy", "category": "网络"},
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
MOMENTS = st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2099, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
)
ENVELOPES = st.builds(
    Envelope,
    id=st.uuids(),
    source=TEXT,
    type=st.sampled_from(sorted(EVENTS)),
    subject=TEXT,
    streamversion=st.integers(1, 2**31 - 1),
    partitionkey=TEXT,
    time=MOMENTS,
    recordedtime=MOMENTS,
    correlationid=TEXT,
    actor=TEXT,
    origin=st.sampled_from(["live", "observed"]),
    audience=st.sampled_from(["customer", "staff", "restricted"]),
    data=st.dictionaries(TEXT, JSON, max_size=4),
    causationid=st.none() | st.uuids(),
    traceparent=st.none() | TEXT,
    originsource=st.none() | TEXT,
    originid=st.none() | TEXT,
    origindigest=st.none() | TEXT,
    sourcesequence=st.none() | st.integers(1, 2**31 - 1),
)


@given(ENVELOPES)
def test_a_fact_comes_back_with_the_same_record(envelope: Envelope) -> None:
    message = to_kafka(envelope, HASH)
    back, chain_hash = from_kafka(*message)
    assert back == envelope
    assert (back.record(), chain_hash) == (envelope.record(), HASH)
    assert record_from_kafka(*message) == (envelope.record(), HASH)


def test_the_headers_are_cloudevents_attributes() -> None:
    key, headers, value = to_kafka(FACT, HASH)
    named = dict(headers)
    assert key == FACT.partitionkey.encode()
    assert orjson.loads(value) == FACT.data
    assert named["ce_specversion"] == b"1.0"
    assert named["ce_actor"] == "用户:王强".encode()
    assert named["ce_time"] == b"2026-03-02T01:05:12.340000Z"
    assert named["ce_streamversion"] == b"2"
    assert named["ce_dataschema"] == b"urn:casebook:schema:casebook.request.classified.v1"
    assert named["ce_dataclassification"] == b"internal"
    assert named["ce_chainhash"] == HASH.hex().encode()
    assert named["content-type"] == b"application/json"
    assert "ce_causationid" not in named


def test_the_type_is_read_without_the_body() -> None:
    _, headers, _ = to_kafka(FACT, HASH)
    assert headers[0][0] == "ce_type"
    assert type_of(headers) == FACT.type
    assert type_of([("content-type", b"text/plain")]) is None


def test_what_a_type_holds_decides_its_classification() -> None:
    assert classification("casebook.risk.assessed.v1") == "restricted"
    assert classification("casebook.request.commented.v1") == "confidential"
    assert classification("casebook.work-order.opened.v1") == "internal"
    assert classification("casebook.never.heard-of.v1") == "confidential"


def test_the_chain_verifies_from_kafka_alone() -> None:
    previous, log = GENESIS, list[tuple[bytes, Headers, bytes]]()
    for version in (1, 2, 3):
        attributes = orjson.loads(FACT.record()) | {"streamversion": version}
        record = orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS).decode()
        previous = chain(previous, record)
        log.append(record_to_kafka(record, previous))
    previous = GENESIS
    for message in log:
        record, expected = record_from_kafka(*message)
        previous = chain(previous, record)
        assert previous == expected


def test_attributes_of_a_later_version_stay_in_the_record() -> None:
    later = orjson.loads(FACT.record()) | {"region": "华东"}
    record = orjson.dumps(later, option=orjson.OPT_SORT_KEYS).decode()
    message = record_to_kafka(record, HASH)
    assert record_from_kafka(*message)[0] == record
    assert from_kafka(*message)[0] == FACT


Edit = Callable[[dict[str, bytes | None]], object]
BAD: dict[str, tuple[str, Edit]] = {
    "no id": ("not-an-event", lambda headers: headers.pop("ce_id")),
    "bad id": ("not-an-event", lambda headers: headers.update(ce_id=b"1")),
    "no hash": ("not-an-event", lambda headers: headers.pop("ce_chainhash")),
    "short hash": ("not-an-event", lambda headers: headers.update(ce_chainhash=b"00")),
    "odd hash": ("not-an-event", lambda headers: headers.update(ce_chainhash=b"xyz")),
    "version": ("not-an-event", lambda headers: headers.update(ce_streamversion=b"two")),
    "null version": ("not-an-event", lambda headers: headers.update(ce_streamversion=None)),
    "null header": ("not-an-event", lambda headers: headers.update(ce_actor=None)),
    "time": ("not-an-event", lambda headers: headers.update(ce_time=b"yesterday")),
    "not utf-8": ("not-an-event", lambda headers: headers.update(ce_actor=b"\xff")),
    "specversion": ("unknown-specversion", lambda headers: headers.update(ce_specversion=b"0.3")),
    "other key": ("key-mismatch", lambda headers: headers.update(ce_partitionkey=b"other")),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_event_of_the_log_is_malformed(name: str) -> None:
    key, headers, value = to_kafka(FACT, HASH)
    code, edit = BAD[name]
    edited: dict[str, bytes | None] = dict(headers)
    edit(edited)
    with pytest.raises(Malformed) as error:
        from_kafka(key, list(edited.items()), value)
    assert error.value.code == code


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        (None, b"{}", "key-mismatch"),
        (b"\xff", b"{}", "not-an-event"),
        (FACT.partitionkey.encode(), None, "data-not-an-object"),
        (FACT.partitionkey.encode(), b"", "data-not-an-object"),
        (FACT.partitionkey.encode(), b"[]", "data-not-an-object"),
        (FACT.partitionkey.encode(), b"{", "not-an-event"),
    ],
)
def test_a_bad_key_or_value_is_malformed(key: bytes | None, value: bytes | None, code: str) -> None:
    headers = to_kafka(FACT, HASH)[1]
    with pytest.raises(Malformed) as error:
        record_from_kafka(key, headers, value)
    assert error.value.code == code


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ([("ce_streamversion", b"1" * 21)], b"{}"),
        ([("ce_sourcesequence", b"1" * 21)], b"{}"),
        ([], b'{"x":' + b"[" * 300 + b"]" * 300 + b"}"),
    ],
)
def test_what_cannot_be_written_again_as_a_record_is_malformed(
    headers: Headers, value: bytes
) -> None:
    given = dict(to_kafka(FACT, HASH)[1]) | dict(headers)
    with pytest.raises(Malformed) as error:
        record_from_kafka(FACT.partitionkey.encode(), list(given.items()), value)
    assert error.value.code == "not-an-event"


def test_a_type_without_a_value_is_none() -> None:
    assert type_of([("ce_type", None)]) is None


def test_a_repeated_attribute_has_two_readings() -> None:
    key, headers, value = to_kafka(FACT, HASH)
    with pytest.raises(Malformed) as error:
        from_kafka(key, [*headers, ("ce_actor", b"somebody else")], value)
    assert error.value.code == "repeated-attribute"


def test_other_offsets_of_time_give_the_same_record() -> None:
    attributes = cast("dict[str, Any]", orjson.loads(FACT.record()))
    attributes["time"] = "2026-03-02T09:05:12.340000+08:00"
    assert Envelope.from_record(orjson.dumps(attributes)).record() == FACT.record()
