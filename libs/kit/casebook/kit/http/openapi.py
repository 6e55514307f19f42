"""Completes the generated OpenAPI document: security, the headers of commands, operation rows."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts

from casebook.kit.http.openapi_details import DESCRIPTION, complete
from casebook.kit.http.problems import describe_problems
from casebook.kit.service import Service

_IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "Chosen by you; the same key with the same body gets the same answer.",
}
_IF_MATCH: dict[str, Any] = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "schema": {"type": "string"},
    "description": 'The ETag you have seen, such as "3".',
}
IF_MATCH_TO_REPLACE: dict[str, Any] = _IF_MATCH | {
    "required": False,
    "description": "The ETag you have seen; needed to change what exists, not to create it.",
}
"""For ``parameters`` of a route that creates and replaces."""

_MINIMUM_VERSION: dict[str, Any] = {
    "name": "Casebook-Min-Version",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "A Casebook-Version from a command; the read waits until it is applied.",
}


def operation_of(route: APIRoute) -> str | None:
    """Return the policy operation that a route is opened for."""
    for dependency in route.dependant.dependencies:
        name = getattr(dependency.call, "operation", None)
        if isinstance(name, str):
            return name
    return None


def describe(app: FastAPI, service: Service) -> None:
    """Let the app serve a document that says everything a client needs."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, service)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI, service: Service) -> dict[str, Any]:
    """Build the document once."""
    found = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION.format(service=service.name),
        routes=app.routes,
    )
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and context.include_in_schema:
            for method in context.methods or ():
                _complete(found["paths"][context.path_format][method.lower()], route, method)
    describe_problems(found)
    complete(found)
    return found


def _complete(operation: dict[str, Any], route: APIRoute, method: str) -> None:
    """Add the headers and the policy row of one operation."""
    name = operation_of(route)
    if name is not None:
        operation["x-casebook-operation"] = name
    declared = operation.get("parameters", [])
    operation["parameters"] = [*declared, *_headers(operation, route, method)]


def _headers(operation: dict[str, Any], route: APIRoute, method: str) -> list[dict[str, Any]]:
    """Return the headers that an operation takes beside those that routes declare."""
    if method == "GET":
        return [_MINIMUM_VERSION]
    if route.path.endswith(("/events", "/keys")):
        return []
    # What can answer that If-Match is missing is what asks for it.
    declared = {parameter["name"] for parameter in operation.get("parameters", [])}
    asks = "428" in operation["responses"] and "If-Match" not in declared
    return [_IDEMPOTENCY_KEY, *([_IF_MATCH] if asks else [])]
