"""JSON Schemas of events, generated from the models: closed, one for each side.

``<type>.json`` describes data in the log, where secret text is sealed; ``<type>.ingress.json``
what another system publishes, where it is a plain string. Both are committed for every revision,
and ``casebook.events.compatibility`` compares them.
"""

from typing import Any, Literal, cast

from casebook.events.event import Event
from casebook.events.kafka import SCHEMA_NAMESPACE, classification

Side = Literal["log", "ingress"]
Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(event: type[Event], side: Side) -> Schema:
    """Return the closed JSON Schema of an event's data on one side."""
    mode = "serialization" if side == "log" else "validation"
    body = cast("Schema", _closed(event.model_json_schema(mode=mode)))
    suffix = "" if side == "log" else ":ingress"
    return {
        "$schema": DIALECT,
        "$id": f"{SCHEMA_NAMESPACE}{event.type}{suffix}",
        "x-family": event.family,
        "x-audience": event.audience,
        "x-classification": classification(event.type),
        "x-secret": list(event.secret_fields),
        **body,
    }


def _closed(node: Any) -> Any:
    """Return the schema with every object closed, and without the titles that repeat names.

    Open content would make every addition incompatible: an old reader could have used the name.
    """
    if isinstance(node, list):
        return [_closed(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    found: Schema = {
        key: _named(value) if key in {"properties", "$defs"} else _closed(value)
        for key, value in cast("Schema", node).items()
        if key != "title"
    }
    if "properties" in found:
        found["additionalProperties"] = False
    return found


def _named(properties: Schema) -> Schema:
    """Return named schemas closed; a name may be ``title``."""
    return {name: _closed(value) for name, value in properties.items()}
