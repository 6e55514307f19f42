"""Refusals over HTTP: RFC 9457 problems with a stable type and code (decisions 3.9).

A problem never repeats what was sent: the input may be secret, and may not even be text that a
response could carry.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException

from casebook.kit.bookkeeping.history import HistoryInDoubt
from casebook.kit.decider import Refused
from casebook.kit.logging import Logger
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS
from casebook.kit.strict_json import BadBody
from casebook.kit.tracing import current_trace_id

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:casebook:problem:"
ERRORS_MAX = 50

_CODES: Mapping[int, tuple[str, str]] = {
    400: ("malformed-request", "the request cannot be read"),
    401: ("unauthenticated", "a valid bearer token is required"),
    403: ("forbidden", "the operation is not allowed to this principal"),
    404: ("not-found", "there is nothing here, or nothing that may be seen"),
    405: ("method-not-allowed", "the resource does not have this method"),
    406: ("not-acceptable", "the resource has no such representation"),
    408: ("read-timeout", "the request came too slowly"),
    409: ("conflict", "the state does not allow the operation"),
    412: ("version-mismatch", "If-Match names another version than the current one"),
    413: ("body-too-large", "the body is too large"),
    414: ("url-too-long", "the address is too long"),
    415: ("unsupported-media-type", "the body must be JSON in UTF-8, without a content encoding"),
    421: ("unknown-host", "this host name is not answered here"),
    422: ("invalid-request", "the request has fields that are not valid"),
    428: ("version-required", "the operation requires If-Match"),
    429: ("too-many-requests", "too many requests"),
    431: ("headers-too-large", "the headers are too large"),
    500: ("internal-error", "something went wrong; the trace id finds it in the logs"),
    503: ("unavailable", "the service cannot answer now"),
}
"""Per status, the code and detail of a problem that says nothing more special."""

# What a field may be called in a pointer: our own names look like this, and little else does.
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_LIMITS = ("min_length", "max_length", "ge", "gt", "le", "lt", "expected")


class Problem(Exception):
    """A refusal with its HTTP status; ``errors`` point at fields."""

    def __init__(
        self,
        status: int,
        code: str | None = None,
        detail: str | None = None,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        default_code, default_detail = _CODES.get(status, _CODES[500])
        self.status = status
        self.code = code or default_code
        self.detail = detail or default_detail
        self.headers = dict(headers or {})
        self.errors = tuple(errors)
        super().__init__(f"{status} {self.code}")

    def document(self) -> dict[str, Any]:
        """Return the problem as RFC 9457 describes it."""
        document: dict[str, Any] = {
            "type": TYPE_PREFIX + self.code,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = self.errors
        trace_id = current_trace_id()
        if trace_id is not None:
            document["trace_id"] = trace_id
        return document

    def response(self) -> Response:
        """Return the response that says so."""
        content = orjson.dumps(self.document())
        return Response(content, self.status, headers=self.headers, media_type=MEDIA_TYPE)


def of_body(error: BadBody) -> Problem:
    """Return the problem of a body that is not strict JSON."""
    return Problem(error.status, error.code, error.detail)


def of_refusal(error: Refused) -> Problem:
    """Return the problem of a rule that said no."""
    return Problem(409, error.code, error.detail)


def of_http(error: HTTPException) -> Problem:
    """Return the problem of what the framework refused, in our own words."""
    status = error.status_code if error.status_code in _CODES else _nearest(error.status_code)
    return Problem(status, headers=error.headers)


def rebuilding(detail: str) -> Problem:
    """Return the problem of a read model that is being made anew: to come again in a moment."""
    return Problem(503, "rebuilding", detail, headers={"Retry-After": "5"})


def of_validation(errors: Sequence[Any]) -> Problem:
    """Return the problem of fields that are not valid: where and which rule, never the value."""
    return Problem(
        422, errors=[_field(cast("dict[str, Any]", error)) for error in errors[:ERRORS_MAX]]
    )


def unexpected(error: Exception, log: Logger) -> Problem:
    """Log a defect, once, and return the problem that hides it.

    A database that is away or out of connections is no defect, and passes.
    """
    if isinstance(error, HistoryInDoubt):
        return Problem(503, error.code, error.detail, headers={"Retry-After": "5"})
    if isinstance(error, INFRASTRUCTURE_ERRORS):
        log.warning("http.unavailable", exc_info=error)
        return Problem(503, headers={"Retry-After": "1"})
    log.error("http.failed", exc_info=error)
    return Problem(500)


def install_problems(app: FastAPI) -> None:
    """Answer every refusal of this app with a problem, and describe problems in its OpenAPI."""

    async def problem(request: Request, error: Exception) -> Response:
        return _answer(request, cast("Problem", error))

    async def refused(request: Request, error: Exception) -> Response:
        return _answer(request, of_refusal(cast("Refused", error)))

    async def bad_body(request: Request, error: Exception) -> Response:
        return _answer(request, of_body(cast("BadBody", error)))

    async def invalid(request: Request, error: Exception) -> Response:
        return _answer(request, of_validation(cast("RequestValidationError", error).errors()))

    async def http(request: Request, error: Exception) -> Response:
        refused = of_http(cast("HTTPException", error))
        if refused.status == HTTPStatus.METHOD_NOT_ALLOWED:
            refused.headers["Allow"] = ", ".join(_methods(app, request.url.path))
        return _answer(request, refused)

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(BadBody, bad_body)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.router.redirect_slashes = False
    _describe(app)


PROBLEM_SCHEMA_REFERENCE = {"$ref": "#/components/schemas/Problem"}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of these statuses, for ``responses=`` of a route."""
    return {
        status: {
            "description": _CODES[status][1].capitalize() + ".",
            "content": {
                MEDIA_TYPE: {
                    "schema": PROBLEM_SCHEMA_REFERENCE,
                    "example": Problem(status).document(),
                }
            },
        }
        for status in statuses
    }


