"""Every event version has an example, which its schema, its model and all revisions accept."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from casebook.events.catalog import EVENTS
from casebook.events.decoding import CURRENT, base
from casebook.events.schemas import Schema, schema
from tools.revisions import Schemas

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "libs" / "events" / "examples").glob("*.json"))
TYPES = sorted(EVENTS)


def example(type_: str) -> dict[str, Any]:
    path = ROOT / "libs" / "events" / "examples" / f"{type_}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def validator(document: Schema) -> Draft202012Validator:
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document, format_checker=Draft202012Validator.FORMAT_CHECKER)


def test_every_event_has_an_example_and_every_example_an_event() -> None:
    names = {path.stem for path in EXAMPLES}
    assert set(EVENTS) <= names
    assert {base(name) for name in names} <= set(CURRENT)


@pytest.mark.parametrize("type_", TYPES)
def test_the_example_is_what_the_event_writes(type_: str) -> None:
    event, data = EVENTS[type_], example(type_)
    assert event.closed(data).payload() == data
    assert set(data) == set(event.model_fields), "an example shows every field"


@pytest.mark.parametrize("type_", TYPES)
def test_the_example_is_valid_by_its_schema(type_: str) -> None:
    validator(schema(EVENTS[type_], "log")).validate(example(type_))


@pytest.mark.parametrize("type_", TYPES)
def test_the_ingress_schema_takes_the_same_with_plain_text(type_: str) -> None:
    event, data = EVENTS[type_], example(type_)
    checked = validator(schema(event, "ingress"))
    checked.validate(data | dict.fromkeys(event.secret_fields, "你好"))
    if event.secret_fields:
        with pytest.raises(ValidationError):
            checked.validate(data)


@pytest.mark.parametrize("type_", TYPES)
def test_both_schemas_are_closed(type_: str) -> None:
    event = EVENTS[type_]
    data = example(type_) | {"somethingelse": 1}
    plain = data | dict.fromkeys(event.secret_fields, "你好")
    for document, value in ((schema(event, "log"), data), (schema(event, "ingress"), plain)):
        with pytest.raises(ValidationError, match="somethingelse"):
            validator(document).validate(value)


def test_objects_inside_are_closed_too() -> None:
    type_ = "casebook.work-order.assigned-to-agent.v1"
    data = example(type_)
    data["explanation"]["candidates"][0]["mood"] = "calm"
    assert not validator(schema(EVENTS[type_], "log")).is_valid(data)


def test_every_revision_is_readable_json_schema() -> None:
    schemas = Schemas(ROOT)
    for type_ in TYPES:
        for path in (*schemas.history(type_, "log"), *schemas.history(type_, "ingress")):
            Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))


def test_no_event_holds_a_float() -> None:
    for event in EVENTS.values():
        assert '"type": "number"' not in json.dumps(schema(event, "log"))


# A code, a team's name and a reason that Casebook writes itself are nobody's personal data.
NOT_PERSONAL = {
    ("casebook.team.created.v1", "name"),
    ("casebook.import.row-rejected.v1", "reason"),
    ("casebook.work-order.waiting-started.v1", "reason"),
}
PERSONAL = (
    "name", "email", "phone", "address", "title", "description", "comment", "body", "note",
    "summary", "reason", "plan", "text",
)  # fmt: skip


def test_personal_data_and_free_text_are_sealed() -> None:
    for type_, event in EVENTS.items():
        for field in event.model_fields:
            if any(field == word or field.endswith(f"_{word}") for word in PERSONAL):
                assert field in event.secret_fields or (type_, field) in NOT_PERSONAL
