"""docs/openapi: valid, complete, what the services serve; every example is what it stands for.

That a running platform takes the bodies is tested in tests/system/test_documented_examples.py.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import TypeAdapter

from casebook.events.catalog import SERVICES
from casebook.events.envelope import GENESIS, chain
from casebook.events.ingress import BATCH, STRUCTURED, Published, event_of, from_http
from casebook.kit.http.problems import MEDIA_TYPE, TYPE_PREFIX
from casebook.kit.ingress.inbox import owner_of_published
from casebook.kit.routes.ingress_docs import publishable_types
from tests.support.conformance import (
    NotAsPublished,
    assert_response,
    openapi,
    template_of,
    watch,
)
from tools.pages.openapi import app

if TYPE_CHECKING:
    from casebook.events.malformed import Malformed

VERB_NOUN = re.compile(r"[a-z]+(?:[A-Z][a-z0-9]*)+")
COMMAND_STATUSES = {"400", "401", "403", "404", "409", "413", "415", "422", "503", "default"}
VERSIONED = {
    "intake": {"getRequest", "getSource"},
    "dispatch": {"getWorkOrder", "getAgent"},
    "monitoring": set[str](),
    "quality": {"getSurvey", "getNonconformity", "getRequestLinks"},
    "risk": {"getRisk"},
}


@dataclass(frozen=True)
class Operation:
    """One operation of a document."""

    service: str
    method: str
    path: str
    described: dict[str, Any]

    @property
    def id(self) -> str:
        return self.described["operationId"]

    @property
    def body(self) -> dict[str, Any]:
        """What it takes, by media type."""
        return self.described.get("requestBody", {}).get("content", {})

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        return {item["name"]: item for item in self.described.get("parameters", [])}

    @property
    def successes(self) -> dict[str, dict[str, Any]]:
        responses = self.described["responses"]
        return {status: responses[status] for status in responses if status.startswith("2")}

    @property
    def refusals(self) -> dict[str, dict[str, Any]]:
        shared = openapi(self.service)["components"]["responses"]
        return {
            status: shared[response["$ref"].rpartition("/")[2]] if "$ref" in response else response
            for status, response in self.described["responses"].items()
            if not status.startswith("2")
        }

    @property
    def route(self) -> APIRoute:
        """The route that it describes."""
        [found] = [
            context.original_route
            for context in iter_route_contexts(app(self.service).routes)
            if context.path_format == self.path and self.method.upper() in (context.methods or ())
        ]
        assert isinstance(found, APIRoute)
        return found


def operations() -> Iterator[Operation]:
    for service in SERVICES:
        for path, methods in openapi(service)["paths"].items():
            for method, described in methods.items():
                yield Operation(service, method, path, described)


ALL = list(operations())


def name(operation: Operation) -> str:
    return f"{operation.service}-{operation.id}"


every = pytest.mark.parametrize("operation", ALL, ids=name)


# --- the documents ------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
def test_the_document_is_valid_openapi(service: str) -> None:
    document = openapi(service)
    assert document["openapi"].startswith("3.1")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


@pytest.mark.parametrize("service", SERVICES)
async def test_the_service_serves_this_document(service: str) -> None:
    transport = httpx.ASGITransport(app=app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://desk.test") as client:
        response = await client.get(f"/{service}/openapi.json")
    assert response.status_code == 200
    assert response.json() == openapi(service)


@pytest.mark.parametrize("service", SERVICES)
def test_operation_ids_are_unique(service: str) -> None:
    counts = Counter(operation.id for operation in ALL if operation.service == service)
    assert {id_ for id_, count in counts.items() if count > 1} == set()


# --- every operation ----------------------------------------------------------------------------


@every
def test_its_name_is_a_verb_and_a_noun_that_no_refactoring_changes(operation: Operation) -> None:
    assert VERB_NOUN.fullmatch(operation.id)
    assert operation.route.operation_id == operation.id, "given, not made of the function's name"


@every
def test_it_says_what_it_does(operation: Operation) -> None:
    assert operation.described["summary"]
    assert operation.described["description"].rstrip().endswith(".")
    assert operation.described["tags"]
    assert operation.described["x-casebook-operation"]


@every
def test_its_refusals_are_problems(operation: Operation) -> None:
    expected = COMMAND_STATUSES if "Idempotency-Key" in operation.parameters else {"403", "default"}
    assert expected <= operation.refusals.keys()
    for status, response in operation.refusals.items():
        media = response["content"][MEDIA_TYPE]
        assert media["example"]["type"] == TYPE_PREFIX + media["example"]["code"]
        code = media["example"]["status"]
        assert_response(
            operation.service, operation.method, operation.path, code, media["example"],
            media_type=MEDIA_TYPE,
        )  # fmt: skip
        assert status in {"default", str(code)}


@every
def test_its_conditions_are_parameters(operation: Operation) -> None:
    names = operation.parameters.keys()
    if operation.method == "get":
        assert "Casebook-Min-Version" in names
        assert "409" in operation.refusals, "a parked case"
    assert ("If-Match" in names) == ("428" in operation.refusals) == ("412" in operation.refusals)
    for response in operation.successes.values():
        changes_a_stream = "Idempotency-Key" in names and "operations" not in operation.route.tags
        versioned = changes_a_stream or operation.id in VERSIONED[operation.service]
        assert ({"ETag", "Casebook-Version"} <= response.get("headers", {}).keys()) == versioned


@every
def test_the_examples_of_its_body_are_taken(operation: Operation) -> None:
    field = operation.route.body_field
    assert bool(operation.body) == (operation.method != "get" and _has_body(operation))
    if operation.id == "publishEvents":
        return
    for media in operation.body.values():
        assert field is not None
        # As the framework reads a body: the decoded JSON, into the model of the route.
        _, errors = field.validate(json.loads(json.dumps(media["example"])), loc=("body",))
        assert errors == []


def _has_body(operation: Operation) -> bool:
    return operation.route.body_field is not None or operation.id == "publishEvents"


@every
def test_the_examples_of_its_answers_are_of_their_models(operation: Operation) -> None:
    assert operation.successes
    for status, response in operation.successes.items():
        media = response["content"]["application/json"]
        model = TypeAdapter[Any](operation.route.response_model)
        model.validate_json(json.dumps(media["example"]), extra="forbid")
        assert_response(
            operation.service, operation.method, operation.path, int(status), media["example"]
        )


# --- publishing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
def test_the_published_examples_are_events_of_the_service(service: str) -> None:
    [operation] = [item for item in ALL if (item.service, item.id) == (service, "publishEvents")]
    headers = {
        item: parameter["example"]
        for item, parameter in operation.parameters.items()
        if item.startswith("ce-")
    }
    found: list[Published | Malformed] = []
    for media_type, media in operation.body.items():
        body = json.dumps(media["example"]).encode()
        found += from_http(media_type, headers.items(), body)
    assert set(operation.body) == {STRUCTURED, BATCH, "application/json"}
    assert len(found) == 3
    for event in found:
        assert event == found[0]
        assert isinstance(event, Published)
        assert event_of(event).payload() == event.data
        assert owner_of_published(event.type) == service
        assert event.type in publishable_types(service) or service == "risk"


def test_every_publishable_type_belongs_to_one_service() -> None:
    types = [type_ for service in SERVICES for type_ in publishable_types(service)]
    assert len(types) == len(set(types))
    for service in SERVICES:
        assert {owner_of_published(type_) for type_ in publishable_types(service)} <= {service}


# --- answers that are not documented are found ---------------------------------------------------

RECEIPT: dict[str, Any] = openapi("intake")["components"]["schemas"]["Receipt"]["example"]
VERSION = {"ETag": '"3"', "Casebook-Version": "request/1@3"}
PROBLEM = {"type": "urn:casebook:problem:x", "title": "X", "status": 404, "code": "x", "detail": ""}


def answered(path: str, status: int, body: Any, **headers: str) -> None:
    """Let a server answer so, and the hook look at it."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=body, headers=headers)

    transport = httpx.MockTransport(answer)
    with httpx.Client(transport=transport, event_hooks={"response": [watch]}) as client:
        client.put(f"http://desk.test{path}")