PROBLEM_RESPONSES = problem_responses(400, 401, 403, 404, 413, 415, 422, 503)
"""What any operation may answer; commands add 409, 412 and 428."""


def _methods(app: FastAPI, path: str) -> list[str]:
    """Return the methods of an address: of all its routes, where the framework tells the first."""
    return sorted(
        method
        for route in iter_route_contexts(app.routes)
        if route.path_regex.match(path)
        for method in route.methods or ()
    )


def _answer(request: Request, problem: Problem) -> Response:
    """Return the response, and leave its code for the access log."""
    request.state.problem_code = problem.code
    return problem.response()


def _field(error: dict[str, Any]) -> dict[str, Any]:
    """Return where a field is, the rule it breaks, and the limits that the schema sets."""
    where, *path = [str(part) for part in error["loc"]] or ["body"]
    field: dict[str, Any] = {
        "in": where if where in _PLACES else "body",
        "pointer": "".join(f"/{_safe_part(part)}" for part in path),
        "code": str(error["type"]).replace("_", "-"),
    }
    context = cast("dict[str, Any]", error.get("ctx") or {})
    limits = {name: context[name] for name in _LIMITS if isinstance(context.get(name), int | str)}
    return {**field, **limits}


def _safe_part(part: str) -> str:
    """Return a step of a pointer; a key that does not look like a field's name is not repeated."""
    return part if part.isdecimal() or _FIELD_NAME.fullmatch(part) else "?"


def _nearest(status: int) -> int:
    """Return the status that stands for one that we do not document."""
    return 400 if status < HTTPStatus.INTERNAL_SERVER_ERROR else 500


def describe_problems(document: dict[str, Any]) -> None:
    """Add to an OpenAPI document what problems and the bearer token look like.

    The framework's own description of 422 is replaced; doing it again changes nothing.
    """
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM_SCHEMA
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    document["security"] = [{"bearer": []}]
    for operations in document.get("paths", {}).values():
        for operation in operations.values():
            _replace_validation_error(operation["responses"])


def _describe(app: FastAPI) -> None:
    """Let the app's own OpenAPI document describe problems."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        describe_problems(document)
        return document

    app.openapi = openapi


def _replace_validation_error(responses: dict[str, Any]) -> None:
    """Replace the framework's description of 422, where a route has no other, by ours."""
    if MEDIA_TYPE not in responses.get("422", {}).get("content", {MEDIA_TYPE: None}):
        responses["422"] = PROBLEM_RESPONSES[422]


_PLACES = frozenset({"body", "query", "path", "header", "cookie"})
PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "A refusal (RFC 9457). `code` is stable; `trace_id` finds it in the logs.",
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": [TYPE_PREFIX + "not-found"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "examples": ["not-found"]},
        "detail": {"type": "string"},
        "trace_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["in", "pointer", "code"],
                "properties": {
                    "in": {"type": "string", "enum": sorted(_PLACES)},
                    "pointer": {"type": "string", "description": "A JSON pointer (RFC 6901)."},
                    "code": {"type": "string"},
                },
            },
        },
    },
}
