"""What the OpenAPI document says of publishing: the three CloudEvents modes, with examples."""

from collections.abc import Mapping
from typing import Any

from casebook.events.catalog import EVENTS, FAMILIES, publishable
from casebook.events.ingress import (
    ATTRIBUTE_LENGTH_MAX,
    BATCH,
    SOURCE_SEQUENCE_MAX,
    STRUCTURED,
    from_object,
    to_http_binary,
)
from casebook.events.kafka import CONTENT_TYPE

Document = dict[str, Any]

_EXAMPLES: Mapping[str, tuple[str, Document]] = {
    "intake": (
        "casebook.request.submitted.v1",
        {
            "number": "INC0000045",
            "kind": "incident",
            "requester": "wang.fang",
            "title": "邮件无法发送",
        },
    ),
    "dispatch": ("casebook.work-order.noted.v1", {"note": "已联系供应商，明天上午回复"}),
    "monitoring": ("casebook.service-level.source-result-recorded.v1", {"result": "met"}),
    "quality": ("casebook.request-link.knowledge-linked.v1", {"article": "KB0010234"}),
    # Nothing that risk owns is taken from other systems; this goes to its quarantine.
    "risk": (
        "casebook.risk.registered.v1",
        {"category": "supplier", "owner": "zhao.min", "title": "备份供应商可能破产"},
    ),
}
_ATTRIBUTES: Mapping[str, tuple[str, bool]] = {
    "id": ("Yours: source and id together are the event, for ever.", True),
    "source": ("A source that your token names.", True),
    "type": ("What happened, with its major version.", True),
    "subject": ("What it happened to, by your own number for the request.", True),
    "time": ("When it happened: RFC 3339 with an offset.", True),
    "actor": ("Who did it, in your own words.", False),
    "traceparent": ("W3C trace context; the header of the request, if there is none.", False),
}
_SEQUENCE = "Its place (1, 2, …) in the history of its subject, if its order matters."


def publishing(service: str, events_max: int) -> Document:
    """Return what the publishing route of a service adds to the document."""
    types = publishable_types(service)
    example = _example(service)
    headers, _ = to_http_binary(from_object(example))
    event = _schema(types)
    return {
        "requestBody": {
            "required": True,
            "description": _about(types),
            "content": {
                STRUCTURED: {"schema": event, "example": example},
                BATCH: {
                    "schema": {"type": "array", "items": event, "maxItems": events_max},
                    "example": [example],
                },
                CONTENT_TYPE.decode(): {
                    "schema": {"type": "object", "description": "The data, in binary mode."},
                    "example": example["data"],
                },
            },
        },
        "parameters": [
            {
                "name": f"ce-{name}",
                "in": "header",
                "required": False,
                "description": f"Binary mode only, percent-encoded. {description}",
                "schema": {"type": "string"},
                "example": headers[f"ce-{name}"],
            }
            for name, description in _described()
            if f"ce-{name}" in headers
        ],
    }


def publishable_types(service: str) -> list[str]:
    """Return the types that other systems may publish to a service."""
    return sorted(
        type_
        for type_, event in EVENTS.items()
        if publishable(event)
        and (FAMILIES[event.family].owner if event.family in FAMILIES else "intake") == service
    )


def _about(types: list[str]) -> str:
    """Return what is said of the body."""
    if not types:
        return (
            "One CloudEvent, or a batch of them. This service owns nothing that other systems "
            "publish: what it owns is quarantined, and the rest is another service's."
        )
    return (
        "One CloudEvent, or a batch of them. The data of a type is described by its ingress "
        "schema, which the AsyncAPI document has too; secret text is sent as plain strings."
    )


def _described() -> list[tuple[str, str]]:
    """Return the attributes with their descriptions, in the order of the document."""
    found = [("specversion", "Always 1.0.")]
    found += [(name, description) for name, (description, _) in _ATTRIBUTES.items()]
    return [*found, ("sourcesequence", _SEQUENCE)]


def _schema(types: list[str]) -> Document:
    """Return the schema of an event in structured mode."""
    text: Document = {"type": "string", "minLength": 1, "maxLength": ATTRIBUTE_LENGTH_MAX}
    properties: Document = {
        "specversion": {"type": "string", "const": "1.0"},
        **{
            name: {**text, "description": description}
            for name, (description, _) in _ATTRIBUTES.items()
        },
        "sourcesequence": {
            "type": "integer",
            "minimum": 1,
            "maximum": SOURCE_SEQUENCE_MAX,
            "description": _SEQUENCE,
        },
        "datacontenttype": {"type": "string", "const": CONTENT_TYPE.decode()},
        "data": {"type": "object"},
    }
    properties["time"] = {**properties["time"], "format": "date-time"}
    if types:
        properties["type"] = {**properties["type"], "examples": types}
    required = [name for name, (_, needed) in _ATTRIBUTES.items() if needed]
    return {
        "type": "object",
        "description": "A CloudEvent in JSON; further attributes are ignored.",
        "required": ["specversion", *required, "data"],
        "properties": properties,
    }


def _example(service: str) -> Document:
    """Return an event that another system could publish to a service."""
    type_, data = _EXAMPLES.get(service, _EXAMPLES["intake"])
    return {
        "specversion": "1.0",
        "id": "INC0000045/1",
        "source": "helpdesk",
        "type": type_,
        "subject": "INC0000045",
        "time": "2026-03-02T09:05:12+08:00",
        "actor": "Li Na",
        "sourcesequence": 1,
        "datacontenttype": CONTENT_TYPE.decode(),
        "data": data,
    }
