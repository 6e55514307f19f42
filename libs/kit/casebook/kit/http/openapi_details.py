"""What an OpenAPI document says beyond its routes: headers, common refusals, examples.

All of it follows from what the routes have declared, so that no route can forget it. Doing it
again changes nothing.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

from casebook.kit.http.problems import MEDIA_TYPE, PROBLEM_SCHEMA_REFERENCE, Problem

Document = dict[str, Any]

DESCRIPTION: Final = """\
The {service} service of Casebook. Every operation needs a bearer token. A refusal is a problem \
(RFC 9457) whose `code` is stable; every response has a `Casebook-Trace-Id` that finds it in the \
logs.

A command needs an `Idempotency-Key`: the same key with the same body gets the same answer for 7 \
days. A command that changes something which exists also needs `If-Match` with the `ETag` that was \
seen. It answers with `Casebook-Version`; sent back as `Casebook-Min-Version`, to any service, a \
read waits until what the command did can be seen there."""

VERSION_HEADERS: Final[Document] = {
    "ETag": {
        "description": "The version of what was read or changed, for `If-Match`.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9]+"$'},
        "example": '"3"',
    },
    "Casebook-Version": {
        "description": "The same with its stream, for `Casebook-Min-Version`.",
        "required": True,
        "schema": {"type": "string", "pattern": "^.+@[0-9]+$"},
        "example": "request/0197a3c2-7d1e-7a60-8f3e-2b1c5d4e6f70@3",
    },
}
VERSIONED: Final[dict[int | str, Document]] = {200: {"headers": VERSION_HEADERS}}
"""For ``responses=`` of a route that reads one aggregate."""

CREATED: Final[dict[int | str, Document]] = {
    201: {
        "headers": {
            "Location": {
                "description": "The address of what was created.",
                "required": True,
                "schema": {"type": "string", "format": "uri-reference"},
            }
        }
    }
}
"""For ``responses=`` of a route that creates something with an address of its own."""

_RETRY_AFTER: Final[Document] = {
    "Retry-After": {
        "description": "Seconds to wait, where that helps.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    }
}
_PARKED: Final[Document] = {
    "description": "The version asked for cannot be seen: its case waits for an operator.",
    "content": {
        MEDIA_TYPE: {
            "schema": PROBLEM_SCHEMA_REFERENCE,
            "example": Problem(409, "parked", "this case waits for an operator").document(),
        }
    },
}
_ANYTHING_ELSE: Final[Document] = {
    "description": "What no operation takes (405, 406, 408, 414, 431), or a defect (500).",
    "content": {
        MEDIA_TYPE: {
            "schema": PROBLEM_SCHEMA_REFERENCE,
            "example": Problem(500).document(),
        }
    },
}
_MISSING: Final = object()


def complete(document: Document) -> None:
    """Complete a generated document."""
    schemas = document.get("components", {}).get("schemas", {})
    for schema in schemas.values():
        if "example" in schema:
            schema["example"] = _with_nulls(schema["example"], schema, schemas)
    for operation in operations(document):
        _refusals(operation)
        _headers(operation)
        _examples(operation, schemas)
    _share_responses(document)


def operations(document: Document) -> Iterator[Document]:
    """Yield the operations of a document."""
    for methods in document["paths"].values():
        yield from methods.values()


def _takes(operation: Document, header: str) -> bool:
    """Say whether an operation declares a header."""
    return any(item.get("name") == header for item in operation.get("parameters", ()))


def _refusals(operation: Document) -> None:
    """Add the refusals that follow from the headers, and those that any operation has."""
    responses = operation["responses"]
    if _takes(operation, "Casebook-Min-Version"):
        responses.setdefault("409", _PARKED)
    responses.setdefault("default", _ANYTHING_ELSE)


def _headers(operation: Document) -> None:
    """Add the headers that responses have."""
    # An operator's act is on no stream, and has no version.
    command = _takes(operation, "Idempotency-Key") and "operations" not in operation["tags"]
    for status, response in operation["responses"].items():
        added = VERSION_HEADERS if command and status.startswith("2") else {}
        if status in {"429", "503"}:
            added = _RETRY_AFTER
        if added:
            response["headers"] = {**response.get("headers", {}), **added}


def _examples(operation: Document, schemas: Document) -> None:
    """Show an example with each body, made of those of its models."""
    contents = [operation.get("requestBody", {}).get("content", {})]
    contents += [
        response.get("content", {})
        for status, response in operation["responses"].items()
        if status.startswith("2")
    ]
    for content in contents:
        for media in content.values():
            if not media.keys() & {"example", "examples"}:
                found = _example(media.get("schema", {}), schemas)
                if found is not _MISSING:
                    media["example"] = found


def _example(schema: Document, schemas: Document) -> Any:
    """Return the example of a schema, put together from its parts if it has none itself."""
    if "example" in schema:
        return schema["example"]
    if "$ref" in schema:
        return _example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "items" in schema:
        item = _example(schema["items"], schemas)
        return item if item is _MISSING else [item]
    if "properties" in schema:
        properties = cast("Document", schema["properties"])
        found = {name: _example(part, schemas) for name, part in properties.items()}
        missing = {name for name, value in found.items() if value is _MISSING}
        if missing & set(schema.get("required", ())):
            return _MISSING
        return {name: value for name, value in found.items() if name not in missing}
    return schema.get("default", _MISSING)


def _with_nulls(value: Any, schema: Document, schemas: Document) -> Any:
    """Return an example with the nulls that its fields need: the framework leaves all out."""
    if isinstance(value, list):
        items = _resolved(schema, schemas).get("items", {})
        return [_with_nulls(item, items, schemas) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    shape = _resolved(schema, schemas)
    found = dict(cast("Document", value))
    for name, part in shape.get("properties", {}).items():
        if name in found:
            found[name] = _with_nulls(found[name], part, schemas)
        elif name in shape.get("required", ()) and {"type": "null"} in part.get("anyOf", ()):
            found[name] = None
    return found


def _resolved(schema: Document, schemas: Document) -> Document:
    """Return a schema behind its reference, and of a union what is not null."""
    if "$ref" in schema:
        return schemas[schema["$ref"].rpartition("/")[2]]
    for branch in schema.get("anyOf", ()):
        if branch != {"type": "null"}:
            return _resolved(branch, schemas)
    return schema


def _share_responses(document: Document) -> None:
    """Say once what many operations say of a refusal."""
    shared = document.setdefault("components", {}).setdefault("responses", {})
    for operation in operations(document):
        responses = operation["responses"]
        for status, response in responses.items():
            if MEDIA_TYPE in response.get("content", {}):
                name = _name(response["content"][MEDIA_TYPE])
                if shared.setdefault(name, response) == response:
                    responses[status] = {"$ref": f"#/components/responses/{name}"}
    document["components"]["responses"] = dict(sorted(shared.items()))


def _name(media: Document) -> str:
    """Return the name of a refusal: the code of its example, as one word."""
    words = str(media["example"]["code"]).split("-")
    return "".join(word.capitalize() for word in words)
