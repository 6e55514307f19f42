"""What other systems publish is read in every mode, and refused with a code when it is unsound."""

import base64
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from casebook.events.ingress import (
    BATCH,
    STRUCTURED,
    Published,
    event_of,
    from_batch,
    from_http,
    from_http_binary,
    from_kafka_ingress,
    from_object,
    from_structured,
    to_batch,
    to_http_binary,
    to_structured,
)
from casebook.events.malformed import Malformed
from casebook.events.request import RequestClassified, RequestCommented

EVENT = Published(
    source="urn:工单系统",
    id="row 7/“%”",
    type="casebook.request.classified.v1",
    subject="INC0000045",
    time=datetime(2016, 2, 29, 1, 16, tzinfo=UTC),
    data={"problem_type": "other", "category": "网络"},
    sourcesequence=3,
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    actor="Resolved by 149",
)


def changed(**attributes: Any) -> dict[str, Any]:
    return EVENT.structured() | attributes


def refusal(value: object) -> str:
    with pytest.raises(Malformed) as error:
        from_object(value)
    return error.value.code


def test_every_mode_brings_the_same_event() -> None:
    headers, body = to_http_binary(EVENT)
    assert from_structured(to_structured(EVENT)) == EVENT
    assert from_batch(to_batch([EVENT, EVENT])) == [EVENT, EVENT]
    assert from_http_binary(headers.items(), body) == EVENT
    assert from_http(f"{STRUCTURED}; charset=utf-8", [], to_structured(EVENT)) == [EVENT]
    assert from_http(BATCH, [], to_batch([EVENT])) == [EVENT]
    assert from_http("application/json", headers.items(), body) == [EVENT]


def test_kafka_brings_it_too() -> None:
    headers = [(f"ce_{name}", str(value).encode()) for name, value in EVENT.attributes().items()]
    key, body = EVENT.subject.encode(), orjson.dumps(EVENT.data)
    assert from_kafka_ingress(key, headers, body) == EVENT
    content_type = [("content-type", STRUCTURED.encode())]
    assert from_kafka_ingress(key, content_type, to_structured(EVENT)) == EVENT


def test_headers_are_printable_ascii() -> None:
    headers, _ = to_http_binary(EVENT)
    for value in headers.values():
        assert value.isascii()
        assert value.isprintable()
        assert not set(value) & {" ", '"'}


def test_without_order_and_trace_it_is_an_event_still() -> None:
    value = changed(sourcesequence=None, traceparent=None, actor=None)
    assert from_object(value) == Published(
        EVENT.source, EVENT.id, EVENT.type, EVENT.subject, EVENT.time, EVENT.data
    )


def test_unknown_extensions_are_ignored() -> None:
    assert from_object(changed(region="华东", dataschema="urn:x", weight=3)) == EVENT


def test_a_trace_that_cannot_be_read_costs_nothing() -> None:
    assert from_object(changed(traceparent="00-zero")).traceparent is None


def test_data_in_base64_is_read() -> None:
    value = changed(data_base64=base64.b64encode(orjson.dumps(EVENT.data)).decode())
    del value["data"]
    assert from_object(value) == EVENT


def test_identifiers_are_kept_as_received() -> None:
    decomposed = "cafe\u0301"
    assert from_object(changed(id=decomposed)).id == decomposed


@pytest.mark.parametrize("name", ["id", "source", "type", "subject", "time"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_required_attribute_is_missing(name: str, value: str | None) -> None:
    expected = "bad-time" if (name, value) == ("time", "") else "missing-attribute"
    assert refusal(changed(**{name: value})) == expected


@pytest.mark.parametrize("name", ["id", "source", "type", "subject"])
def test_a_required_attribute_is_one_line_of_255_characters(name: str) -> None:
    assert getattr(from_object(changed(**{name: "长" * 255})), name) == "长" * 255
    assert refusal(changed(**{name: "x" * 256})) == "attribute-too-long"
    assert refusal(changed(**{name: 7})) == "not-a-text"
    for text in ("a\nb", "a\x00b", "a\ud800", "\u202eb", "   "):
        assert refusal(changed(**{name: text})) == "unsafe-text"


TIMES = {
    "2016-02-29T01:16:00": "time-without-offset",
    "2016-02-29": "bad-time",
    "20160229T011600Z": "bad-time",
    "2016-02-30T01:16:00Z": "bad-time",
    "2016-12-31T23:59:60Z": "bad-time",
    "1456708560": "bad-time",
    "2016-02-29T01:16:00+25:00": "bad-time",
    "1999-12-31T23:59:59Z": "time-out-of-range",
    "2100-01-01T00:00:00Z": "time-out-of-range",
    "0001-01-01T00:00:00+14:00": "time-out-of-range",
    "9999-12-31T23:59:59-12:00": "time-out-of-range",
}


@pytest.mark.parametrize("time", TIMES)
def test_a_time_is_a_moment_of_this_century(time: str) -> None:
    assert refusal(changed(time=time)) == TIMES[time]


def test_a_time_is_no_number() -> None:
    assert refusal(changed(time=1456708560)) == "bad-time"


@pytest.mark.parametrize(
    "time",
    ["2016-02-29T09:16:00+08:00", "2016-02-29t01:16:00z", "2016-02-29 01:16:00.000000000Z"],
)
def test_a_time_has_several_spellings(time: str) -> None:
    assert from_object(changed(time=time)).time == EVENT.time


@pytest.mark.parametrize("value", [0, -1, 2**31, True, 1.0, "0", "x", "\uff11", "9" * 5000, [1]])
def test_a_source_sequence_counts_from_one(value: object) -> None:
    assert refusal(changed(sourcesequence=value)) == "bad-source-sequence"


@pytest.mark.parametrize("name", ["Region", "my_region", "région", "", "x" * 65])
def test_attribute_names_are_lower_case_letters_and_digits(name: str) -> None:
    assert refusal(changed(**{name: "x"})) == "attribute-name"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([], "not-an-event"),
        (None, "not-an-event"),
        (changed(specversion="0.3"), "unknown-specversion"),
        (changed(specversion=None), "unknown-specversion"),
        (changed(data=None), "data-not-an-object"),
        (changed(data="x"), "data-not-an-object"),
        (changed(datacontenttype="text/xml"), "data-not-an-object"),
        (changed(data_base64="e30="), "data-twice"),
        (changed(data=None, data_base64="?"), "bad-base64"),
        (changed(data=None, data_base64=7), "bad-base64"),
        (changed(data=None, data_base64="ew=="), "malformed-json"),
    ],
)
def test_what_is_no_event_is_refused(value: object, code: str) -> None:
    assert refusal(value) == code


