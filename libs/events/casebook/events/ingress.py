"""What other systems publish: CloudEvents 1.0 over HTTP and Kafka (decisions 3.6).

Structured, batched and binary, all become :class:`Published`. Casebook needs ``subject`` and
``time`` beside the required attributes, reads ``sourcesequence``, ``traceparent`` and ``actor``
(who did it, in the source's own words), and ignores every other extension. Texts are taken as
they came: an identifier is never normalised.
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote, unquote_to_bytes

import orjson
from pydantic import ValidationError

from casebook.events.decoding import CURRENT, base
from casebook.events.envelope import timestamp
from casebook.events.event import Event
from casebook.events.malformed import Malformed
from casebook.events.values import EARLIEST, LATEST, UNSAFE_LABEL, UNSAFE_TEXT, Sealed

Loads = Callable[[bytes], Any]
Headers = Iterable[tuple[str, str]]

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

ATTRIBUTE_LENGTH_MAX = 255
SOURCE_SEQUENCE_MAX = 2**31 - 1
"""CloudEvents integers are signed 32-bit ones."""

REASONS_LENGTH_MAX = 1000

_REQUIRED = ("id", "source", "type", "subject")
_NAME = re.compile(r"[a-z0-9]{1,64}")
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_JSON = re.compile(r"(?:application|text)/(?:[a-z0-9.-]+\+)?json")


@dataclass(frozen=True, slots=True)
class Published:
    """An event as another system published it, with a sound envelope; its data is unchecked."""

    source: str
    id: str
    type: str
    subject: str
    time: datetime
    data: Mapping[str, Any]
    sourcesequence: int | None = None
    traceparent: str | None = None
    actor: str | None = None

    def attributes(self) -> dict[str, Any]:
        """Return the CloudEvents attributes without the data, as JSON values."""
        found: dict[str, Any] = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            "time": timestamp(self.time),
        }
        if self.sourcesequence is not None:
            found["sourcesequence"] = self.sourcesequence
        if self.traceparent is not None:
            found["traceparent"] = self.traceparent
        if self.actor is not None:
            found["actor"] = self.actor
        return found

    def structured(self) -> dict[str, Any]:
        """Return the event as one JSON object, attributes and data."""
        return self.attributes() | {"datacontenttype": "application/json", "data": self.data}


# --- reading ------------------------------------------------------------------------------------


def from_http(
    content_type: str, headers: Headers, body: bytes, *, loads: Loads = orjson.loads
) -> list[Published | Malformed]:
    """Return the events of an HTTP request, in order; one that is no event as the reason why.

    ``loads`` parses JSON; a service passes its strict parser.

    :raises Malformed: when the request as a whole cannot be read.
    """
    media = _media(content_type)
    if media == BATCH:
        return from_batch(body, loads=loads)
    if media == STRUCTURED:
        return [from_structured(body, loads=loads)]
    if not _JSON.fullmatch(media):
        raise Malformed("unsupported-media-type", f"use {STRUCTURED}, {BATCH} or binary mode")
    return [from_http_binary(headers, body, loads=loads)]


def from_structured(body: bytes, *, loads: Loads = orjson.loads) -> Published:
    """Return the event of one ``application/cloudevents+json`` document.

    :raises Malformed: when it is not an event.
    """
    return from_object(_parse(body, loads))


def from_batch(body: bytes, *, loads: Loads = orjson.loads) -> list[Published | Malformed]:
    """Return the events of an ``application/cloudevents-batch+json`` document, in order.

    :raises Malformed: when the document is not an array.
    """
    items: Any = _parse(body, loads)
    if type(items) is not list:
        raise Malformed("batch-not-an-array", "a batch is a JSON array of events")
    results: list[Published | Malformed] = []
    for item in cast("list[Any]", items):
        try:
            results.append(from_object(item, loads=loads))
        except Malformed as error:
            results.append(error)
    return results


def from_http_binary(headers: Headers, body: bytes, *, loads: Loads = orjson.loads) -> Published:
    """Return the event whose attributes stand in ``ce-`` headers, percent-encoded.

    :raises Malformed: when it is not an event.
    """
    attributes: dict[str, Any] = {}
    for header, value in headers:
        name = header.lower()
        if name.startswith("ce-"):
            _add(attributes, name[3:], _unquote(value))
    return _checked(attributes, _parse(body, loads))


def from_kafka_ingress(
    key: bytes | None,
    headers: Iterable[tuple[str, bytes | None]],
    value: bytes | None,
    *,
    loads: Loads = orjson.loads,
) -> Published:
    """Return the event that a publisher sent to its ingress topic, binary or structured.

    :raises Malformed: when it is not an event, or its key is not the subject although it has
        a source sequence, whose order the key keeps.
    """
    attributes: dict[str, Any] = {}
    media = ""
    try:
        for header, raw in headers:
            name = header.lower()
            if not name.startswith("ce_") and name != "content-type":
                continue
            if raw is None:
                raise Malformed("missing-attribute", "a header has no value")
            if name == "content-type":
                media = _media(raw.decode())
            else:
                _add(attributes, name[3:], raw.decode())
        text = None if key is None else key.decode()
    except UnicodeDecodeError as error:
        raise Malformed("not-utf-8", "a header or the key is not UTF-8") from error
    if value is None:
        raise Malformed("data-not-an-object", "the record has no value")
    if media == STRUCTURED:
        published = from_structured(value, loads=loads)
    else:
        published = _checked(attributes, _parse(value, loads))
    if published.sourcesequence is not None and text != published.subject:
        raise Malformed("key-mismatch", "with a sourcesequence, the key is the subject")
    return published


def from_object(value: object, *, loads: Loads = orjson.loads) -> Published:
    """Return the event that a decoded JSON object describes.

    :raises Malformed: when it is not an event.
    """
    if not isinstance(value, dict):
        raise Malformed("not-an-event", "an event is a JSON object")
    attributes = dict(cast("dict[str, Any]", value))
    data = attributes.pop("data", None)
    encoded = attributes.pop("data_base64", None)
    if encoded is not None:
        if data is not None:
            raise Malformed("data-twice", "an event has data or data_base64, not both")
        data = _parse(_unbase64(encoded), loads)
    content_type = attributes.get("datacontenttype")
    if isinstance(content_type, str) and not _JSON.fullmatch(_media(content_type)):
        raise Malformed("data-not-an-object", "datacontenttype is not JSON")
    return _checked(attributes, data)


def event_of(published: Published) -> Event:
    """Return the event that published data describes; closed, and with its text in the clear.

    :raises Malformed: ``unknown-type``, ``unknown-major``, ``invalid-data`` or ``sealed-text``.
    """
    event = CURRENT.get(base(published.type))
    if event is None:
        raise Malformed("unknown-type", "Casebook has no event of this type")
    if event.type != published.type:
        raise Malformed("unknown-major", f"publish {event.type}")
    try:
        found = event.closed(published.data)
    except ValidationError as error:
        raise Malformed("invalid-data", _reasons(error)) from error
    for name in event.secret_fields:
        if isinstance(getattr(found, name), Sealed):
            raise Malformed("sealed-text", f"{name} is published as a plain string")
    return found


# --- writing: for publishers --------------------------------------------------------------------


def to_structured(published: Published) -> bytes:
    """Return an ``application/cloudevents+json`` document."""
    return orjson.dumps(published.structured())


def to_batch(events: Sequence[Published]) -> bytes:
    """Return an ``application/cloudevents-batch+json`` document."""
    return orjson.dumps([event.structured() for event in events])


def to_http_binary(published: Published) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a binary HTTP request."""
    headers = {
        f"ce-{name}": quote(str(value), safe="!#$&'()*+,-./:;<=>?@[]^_`{|}~")
        for name, value in published.attributes().items()
    }
    return headers | {"content-type": "application/json"}, orjson.dumps(published.data)


