"""Values of events: what cannot be stored, read back or shown is refused at the door."""

import sys
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from casebook.events.request import RequestClosureAnnounced, RequestSubmitted
from casebook.events.values import (
    UNSAFE_LABEL,
    UNSAFE_TEXT,
    Count,
    Flag,
    Label,
    Moment,
    Priority,
    SecretTitle,
)

LABELS: TypeAdapter[str] = TypeAdapter(Label)
MOMENTS: TypeAdapter[Any] = TypeAdapter(Moment)


@pytest.mark.parametrize("text", ["网络", "a" * 200, "क़", "it's fine – really"])
def test_a_label_is_one_visible_line(text: str) -> None:
    assert LABELS.validate_python(LABELS.validate_python(text)) == LABELS.validate_python(text)


def test_nothing_printable_is_unsafe_so_that_a_quick_look_is_enough() -> None:
    every = map(chr, range(sys.maxunicode + 1))
    printable = "".join(character for character in every if character.isprintable())
    assert not UNSAFE_TEXT.search(printable)
    assert not UNSAFE_LABEL.search(printable)


@pytest.mark.parametrize(
    "text", ["", "  ", "a" * 201, "a\nb", "a\tb", "a\x00", "\ud800", "\ufffe", "\u202eb", "a\u2028"]
)
def test_anything_else_is_no_label(text: str) -> None:
    with pytest.raises(ValidationError):
        LABELS.validate_python(text)


def test_what_normalising_makes_too_long_is_refused_before_it_is_stored() -> None:
    for kind in (Label, SecretTitle):
        with pytest.raises(ValidationError):
            TypeAdapter[Any](kind).validate_python("क़" * 150)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Priority, True), (Priority, "2"), (Priority, 2.0), (Priority, 5), (Count, -1),
     (Count, 2**53), (Flag, 1), (Flag, "yes")],
)  # fmt: skip
def test_a_number_is_a_number_and_a_flag_a_flag(kind: Any, value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[Any](kind).validate_python(value)


@pytest.mark.parametrize(
    "value",
    [1456708560, "1456708560", 0.5, "2016-02-29", "2016-02-29T01:16:00", "1999-12-31T23:59:59Z",
     "2100-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", True, None],
)  # fmt: skip
def test_a_moment_is_a_timestamp_of_this_century_with_an_offset(value: object) -> None:
    with pytest.raises(ValidationError):
        MOMENTS.validate_python(value)


@pytest.mark.parametrize(
    ("value", "hint"),
    [("yesterday", False), ("ThisEvening", False), ("2016-02-29T01:16:00", False), (0, False),
     ("2016-02-29T01:16:00 08:00", True), ("2016-02-29t01:16:00.5 0800", True)],
)  # fmt: skip
def test_what_is_no_moment_is_told_what_is_one(value: object, hint: bool) -> None:
    with pytest.raises(ValidationError) as refused:
        MOMENTS.validate_python(value)
    [error] = refused.value.errors()
    assert error["type"] == "not_a_moment"
    expected = error.get("ctx", {})["expected"]
    assert expected.startswith("an RFC 3339 timestamp with a zone, such as")
    assert ("%2B" in expected) == hint


def test_a_moment_is_kept() -> None:
    announced = RequestClosureAnnounced.closed({"closes_at": "2026-03-07T11:41:07.25+08:00"})
    assert RequestClosureAnnounced.tolerant(announced.payload()) == announced


def test_secret_fields_are_known() -> None:
    assert RequestSubmitted.secret_fields == ("title", "description")
