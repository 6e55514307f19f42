"""The schemas of docs/asyncapi.json: of headers, keys, and of data, moved to the components."""

from collections.abc import Sequence
from typing import Any, cast

from casebook.events.catalog import COMMON, FAMILIES, SERVICES
from casebook.events.event import Event
from casebook.events.ingress import ATTRIBUTE_LENGTH_MAX, SOURCE_SEQUENCE_MAX, STRUCTURED
from casebook.events.kafka import CONTENT_TYPE, SCHEMA_NAMESPACE, classification
from casebook.events.schemas import Side, schema

Document = dict[str, Any]

INGRESS_SUFFIX = ".ingress"
_SCHEMAS = "#/components/schemas/"
_UUID: Document = {"type": "string", "format": "uuid"}
_TIMESTAMP = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"
_TRACEPARENT = "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
_COUNT = "^[1-9][0-9]{0,9}$"


def _text(description: str, **more: Any) -> Document:
    return {"type": "string", "description": description, **more}


def _label(description: str) -> Document:
    return _text(description, minLength=1, maxLength=ATTRIBUTE_LENGTH_MAX)


LOG_HEADERS: Document = {
    "type": "object",
    "description": "CloudEvents 1.0 attributes of a fact, each as UTF-8 text.",
    "required": [
        "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time",
        "ce_recordedtime", "ce_streamversion", "ce_partitionkey", "ce_correlationid", "ce_actor",
        "ce_origin", "ce_audience", "ce_dataschema", "ce_dataclassification", "ce_chainhash",
        "content-type",
    ],
    "properties": {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": _text("The fact. The same id is the same fact, delivered again.", format="uuid"),
        "ce_source": _text(
            "The service that recorded it.", pattern=f"^/casebook/({'|'.join(SERVICES)})$"
        ),
        "ce_type": _text("What happened, with its major version."),
        "ce_subject": _text("The stream that it belongs to."),
        "ce_time": _text("When it happened, in UTC.", format="date-time", pattern=_TIMESTAMP),
        "ce_recordedtime": _text(
            "When Casebook recorded it; never before its cause.",
            format="date-time",
            pattern=_TIMESTAMP,
        ),
        "ce_streamversion": _text("Its place in the stream: 1, 2, …", pattern=_COUNT),
        "ce_partitionkey": _text("The case; the same as the key.", minLength=1),
        "ce_correlationid": _text("Shared by all that follows from one act.", minLength=1),
        "ce_causationid": _text("The fact that this one follows from.", format="uuid"),
        "ce_actor": _text(
            "Who did it: `user:…`, `service:…`, or `source:…` of another system.", minLength=1
        ),
        "ce_origin": _text(
            "`live`, or `observed` in another system's history, which nothing is done about.",
            enum=["live", "observed"],
        ),
        "ce_audience": _text(
            "Who may read it.", enum=["customer", "staff", "restricted"]
        ),
        "ce_traceparent": _text("W3C trace context.", pattern=_TRACEPARENT),
        "ce_originsource": _text("The source that published it, if another system did."),
        "ce_originid": _text("Its id there."),
        "ce_origindigest": _text("Digest of its content as it was published."),
        "ce_sourcesequence": _text("Its place in the source's history.", pattern=_COUNT),
        "ce_dataschema": _text("Id of the schema of the data.", format="uri"),
        "ce_dataclassification": _text(
            "The care that the data needs.", enum=["restricted", "confidential", "internal"]
        ),
        "ce_chainhash": _text(
            "Hash of the stream up to here: sha256(hash before ‖ record), in hexadecimal. The "
            "record is the canonical JSON of all other attributes and the data, without "
            "dataschema, dataclassification and the content type.",
            pattern="^[0-9a-f]{64}$",
        ),
        "content-type": {"type": "string", "const": CONTENT_TYPE.decode()},
    },
}  # fmt: skip
"""Headers of a record of the log; a later version may add some."""

_ATTRIBUTES: Document = {
    "specversion": {"type": "string", "const": "1.0"},
    "id": _label("Yours: source and id together are the event, for ever."),
    "source": _label("The registered source that speaks."),
    "type": _label("What happened, with its major version."),
    "subject": _label("What it happened to, by your own number for the request."),
    "time": _text("When it happened: RFC 3339 with an offset.", format="date-time"),
    "traceparent": _text("W3C trace context."),
    "actor": _label("Who did it, in your own words."),
}
_REQUIRED = ("specversion", "id", "source", "type", "subject", "time")
_SEQUENCE = "Its place (1, 2, …) in the history of its subject; the key is then the subject."

