"""The published interface of intake: complete, and never beyond the policy table."""

from typing import Any

import pytest

from casebook.intake.app import create_app
from casebook.intake.policy import POLICY
from casebook.intake.service import SERVICE

# Rows that decide what a reader of a request sees, or what a submitter may say.
INSIDE = {"request.read-staff", "request.read-restricted", "request.submit-on-behalf"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app().openapi()


def own(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if set(operation.get("tags", [])) & {"requests", "sources"}
    ]


def test_every_operation_has_a_row_and_every_row_an_operation(document: dict[str, Any]) -> None:
    used = {operation["x-casebook-operation"] for _, _, operation in own(document)}
    assert used <= set(SERVICE.policy.operations)
    assert used | INSIDE == set(POLICY.operations)


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    operations = own(document)
    assert len(operations) == 15
    for path, method, operation in operations:
        assert operation["description"].endswith("."), path
        assert operation["operationId"].isalnum(), path
        assert {"401", "403", "404", "422"} <= operation["responses"].keys(), path
        if method != "get":
            assert "409" in operation["responses"], path


def test_every_model_has_an_example(document: dict[str, Any]) -> None:
    wanted: set[str] = set()
    for _, _, operation in own(document):
        schemas = [operation.get("requestBody", {}).get("content", {})]
        schemas += [operation["responses"][code]["content"] for code in ("200", "201")
                    if code in operation["responses"]]  # fmt: skip
        for content in schemas:
            reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
            wanted.add(reference.rpartition("/")[2])
    pages = {name for name in wanted if name.endswith("Page")}  # shown by an example of an item
    models = document["components"]["schemas"]
    for name in wanted - pages - {""}:
        assert "example" in models[name], name