def test_a_documented_answer_is_passed() -> None:
    answered("/intake/v1/requests/1/confirmation", 200, RECEIPT, **VERSION)
    answered("/intake/v1/requests/1/confirmation", 404, PROBLEM, **{"content-type": MEDIA_TYPE})
    answered("/intake/v1/nothing", 404, {})
    answered("/somewhere/else", 200, {})


@pytest.mark.parametrize(
    ("path", "status", "body", "headers"),
    [
        ("confirmation", 201, RECEIPT, VERSION),
        ("confirmation", 200, RECEIPT | {"id": 3}, VERSION),
        ("confirmation", 200, RECEIPT | {"id": "3"}, VERSION),
        ("confirmation", 200, RECEIPT | {"reopenings": None}, VERSION),
        ("confirmation", 200, {}, VERSION),
        ("confirmation", 200, RECEIPT, {"ETag": '"3"'}),
        ("confirmation", 200, RECEIPT, VERSION | {"ETag": "3"}),
        ("confirmation", 200, RECEIPT, VERSION | {"content-type": "text/json"}),
        ("confirmation", 402, PROBLEM, {"content-type": MEDIA_TYPE}),
        ("confirmation", 404, {"detail": "Not Found"}, {"content-type": MEDIA_TYPE}),
        ("confirmation", 404, PROBLEM, {}),
        ("notes", 200, {}, {}),
    ],
)
def test_another_answer_is_found(
    path: str, status: int, body: Any, headers: dict[str, str]
) -> None:
    with pytest.raises(NotAsPublished):
        answered(f"/intake/v1/requests/1/{path}", status, body, **headers)


# --- the examples of what operators read --------------------------------------------------------


def test_the_stored_event_of_the_example_has_its_hash() -> None:
    [operation] = [item for item in ALL if (item.service, item.id) == ("intake", "listEvents")]
    [row] = operation.successes["200"]["content"]["application/json"]["example"]
    assert chain(GENESIS, row["record"]).hex() == row["hash"]


def test_an_address_is_found_among_the_paths() -> None:
    assert template_of("risk", "GET", "/risk/v1/risks/heatmap") == "/risk/v1/risks/heatmap"
    assert template_of("risk", "GET", "/risk/v1/risks/1") == "/risk/v1/risks/{risk_id}"
    assert template_of("risk", "DELETE", "/risk/v1/risks/1") is None
    assert template_of("risk", "GET", "/risk/v1/risks/1/2/3") is None
