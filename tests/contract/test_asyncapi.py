"""docs/asyncapi.json: valid by AsyncAPI's own parser, complete, and what the code really sends."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from casebook.console.importing.audit_file import AuditLog
from casebook.console.importing.run import chunks
from casebook.console.importing.servicenow import AuditMapping
from casebook.events.catalog import EVENTS, INGRESS_ONLY, publishable
from casebook.events.ingress import event_of, from_kafka_ingress
from casebook.events.kafka import from_kafka
from casebook.events.schemas import schema
from tests.support.asyncapi_parser import parse
from tests.support.audit_log import SAMPLE
from tests.support.conformance import (
    NotAsPublished,
    assert_message,
    assert_published,
    asyncapi,
)
from tools.pages.asyncapi import name, page
from tools.revisions import SIDES

ROOT = Path(__file__).parents[2]
FACTS = sorted(type_ for type_, event in EVENTS.items() if event not in INGRESS_ONLY)
PUBLISHED = sorted(type_ for type_, event in EVENTS.items() if publishable(event))
EVENTS_CHECKED = 500
SUBMITTED = "casebook.request.submitted.v1"


def message(name: str) -> dict[str, Any]:
    return asyncapi()["components"]["messages"][name]


def example(name: str) -> tuple[dict[str, str], Any]:
    [found] = message(name)["examples"]
    return found["headers"], found["payload"]


def raw(headers: dict[str, str]) -> list[tuple[str, bytes]]:
    return [(name, value.encode()) for name, value in headers.items()]


# --- the document -------------------------------------------------------------------------------


def test_the_parser_of_asyncapi_accepts_it() -> None:
    [found] = parse(page(ROOT))
    # That there is a newer version of AsyncAPI than 3.0 is all it has to say.
    assert [item for item in found["problems"] if item["code"] != "asyncapi-latest-version"] == []
    assert found["channels"] == {
        "casebook.events": len(FACTS),
        "casebook.ingress.{publisher}": len(PUBLISHED) + 1,
    }


def _unknown_action(document: dict[str, Any]) -> None:
    document["operations"]["sendFacts"]["action"] = "publish"


def _lost_message(document: dict[str, Any]) -> None:
    del document["components"]["messages"][SUBMITTED]


def _no_schema(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["Sealed"]["properties"]["key"]["type"] = "text"


def _no_partitions(document: dict[str, Any]) -> None:
    document["channels"]["events"]["bindings"]["kafka"]["partitions"] = 0


PLANTS = (_unknown_action, _lost_message, _no_schema, _no_partitions)


def test_the_parser_finds_what_is_wrong() -> None:
    def planted(plant: Callable[[dict[str, Any]], None]) -> str:
        document = json.loads(page(ROOT))
        plant(document)
        return json.dumps(document)

    for plant, found in zip(PLANTS, parse(*map(planted, PLANTS)), strict=True):
        assert "error" in {item["severity"] for item in found["problems"]}, plant.__name__


def test_every_schema_is_one_and_describes_the_committed_event() -> None:
    schemas = asyncapi()["components"]["schemas"]
    for title, body in schemas.items():
        Draft7Validator.check_schema(body)
        assert "$defs" not in json.dumps(body), title
    for event in EVENTS.values():
        for side in SIDES:
            if name(event, side) in schemas:
                committed, moved = schema(event, side), schemas[name(event, side)]
                assert moved["x-schema-id"] == committed["$id"]
                assert moved["properties"].keys() == committed["properties"].keys()
                assert moved.get("required") == committed.get("required")
                assert moved["additionalProperties"] is False


# --- the log ------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", FACTS)
def test_the_example_of_a_fact_is_a_fact(type_: str) -> None:
    headers, payload = example(type_)
    value = json.dumps(payload).encode()
    key = headers["ce_partitionkey"].encode()
    assert assert_message(raw(headers), value, key) == type_
    envelope, chain_hash = from_kafka(key, raw(headers), value)
    assert (envelope.type, envelope.data) == (type_, payload)
    assert chain_hash.hex() == headers["ce_chainhash"]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("ce_type", "casebook.request.sold.v1"),
        ("ce_subject", "team/network"),
        ("ce_source", "/casebook/dispatch"),
        ("ce_audience", "restricted"),
        ("ce_streamversion", "0"),
        ("ce_time", "2026-03-02 01:05:12"),
        ("ce_id", "1"),
        ("ce_partitionkey", "INC0000045"),
        ("ce_chainhash", "00"),
        ("ce_tenant", "acme"),
        ("ce_recordedtime", None),
    ],
)
def test_another_header_is_found(header: str, value: str | None) -> None:
    headers, payload = example(SUBMITTED)
    changed = headers | {header: value or ""}
    if value is None:
        del changed[header]
    with pytest.raises(NotAsPublished):
        assert_message(raw(changed), json.dumps(payload).encode())


def test_another_payload_or_key_is_found() -> None:
    headers, payload = example(SUBMITTED)
    for wrong in (
        {**payload, "mood": "calm"},
        {**payload, "title": "text in the clear"},
        {field: value for field, value in payload.items() if field != "number"},
        None,
    ):
        with pytest.raises(NotAsPublished):
            assert_message(raw(headers), json.dumps(wrong).encode())
    with pytest.raises(NotAsPublished, match="the key is"):
        assert_message(raw(headers), json.dumps(payload).encode(), b"another")


# --- ingress ------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", PUBLISHED)
def test_the_example_of_a_published_event_is_taken(type_: str) -> None:
    headers, payload = example(f"{type_}.ingress")
    assert assert_published(headers, payload) == f"{type_}.ingress"
    key = headers["ce_subject"].encode()
    published = from_kafka_ingress(key, raw(headers), json.dumps(payload).encode())
    assert event_of(published).payload() == payload


def test_the_example_of_structured_mode_is_taken() -> None:
    headers, payload = example("structured")
    assert_published(headers, payload)
    key = payload["subject"].encode()
    published = from_kafka_ingress(key, raw(headers), json.dumps(payload).encode())
    assert event_of(published).type == payload["type"]
    for wrong in (
        payload | {"type": "casebook.team.created.v1"},
        payload | {"data": {}},
        payload | {"type": "casebook.work-order.started.v1"},
        payload | {"sourcesequence": "3"},
    ):
        with pytest.raises(NotAsPublished):
            assert_published(headers, wrong)


def test_what_the_import_publishes_is_as_published() -> None:
    log = AuditLog(SAMPLE)
    mapping = AuditMapping(log.columns, file=SAMPLE.name, source="uci498", utc_offset="+00:00")
    chunk = next(chunks(log, mapping))
    content_type = {"content-type": "application/cloudevents+json"}
    events = [event for part in chunk.parts.values() for event in part][:EVENTS_CHECKED]
    assert len(events) == EVENTS_CHECKED
    for event in events:
        assert assert_published(content_type, event) == "structured"


def test_what_is_casebooks_own_is_not_published() -> None:
    assert "casebook.risk.registered.v1" not in PUBLISHED
    assert "casebook.import.row-rejected.v1" in PUBLISHED
    for type_ in EVENTS.keys() - set(PUBLISHED):
        with pytest.raises(NotAsPublished, match="nobody may publish"):
            assert_published({"ce_type": type_}, {})