def test_one_bad_event_leaves_the_others_of_its_batch() -> None:
    good, bad = from_batch(orjson.dumps([EVENT.structured(), changed(time=None)]))
    assert good == EVENT
    assert isinstance(bad, Malformed)
    assert bad.code == "missing-attribute"


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        (STRUCTURED, b"{", "malformed-json"),
        (BATCH, b"{}", "batch-not-an-array"),
        ("text/plain", b"{}", "unsupported-media-type"),
        ("", b"{}", "unsupported-media-type"),
        ("application/json", b"{}", "unknown-specversion"),
    ],
)
def test_a_request_that_cannot_be_read_is_refused_whole(
    content_type: str, body: bytes, code: str
) -> None:
    with pytest.raises(Malformed) as error:
        from_http(content_type, [], body)
    assert error.value.code == code


def test_the_error_of_a_stricter_parser_keeps_its_code() -> None:
    class TooDeep(ValueError):
        code, detail = "too-deep", "the body nests too deep"

    def loads(body: bytes) -> object:
        raise TooDeep

    with pytest.raises(Malformed) as error:
        from_structured(b"[]", loads=loads)
    assert error.value.code == "too-deep"


def test_a_header_that_repeats_or_is_no_utf8_is_refused() -> None:
    headers, body = to_http_binary(EVENT)
    for extra, code in ((("CE-ID", "other"), "repeated-attribute"), (("ce-x", "%FF"), "not-utf-8")):
        with pytest.raises(Malformed) as error:
            from_http_binary([*headers.items(), extra], body)
        assert error.value.code == code


def test_kafka_keeps_the_order_of_a_subject_only_under_its_key() -> None:
    headers = [("content-type", STRUCTURED.encode())]
    for key in (None, b"other"):
        with pytest.raises(Malformed) as error:
            from_kafka_ingress(key, headers, to_structured(EVENT))
        assert error.value.code == "key-mismatch"
    free = orjson.dumps(changed(sourcesequence=None))
    assert from_kafka_ingress(None, headers, free).sourcesequence is None


@pytest.mark.parametrize(
    ("key", "headers", "value", "code"),
    [
        (b"x", [("ce_id", b"\xff")], b"{}", "not-utf-8"),
        (b"x", [("ce_id", None)], b"{}", "missing-attribute"),
        (b"x", [("content-type", None)], b"{}", "missing-attribute"),
        (b"\xff", [], b"{}", "not-utf-8"),
        (b"x", [], None, "data-not-an-object"),
        (b"x", [], b"{", "malformed-json"),
        (b"x", [], b"{}", "unknown-specversion"),
    ],
)
def test_a_kafka_record_that_is_no_event_is_refused(
    key: bytes, headers: list[tuple[str, bytes | None]], value: bytes | None, code: str
) -> None:
    with pytest.raises(Malformed) as error:
        from_kafka_ingress(key, headers, value)
    assert error.value.code == code


def test_published_data_becomes_the_event() -> None:
    assert event_of(EVENT) == RequestClassified(problem_type="other", category="网络")


@pytest.mark.parametrize(
    ("type_", "data", "code"),
    [
        ("casebook.never.heard-of.v1", {}, "unknown-type"),
        ("casebook.request.classified.v2", {}, "unknown-major"),
        ("casebook.request.prioritised.v0", {"impact": "2 - Medium"}, "unknown-major"),
        ("casebook.request.classified.v1", {}, "invalid-data"),
        ("casebook.request.classified.v1", {"problem_type": "x", "extra": 1}, "invalid-data"),
        ("casebook.request.prioritised.v1", {"impact": True}, "invalid-data"),
        ("casebook.request.prioritised.v1", {"matrix": {"id": "m", "version": 1, "x": 1}},
         "invalid-data"),
        ("casebook.request.commented.v1", {"body": {"key": "k", "ciphertext": "c"}}, "sealed-text"),
    ],
)  # fmt: skip
def test_published_data_that_is_not_of_its_type_is_refused(
    type_: str, data: dict[str, Any], code: str
) -> None:
    with pytest.raises(Malformed) as error:
        event_of(from_object(changed(type=type_, data=data)))
    assert error.value.code == code


def test_a_refusal_never_repeats_what_was_published() -> None:
    with pytest.raises(Malformed) as error:
        event_of(from_object(changed(data={"problem_type": "秘密" * 200})))
    assert "秘密" not in error.value.detail
    assert "problem_type" in error.value.detail


def test_published_text_is_plain() -> None:
    published = from_object(changed(type=RequestCommented.type, data={"body": "你好"}))
    assert event_of(published) == RequestCommented(body="你好")
