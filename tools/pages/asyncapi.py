"""docs/asyncapi.json: the log and the ingress topics for other systems, from the catalogue.

The document is Casebook's own (AsyncAPI 3): it sends what stands in ``casebook.events``, and
receives what others publish to ``casebook.ingress.<publisher>``. Schemas and examples are those
that are committed with the events.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from casebook.events.catalog import COMMON, EVENTS, INGRESS_ONLY, publishable
from casebook.events.event import Event
from casebook.events.kafka import CONTENT_TYPE, PARTITIONS
from casebook.events.schemas import Side
from casebook.kit.log.event_log import TOPIC
from casebook.kit.log.topics import INGRESS_PREFIX, INGRESS_SETTINGS, SETTINGS
from tools.pages.asyncapi_examples import fact_example, published_example, structured_example
from tools.pages.asyncapi_schemas import (
    INGRESS_SUFFIX,
    STRUCTURED_HEADERS,
    Document,
    components,
    fact_headers,
    key,
    published_headers,
    reference,
    structured_schema,
)
from tools.pages.markdown import first_line

PATH = "docs/asyncapi.json"
STRUCTURED = "structured"
BINDING = "0.5.0"

DESCRIPTION = """\
Every fact that Casebook records stands in the topic `casebook.events`, in CloudEvents 1.0 binary
mode: the attributes are headers named `ce_…`, the data is the value, the case is the key. All facts
of a case are in one partition, every stream (`ce_subject`) is in the order of `ce_streamversion`,
and an effect comes after its cause. A fact may be delivered again: `ce_id` says so. Readers ignore
headers and fields they do not know; schemas are closed for writers.

Other systems publish to `casebook.ingress.<publisher>`, a topic of their own, in binary or
structured mode, or over HTTP to `POST /{service}/v1/events` of the service that owns the type.

Fields listed in `x-secret` hold personal data or free text. In the log they are ciphertext; a
publisher sends them as plain strings, and they are sealed before they are stored."""


def facts() -> list[type[Event]]:
    """Return the events that stand in the log."""
    return [event for event in EVENTS.values() if event not in INGRESS_ONLY]


def published() -> list[type[Event]]:
    """Return the events that other systems may publish."""
    return [event for event in EVENTS.values() if publishable(event)]


def page(root: Path) -> str:
    """Return the document as it is committed."""
    return json.dumps(document(root), ensure_ascii=False, indent=2) + "\n"


def document(root: Path) -> Document:
    """Return the document; examples are those of ``root``."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:casebook:events",
        "info": {
            "title": "Casebook events",
            "version": version("casebook-events"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
            "tags": [{"name": name} for name in sorted({_family(event) for event in facts()})],
        },
        "defaultContentType": CONTENT_TYPE.decode(),
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "description": "The brokers of a deployment (`CASEBOOK_KAFKA_BOOTSTRAP`).",
                "variables": {
                    "bootstrap": {
                        "default": "localhost:9092",
                        "description": "Host and port of a broker.",
                    }
                },
            }
        },
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "schemas": components(facts(), published())
            | {"StructuredEvent": structured_schema(published())},
            "messages": {
                **{name(event, "log"): _fact(root, event) for event in facts()},
                **{name(event, "ingress"): _published(root, event) for event in published()},
                STRUCTURED: _structured(root),
            },
            "correlationIds": {
                "case": {
                    "description": "Given to the first fact of a chain of causes, kept by all.",
                    "location": "$message.header#/ce_correlationid",
                }
            },
        },
    }


def name(event: type[Event], side: Side) -> str:
    """Return the name of an event's message on one side."""
    return event.type if side == "log" else event.type + INGRESS_SUFFIX


def _channels() -> Document:
    """Return the two channels with their messages."""
    return {
        "events": {
            "address": TOPIC,
            "title": "The log",
            "description": "Every fact of every service, kept for ever.",
            "servers": [{"$ref": "#/servers/kafka"}],
            "messages": _messages(*(name(event, "log") for event in facts())),
            "bindings": _topic(SETTINGS),
        },
        "ingress": {
            "address": f"{INGRESS_PREFIX}{{publisher}}",
            "title": "What another system publishes",
            "description": (
                "One topic for each publisher, who alone may write it: the topic is the identity. "
                "The service that owns a type takes its events; what is wrong with one is found "
                "in the quarantine of that service."
            ),
            "servers": [{"$ref": "#/servers/kafka"}],
            "parameters": {
                "publisher": {
                    "description": "The publisher that sources are registered with.",
                    "examples": ["importer"],
                }
            },
            "messages": _messages(*(name(event, "ingress") for event in published()), STRUCTURED),
            "bindings": _topic(INGRESS_SETTINGS),
        },
    }