# --- checks -------------------------------------------------------------------------------------


def _checked(attributes: Mapping[str, Any], data: object) -> Published:
    """Return the event of these attributes and this data, if all of them are sound."""
    for name in attributes:
        if not _NAME.fullmatch(name):
            raise Malformed("attribute-name", "attribute names are lower-case letters and digits")
    if attributes.get("specversion") != "1.0":
        raise Malformed("unknown-specversion", "specversion is 1.0")
    texts = {name: _text(name, attributes.get(name)) for name in _REQUIRED}
    if not isinstance(data, dict):
        raise Malformed("data-not-an-object", "data is a JSON object")
    trace = attributes.get("traceparent")
    actor = attributes.get("actor")
    return Published(
        **texts,
        time=_time(attributes.get("time")),
        data=cast("dict[str, Any]", data),
        sourcesequence=_sequence(attributes.get("sourcesequence")),
        # A trace that cannot be read must never cost an event (W3C trace context 3.2).
        traceparent=trace if isinstance(trace, str) and _TRACEPARENT.fullmatch(trace) else None,
        actor=None if actor in (None, "") else _text("actor", actor),
    )


def _text(name: str, value: object) -> str:
    """Return a required attribute: one visible line of at most 255 characters."""
    if value is None or value == "":
        raise Malformed("missing-attribute", f"{name} is required")
    if not isinstance(value, str):
        raise Malformed("not-a-text", f"{name} is a string")
    if len(value) > ATTRIBUTE_LENGTH_MAX:
        raise Malformed("attribute-too-long", f"{name} is over {ATTRIBUTE_LENGTH_MAX} characters")
    safe = value.isprintable() or not (UNSAFE_TEXT.search(value) or UNSAFE_LABEL.search(value))
    if not safe or not value.strip():
        raise Malformed("unsafe-text", f"{name} holds a character that is not allowed")
    return value


