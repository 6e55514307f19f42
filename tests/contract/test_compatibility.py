"""Planted changes of a schema: what breaks readers or history is refused, the rest is not."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from casebook.events.catalog import EVENTS
from casebook.events.compatibility import breaks, gate, same_shape
from casebook.events.schemas import Schema, schema
from casebook.events.work_order import WorkOrderAssignedToAgent
from tools.revisions import Breaking, Schemas

ROOT = Path(__file__).parents[2]
Change = Callable[[Schema], object]

OLD: Schema = {
    "x-family": "request",
    "type": "object",
    "description": "A request.",
    "properties": {
        "number": {"type": "string", "minLength": 1, "maxLength": 200},
        "impact": {"type": "integer", "minimum": 1, "maximum": 3},
        "mode": {"enum": ["live", "observed"], "type": "string"},
        "title": {"anyOf": [{"type": "string", "maxLength": 200}, {"type": "null"}],
                  "default": None},
        "channel": {"anyOf": [{"type": "string", "maxLength": 100}, {"type": "null"}],
                    "default": None},
        "matrix": {"anyOf": [{"$ref": "#/$defs/Reference"}, {"type": "null"}], "default": None},
        "evidence": {"type": "array", "items": {"type": "string", "format": "uuid"},
                     "maxItems": 100},
        "excluded": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0},
                     "propertyNames": {"maxLength": 200}},
    },
    "required": ["number", "impact", "mode", "evidence", "excluded"],
    "additionalProperties": False,
    "$defs": {
        "Reference": {
            "type": "object",
            "properties": {"id": {"type": "string"}, "version": {"type": "integer"}},
            "required": ["id", "version"],
            "additionalProperties": False,
        }
    },
}  # fmt: skip


def fields(new: Schema) -> dict[str, Any]:
    return new["properties"]


def reference(new: Schema) -> dict[str, Any]:
    return new["$defs"]["Reference"]


def rename(new: Schema, before: str, after: str) -> None:
    fields(new)[after] = fields(new).pop(before)
    new["required"] = [after if name == before else name for name in new["required"]]


BREAKING: dict[str, Change] = {
    "a new required field": lambda new: (
        fields(new).update(site={"type": "string"}), new["required"].append("site"),
    ),
    "a required field gone": lambda new: (
        fields(new).pop("impact"), new["required"].remove("impact"),
    ),
    "an optional field required": lambda new: new["required"].append("title"),
    "a required field optional": lambda new: new["required"].remove("impact"),
    "another type": lambda new: fields(new).update(number={"type": "integer"}),
    "a wider type": lambda new: fields(new)["impact"].update(type="number"),
    "a required field renamed": lambda new: rename(new, "number", "reference"),
    "an optional field renamed": lambda new: rename(new, "title", "heading"),
    "a tighter maximum": lambda new: fields(new)["impact"].update(maximum=2),
    "a looser maximum": lambda new: fields(new)["impact"].update(maximum=4),
    "a bound gone": lambda new: fields(new)["number"].pop("maxLength"),
    "a bound come": lambda new: fields(new)["evidence"].update(minItems=1),
    "a looser bound of a nullable field": lambda new: fields(new)["title"]["anyOf"][0].update(
        maxLength=300
    ),
    "a value more": lambda new: fields(new)["mode"]["enum"].append("replayed"),
    "a value less": lambda new: fields(new)["mode"]["enum"].remove("observed"),
    "listed values": lambda new: fields(new)["number"].update(enum=["a"]),
    "null allowed": lambda new: fields(new).update(
        impact={"anyOf": [fields(new)["impact"], {"type": "null"}]}
    ),
    "null refused": lambda new: fields(new).update(title={"type": "string", "maxLength": 200}),
    "another default": lambda new: fields(new)["channel"].update(default="phone"),
    "another format": lambda new: fields(new)["evidence"]["items"].update(format="uri"),
    "a pattern": lambda new: fields(new)["number"].update(pattern="^REQ"),
    "a tighter map": lambda new: fields(new)["excluded"]["additionalProperties"].update(minimum=1),
    "shorter names in a map": lambda new: fields(new)["excluded"]["propertyNames"].update(
        maxLength=20
    ),
    "fields for a map": lambda new: fields(new).update(
        excluded={"type": "object", "properties": {}, "additionalProperties": False}
    ),
    "open content": lambda new: new.pop("additionalProperties"),
    "a new required field inside": lambda new: (
        reference(new)["properties"].update(digest={"type": "string"}),
        reference(new)["required"].append("digest"),
    ),
    "another type inside": lambda new: reference(new)["properties"].update(id={"type": "integer"}),
    "another stream family": lambda new: new.update({"x-family": "case"}),
}  # fmt: skip

ALLOWED: dict[str, Change] = {
    "nothing": lambda new: None,
    "an optional field more": lambda new: fields(new).update(
        site={"anyOf": [{"type": "string", "maxLength": 50}, {"type": "null"}], "default": None}
    ),
    "an optional field with a default": lambda new: fields(new).update(
        tries={"type": "integer", "default": 1}
    ),
    "an optional field less": lambda new: fields(new).pop("channel"),
    "an optional field more inside": lambda new: reference(new)["properties"].update(
        digest={"type": "string", "default": ""}
    ),
    "other words": lambda new: (
        new.update(description="What was asked for.", title="Request", examples=[{}]),
        fields(new)["impact"].update(description="1 is the highest", title="Impact"),
    ),
    "another order": lambda new: (
        new["required"].reverse(),
        new.update(properties=dict(reversed(fields(new).items()))),
    ),
    "another name of a definition": lambda new: (
        new["$defs"].update(Definition=new["$defs"].pop("Reference")),
        fields(new)["matrix"]["anyOf"][0].update({"$ref": "#/$defs/Definition"}),
    ),
}


def changed(change: Change) -> Schema:
    new = deepcopy(OLD)
    change(new)
    return new


@pytest.mark.parametrize("name", BREAKING)
def test_a_breaking_change_is_refused(name: str) -> None:
    assert breaks(OLD, changed(BREAKING[name]))


@pytest.mark.parametrize("name", BREAKING)
def test_it_is_refused_backwards_too(name: str) -> None:
    assert breaks(changed(BREAKING[name]), OLD)


@pytest.mark.parametrize("name", ALLOWED)
def test_a_harmless_change_is_allowed(name: str) -> None:
    assert breaks(OLD, changed(ALLOWED[name])) == []
    assert gate([OLD, changed(ALLOWED[name])], OLD) == []


def test_every_revision_counts_not_only_the_last() -> None:
    without = changed(lambda new: fields(new).pop("channel"))
    again = changed(lambda new: fields(new).update(channel={"type": "integer", "default": 0}))
    assert breaks(OLD, without) == []
    assert breaks(without, again) == []
    assert gate([OLD, without], again)


def test_two_revisions_may_do_what_looks_like_a_rename_in_one() -> None:
    without = changed(lambda new: fields(new).pop("title"))
    renamed = changed(BREAKING["an optional field renamed"])
    assert gate([OLD], renamed)
    assert gate([OLD, without], renamed) == []


def test_a_refusal_says_where_and_for_whom() -> None:
    found = breaks(OLD, changed(BREAKING["a looser maximum"]))
    assert found == ["data.impact: maximum 4 is beyond 3 (old readers)"]


def test_words_are_no_revision() -> None:
    assert same_shape(OLD, changed(ALLOWED["other words"]))
    assert same_shape(OLD, changed(ALLOWED["another order"]))
    assert not same_shape(OLD, changed(ALLOWED["an optional field less"]))


@pytest.mark.parametrize("type_", sorted(EVENTS))
def test_todays_schemas_fit_themselves(type_: str) -> None:
    for side in ("log", "ingress"):
        document = schema(EVENTS[type_], side)
        assert breaks(document, deepcopy(document)) == []


# --- the files --------------------------------------------------------------------------------


def test_the_committed_revisions_pass_the_gate() -> None:
    assert Schemas(ROOT).problems() == []


def edit(path: Path, change: Change) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


@pytest.fixture
def schemas(tmp_path: Path) -> Schemas:
    """The schema files of a repository of its own."""
    found = Schemas(tmp_path)
    found.write(unreleased=False)
    return found


TYPE = WorkOrderAssignedToAgent.type


def test_a_changed_event_becomes_the_next_revision(schemas: Schemas) -> None:
    for side in ("log", "ingress"):
        edit(schemas.current(TYPE, side), lambda document: fields(document).pop("explanation"))
    before = schemas.current(TYPE, "log").read_text(encoding="utf-8")
    assert len(schemas.stale()) == 2
    assert len(schemas.write(unreleased=False)) == 2
    assert schemas.stale() == []
    assert [path.name for path in schemas.history(TYPE, "log")] == [f"{TYPE}.1.json"]
    assert [path.name for path in schemas.history(TYPE, "ingress")] == [f"{TYPE}.1.ingress.json"]
    assert schemas.history(TYPE, "log")[0].read_text(encoding="utf-8") == before
    assert schemas.write(unreleased=False) == []


def test_other_words_replace_the_revision(schemas: Schemas) -> None:
    edit(schemas.current(TYPE, "log"), lambda document: document.update(description="Other."))
    assert len(schemas.write(unreleased=False)) == 1
    assert schemas.history(TYPE, "log") == []


def test_a_breaking_change_is_not_written(schemas: Schemas) -> None:
    path = schemas.current(TYPE, "log")
    edit(path, lambda document: document["required"].append("reason"))
    before = path.read_text(encoding="utf-8")
    assert any("reason" in problem for problem in schemas.stale())
    with pytest.raises(Breaking, match="reason"):
        schemas.write(unreleased=False)
    assert path.read_text(encoding="utf-8") == before


def test_only_what_nobody_used_is_replaced_without_the_gate(schemas: Schemas) -> None:
    path = schemas.current(TYPE, "log")
    edit(path, lambda document: document["required"].append("reason"))
    assert schemas.write(unreleased=True) == [str(path.relative_to(schemas.root))]
    assert schemas.history(TYPE, "log") == []
    old = schemas.folder / "history" / f"{TYPE}.1.json"
    old.parent.mkdir()
    old.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    edit(old, lambda document: document["required"].append("reason"))
    with pytest.raises(Breaking, match="revision 1"):
        schemas.write(unreleased=True)