def _messages(*names: str) -> Document:
    """Return the messages of a channel by name."""
    return {item: {"$ref": f"#/components/messages/{item}"} for item in names}


def _topic(settings: Mapping[str, str]) -> Document:
    """Return how a topic is made, as a binding has it."""
    configuration: Document = {
        setting: [value] if setting == "cleanup.policy" else int(value)
        for setting, value in settings.items()
    }
    return {
        "kafka": {
            "partitions": PARTITIONS,
            "topicConfiguration": configuration,
            "bindingVersion": BINDING,
        }
    }


def _operations() -> Document:
    """Return what Casebook does with the channels."""
    return {
        "sendFacts": {
            "action": "send",
            "channel": {"$ref": "#/channels/events"},
            "title": "Tell what happened",
            "summary": "Each service sends the facts it records, once they are stored.",
        },
        "receivePublishedEvents": {
            "action": "receive",
            "channel": {"$ref": "#/channels/ingress"},
            "title": "Take what others publish",
            "summary": (
                "Each service takes the types it owns, once per source and id; an event with a "
                "sourcesequence is promoted after its predecessor."
            ),
        },
    }


def _fact(root: Path, event: type[Event]) -> Document:
    """Return the message of an event in the log."""
    found: Document = {
        **_about(event),
        "contentType": CONTENT_TYPE.decode(),
        "headers": fact_headers(event),
        "payload": reference(event, "log"),
        "correlationId": {"$ref": "#/components/correlationIds/case"},
        "bindings": {"kafka": {"key": key(event), "bindingVersion": BINDING}},
    }
    return found | _examples(fact_example(root, event))


def _published(root: Path, event: type[Event]) -> Document:
    """Return the message of an event that another system publishes in binary mode."""
    found: Document = {
        **_about(event),
        "contentType": CONTENT_TYPE.decode(),
        "headers": published_headers(event),
        "payload": reference(event, "ingress"),
        "bindings": {"kafka": {"key": _SUBJECT_KEY, "bindingVersion": BINDING}},
    }
    if event in INGRESS_ONLY:
        found["description"] += " It never becomes a fact."
    return found | _examples(published_example(root, event))


def _structured(root: Path) -> Document:
    """Return the message of any publishable event in structured mode."""
    found: Document = {
        "name": STRUCTURED,
        "title": "Structured event",
        "summary": "Any of the other events as one JSON object, attributes and data.",
        "contentType": STRUCTURED_HEADERS["properties"]["content-type"]["const"],
        "headers": STRUCTURED_HEADERS,
        "payload": {"$ref": "#/components/schemas/StructuredEvent"},
        "bindings": {"kafka": {"key": _SUBJECT_KEY, "bindingVersion": BINDING}},
    }
    return found | _examples(structured_example(root))


def _about(event: type[Event]) -> Document:
    """Return what is said of an event on either side."""
    return {
        "name": event.type,
        "title": _words(event.__name__),
        "summary": first_line(event.__doc__),
        "description": " ".join((event.__doc__ or "").split()),
        "tags": [{"name": _family(event)}],
    }


def _examples(example: Document | None) -> Document:
    """Return an example as messages hold it; a new event has none yet."""
    return {} if example is None else {"examples": [example]}


def _family(event: type[Event]) -> str:
    """Return the stream family that an event belongs to."""
    return "ingress" if event in COMMON else event.family


def _words(class_name: str) -> str:
    """Return a class name as words: ``RequestSubmitted`` → ``Request submitted``."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in class_name)
    return words.strip().capitalize()


_SUBJECT_KEY: Any = {
    "type": "string",
    "description": "With a `sourcesequence`, the subject, whose order it keeps; else as you like.",
}