def _time(value: object) -> datetime:
    """Return when it happened: RFC 3339 with an offset, in this century."""
    if value is None:
        raise Malformed("missing-attribute", "time is required")
    match = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Malformed("bad-time", "time is an RFC 3339 timestamp")
    if match[1] is None:
        raise Malformed("time-without-offset", "time needs an offset, such as Z or +08:00")
    try:
        moment = datetime.fromisoformat(match[0].upper())
    except ValueError as error:
        raise Malformed("bad-time", "time is an RFC 3339 timestamp") from error
    if not EARLIEST <= moment < LATEST:
        raise Malformed("time-out-of-range", "time is from 2000-01-01 to before 2100-01-01")
    return moment


def _sequence(value: object) -> int | None:
    """Return the place in the history of the subject; headers bring it as text."""
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,10}", value):
        value = int(value)
    if type(value) is not int or not 1 <= value <= SOURCE_SEQUENCE_MAX:
        raise Malformed("bad-source-sequence", "sourcesequence is an integer from 1 on")
    return value


def _add(attributes: dict[str, Any], name: str, value: str) -> None:
    """Add an attribute that a header holds; twice would have two readings."""
    if name in attributes:
        raise Malformed("repeated-attribute", "an attribute stands twice in the headers")
    attributes[name] = value


def _parse(body: bytes, loads: Loads) -> Any:
    """Return the value of a JSON document; a parser's own error code is kept."""
    try:
        return loads(body)
    except ValueError as error:
        code = getattr(error, "code", "malformed-json")
        detail = getattr(error, "detail", "the body is not valid JSON")
        raise Malformed(str(code), str(detail)) from error


def _media(content_type: str) -> str:
    """Return a media type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def _unquote(value: str) -> str:
    """Return a header's value without quotes around it, percent-decoded."""
    quoted = len(value) > 1 and value[0] == value[-1] == '"'
    try:
        return unquote_to_bytes(value[1:-1] if quoted else value).decode()
    except UnicodeDecodeError as error:
        raise Malformed("not-utf-8", "a header is not UTF-8 when percent-decoded") from error


def _unbase64(value: object) -> bytes:
    """Return the bytes of ``data_base64``."""
    try:
        return base64.b64decode(value if isinstance(value, str) else "!", validate=True)
    except ValueError as error:
        raise Malformed("bad-base64", "data_base64 is not base64") from error


def _reasons(error: ValidationError) -> str:
    """Return which fields are wrong and why, without their values."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    places = (".".join(map(str, item["loc"])) or "data" for item in found)
    reasons = "; ".join(
        f"{place}: {item['msg']}" for place, item in zip(places, found, strict=True)
    )
    return reasons[:REASONS_LENGTH_MAX]
