"""Whether what was sent is what the published documents say: messages, and HTTP responses.

Validators are compiled once, and the same body is judged once. Readers must be tolerant, so the
schemas leave room for later versions; a test of today's version also refuses what they do not
name.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator

DOCS = Path(__file__).parents[2] / "docs"
EVENTS_CHANNEL, INGRESS_CHANNEL = "events", "ingress"
TRANSPORT = frozenset({405, 406, 408, 414, 431, 500})
"""Statuses that no operation lists, because any may have them: they are documented as default."""

_FORMATS = FormatChecker()
_judged: set[tuple[Any, ...]] = set()


class NotAsPublished(AssertionError):
    """What was sent is not what the documents say."""


# --- messages -----------------------------------------------------------------------------------


def assert_message(
    record_headers: Iterable[tuple[str, bytes]], value: bytes | None, key: bytes | None = None
) -> str:
    """Check a record of the log against docs/asyncapi.json; return its type."""
    headers = {name: raw.decode() for name, raw in record_headers}
    type_ = headers.get("ce_type", "")
    where = f"{type_ or 'a message'} ({headers.get('ce_id')})"
    if type_ not in asyncapi()["channels"][EVENTS_CHANNEL]["messages"]:
        raise NotAsPublished(f"{where}: the log has no such message")
    _check(_part("messages", type_, "headers"), headers, where)
    unknown = headers.keys() - asyncapi()["components"]["schemas"]["LogHeaders"]["properties"]
    if unknown:
        raise NotAsPublished(f"{where}: headers that are not documented: {sorted(unknown)}")
    _check(_part("messages", type_, "payload"), json.loads(value or b"null"), where)
    text = None if key is None else key.decode()
    if key is not None and text != headers["ce_partitionkey"]:
        raise NotAsPublished(f"{where}: the key is {text}")
    _check(_part("messages", type_, "bindings", "kafka", "key"), headers["ce_partitionkey"], where)
    return type_


def assert_published(headers: Mapping[str, str], payload: object) -> str:
    """Check what a publisher sends to its ingress topic; return the type."""
    if headers.get("content-type") == "application/cloudevents+json":
        name = "structured"
    else:
        name = f"{headers.get('ce_type')}.ingress"
    if name not in asyncapi()["channels"][INGRESS_CHANNEL]["messages"]:
        raise NotAsPublished(f"{name}: nobody may publish this")
    _check(_part("messages", name, "headers"), dict(headers), name)
    _check(_part("messages", name, "payload"), payload, name)
    return name


@cache
def asyncapi() -> dict[str, Any]:
    """Return the published AsyncAPI document."""
    return json.loads((DOCS / "asyncapi.json").read_text(encoding="utf-8"))


@cache
def _part(*path: str) -> Validator:
    """Return the validator of a part of the AsyncAPI document, below the components."""
    pointer = "/".join(("#/components", *path))
    return Draft7Validator(
        {"components": asyncapi()["components"], "$ref": pointer},
        format_checker=_FORMATS,
    )


# --- responses ----------------------------------------------------------------------------------


def assert_response(
    service: str,
    method: str,
    path_template: str,
    status: int,
    body: object,
    *,
    media_type: str = "application/json",
) -> None:
    """Check a response against docs/openapi/<service>.json."""
    where = f"{method} {path_template} {status}"
    operations = openapi(service)["paths"].get(path_template, {})
    if method.lower() not in operations:
        raise NotAsPublished(f"{where}: {service} has no such operation")
    name = _listed(service, path_template, method, status)
    response = _response(service, path_template, method.lower(), name)
    if media_type not in response.get("content", {}):
        if response.get("content") or body is not None:
            raise NotAsPublished(f"{where}: {media_type} is not documented")
    else:
        validator = _body(service, path_template, method.lower(), name, media_type)
        _check(validator, body, where)


async def watch_async(response: httpx.Response) -> None:
    """Check a response as an event hook of ``httpx.AsyncClient``."""
    await response.aread()
    _assert_http(response)


def watch(response: httpx.Response) -> None:
    """Check a response as an event hook of ``httpx.Client``."""
    response.read()
    _assert_http(response)


@cache
def openapi(service: str) -> dict[str, Any]:
    """Return the published OpenAPI document of a service."""
    return json.loads((DOCS / "openapi" / f"{service}.json").read_text(encoding="utf-8"))


def template_of(service: str, method: str, path: str) -> str | None:
    """Return the path of the document that an address is of; the one with fewest parameters."""
    for template, pattern, methods in _templates(service):
        if method.lower() in methods and pattern.fullmatch(path):
            return template
    return None


@cache
def _templates(service: str) -> list[tuple[str, re.Pattern[str], frozenset[str]]]:
    """Return the paths with the pattern of their addresses, the most special first."""
    found = [
        (path, re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), frozenset(methods))
        for path, methods in openapi(service)["paths"].items()
    ]
    return sorted(found, key=lambda item: item[0].count("{"))


def _assert_http(response: httpx.Response) -> None:
    """Check a response whose body was read; other addresses than those of services are passed."""
    request = response.request
    service = request.url.path.split("/")[1]
    if not (DOCS / "openapi" / f"{service}.json").exists():
        return
    template = template_of(service, request.method, request.url.path)
    if template is None:
        if response.status_code < 300:
            raise NotAsPublished(f"{request.method} {request.url.path}: not documented")
        return
    media_type = response.headers.get("content-type", "").partition(";")[0]
    status, method = response.status_code, request.method
    seen = (method, template, status, media_type, hash(response.content))
    if seen not in _judged:
        body = json.loads(response.content) if response.content else None
        assert_response(service, method, template, status, body, media_type=media_type)
        _judged.add(seen)
    _check_headers(service, method, template, status, response.headers)


def _listed(service: str, path: str, method: str, status: int) -> str:
    """Return the name under which a status is documented.

    :raises NotAsPublished: when it is not.
    """
    if str(status) in openapi(service)["paths"][path][method.lower()]["responses"]:
        return str(status)
    if status not in TRANSPORT:
        raise NotAsPublished(f"{method} {path} {status}: the status is not documented")
    return "default"


@cache
def _response(service: str, path: str, method: str, status: str) -> dict[str, Any]:
    """Return what is documented of a response."""
    found = openapi(service)["paths"][path][method]["responses"][status]
    if "$ref" in found:
        return openapi(service)["components"]["responses"][found["$ref"].rpartition("/")[2]]
    return found


@cache
def _body(service: str, path: str, method: str, status: str, media_type: str) -> Validator:
    """Return the validator of a response's body."""
    schema = _response(service, path, method, status)["content"][media_type]["schema"]
    return Draft202012Validator(
        {**schema, "components": openapi(service)["components"]},
        format_checker=_FORMATS,
    )


def _check_headers(
    service: str, method: str, path: str, status: int, headers: Mapping[str, str]
) -> None:
    """Check the documented headers of a documented response."""
    where = f"{method} {path} {status}"
    response = _response(service, path, method.lower(), _listed(service, path, method, status))
    for name, header in response.get("headers", {}).items():
        value = headers.get(name)
        if value is not None:
            _check(Draft202012Validator(header["schema"]), value, f"{where} {name}")
        elif header.get("required"):
            raise NotAsPublished(f"{where}: {name} is missing")


def _check(validator: Validator, value: Any, where: str) -> None:
    """Check a value.

    :raises NotAsPublished: with the error that says most.
    """
    if validator.is_valid(value):
        return
    error = best_match(validator.iter_errors(value))
    place = "" if error is None else "/".join(map(str, error.absolute_path))
    message = "" if error is None else error.message
    raise NotAsPublished(f"{where}: {place}: {message}")