INGRESS_HEADERS: Document = {
    "type": "object",
    "description": "CloudEvents 1.0 attributes, each as UTF-8 text; other ones are ignored.",
    "required": [f"ce_{name}" for name in _REQUIRED],
    "properties": {
        **{f"ce_{name}": attribute for name, attribute in _ATTRIBUTES.items()},
        "ce_sourcesequence": _text(_SEQUENCE, pattern=_COUNT),
        "content-type": {"type": "string", "const": CONTENT_TYPE.decode()},
    },
}
STRUCTURED_HEADERS: Document = {
    "type": "object",
    "required": ["content-type"],
    "properties": {"content-type": {"type": "string", "const": STRUCTURED}},
}


def components(facts: Sequence[type[Event]], published: Sequence[type[Event]]) -> Document:
    """Return the data schemas by name, with their definitions beside them.

    :raises ValueError: when two events define different things under one name.
    """
    found: Document = {"LogHeaders": LOG_HEADERS, "IngressHeaders": INGRESS_HEADERS}
    for event in facts:
        _add_event(found, event, "log")
    for event in published:
        _add_event(found, event, "ingress")
    return dict(sorted(found.items()))


def reference(event: type[Event], side: Side) -> Document:
    """Return the reference to the schema of an event's data."""
    return {"$ref": f"{_SCHEMAS}{_name(event.type, side)}"}


def fact_headers(event: type[Event]) -> Document:
    """Return the headers of one event in the log."""
    owner = FAMILIES[event.family].owner if event.family in FAMILIES else None
    family = f"ingress-({'|'.join(SERVICES)})" if event in COMMON else event.family
    own: Document = {
        "ce_type": {"const": event.type},
        "ce_audience": {"const": event.audience},
        "ce_subject": {"pattern": f"^{family}/.+$"},
        "ce_dataschema": {"const": f"{SCHEMA_NAMESPACE}{event.type}"},
        "ce_dataclassification": {"const": classification(event.type)},
    }
    if owner is not None:
        own["ce_source"] = {"const": f"/casebook/{owner}"}
    if _of_request(event):
        own["ce_partitionkey"] = {"format": "uuid"}
    return _headers("LogHeaders", own)


def published_headers(event: type[Event]) -> Document:
    """Return the headers of one event that another system publishes."""
    return _headers("IngressHeaders", {"ce_type": {"const": event.type}})


def key(event: type[Event]) -> Document:
    """Return what the key of an event in the log is."""
    if _of_request(event):
        return _text("The case: the id of the request.", format="uuid")
    return _text("The case: the id at the end of `ce_subject`.", minLength=1)


def structured_schema(events: Sequence[type[Event]]) -> Document:
    """Return the schema of an event in structured mode; its type says what its data is."""
    return {
        "type": "object",
        "description": "A CloudEvent in JSON; further attributes are ignored.",
        "required": [*_REQUIRED, "data"],
        "properties": {
            **_ATTRIBUTES,
            "type": {"type": "string", "enum": [event.type for event in events]},
            "sourcesequence": {
                "type": "integer",
                "minimum": 1,
                "maximum": SOURCE_SEQUENCE_MAX,
                "description": _SEQUENCE,
            },
            "datacontenttype": {"type": "string", "const": CONTENT_TYPE.decode()},
            "data": {"type": "object"},
        },
        "allOf": [
            {
                "if": {"properties": {"type": {"const": event.type}}},
                "then": {"properties": {"data": reference(event, "ingress")}},
            }
            for event in events
        ],
    }


def _headers(base: str, own: Document) -> Document:
    """Return headers that narrow the common ones."""
    return {"type": "object", "allOf": [{"$ref": f"{_SCHEMAS}{base}"}, {"properties": own}]}


def _of_request(event: type[Event]) -> bool:
    """Say whether the case of an event is a request."""
    if event in COMMON or event.family == "nonconformity":
        return True
    return event.family in FAMILIES and FAMILIES[event.family].keyed_by_request


def _add_event(found: Document, event: type[Event], side: Side) -> None:
    """Add the schema of an event's data on one side, with its definitions."""
    data = schema(event, side)
    definitions = data.pop("$defs", {})
    # AsyncAPI has a dialect of its own, and an id would move the base of all references.
    data.pop("$schema")
    data["x-schema-id"] = data.pop("$id")
    for name, definition in definitions.items():
        _add(found, name, side, _moved(definition, side))
    _add(found, event.type, side, _moved(data, side))


def _add(found: Document, name: str, side: Side, body: Document) -> None:
    """Add a schema under its name on one side."""
    place = _name(name, side)
    if found.setdefault(place, body) != body:
        raise ValueError(f"two events define {place} differently")


def _name(name: str, side: Side) -> str:
    """Return the name of a schema among the components."""
    return name if side == "log" else name + INGRESS_SUFFIX


def _moved(node: Any, side: Side) -> Any:
    """Return a schema whose references lead to the components."""
    if isinstance(node, list):
        return [_moved(item, side) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    found = {name: _moved(value, side) for name, value in cast("Document", node).items()}
    target = found.get("$ref")
    if isinstance(target, str):
        found["$ref"] = _SCHEMAS + _name(target.removeprefix("#/$defs/"), side)
    return found
