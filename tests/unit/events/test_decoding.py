"""Facts of every version are read as today's events, or not at all."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from casebook.events.decoding import UnknownMajor, base, decode
from casebook.events.envelope import Envelope
from casebook.events.request import RequestClassified, RequestPrioritised
from casebook.events.upcasting import Data, Steps, path, split

FACT = Envelope(
    id=UUID(int=1),
    source="/casebook/intake",
    type=RequestClassified.type,
    subject="request/1",
    streamversion=1,
    partitionkey="1",
    time=datetime(2026, 3, 2, tzinfo=UTC),
    recordedtime=datetime(2026, 3, 2, tzinfo=UTC),
    correlationid="1",
    actor="u-1",
    origin="live",
    audience="customer",
    data={"problem_type": "other"},
)


def read(type_: str, **data: Any) -> object:
    return decode(replace(FACT, type=type_, data=data))


def test_a_known_type_is_its_event() -> None:
    assert decode(FACT) == RequestClassified(problem_type="other")


def test_fields_of_a_later_revision_are_ignored() -> None:
    assert read(FACT.type, problem_type="other", mood="calm") == RequestClassified(
        problem_type="other"
    )


@pytest.mark.parametrize("type_", ["casebook.mood.changed.v1", "somebody.elses", "", ".v1"])
def test_an_unknown_type_is_somebody_elses(type_: str) -> None:
    assert read(type_) is None


@pytest.mark.parametrize("version", [".v0", ".v2", ".v12", ""])
def test_an_unknown_major_of_a_known_type_stops(version: str) -> None:
    for _ in range(2):
        with pytest.raises(UnknownMajor):
            read(f"casebook.request.classified{version}" if version else base(FACT.type))


def test_data_of_another_shape_stops() -> None:
    with pytest.raises(ValidationError):
        read(FACT.type, problem_type=7)


def test_the_pilots_labels_are_read_as_numbers() -> None:
    event = read("casebook.request.prioritised.v0", impact="2 - Medium", urgency="1 - High")
    assert event == RequestPrioritised(impact=2, urgency=1)
    with pytest.raises(ValueError, match="invalid literal"):
        read("casebook.request.prioritised.v0", impact="medium")


def test_a_type_is_a_name_and_a_major() -> None:
    assert split("casebook.request.classified.v12") == ("casebook.request.classified", 12)
    assert split("casebook.request.classified") == ("casebook.request.classified", None)
    assert split("a.v²") == ("a.v²", None)
    assert base("casebook.request.classified.v12") == "casebook.request.classified"


def rename(data: Data) -> dict[str, Any]:
    return {"minutes": data["mins"]}


def convert(data: Data) -> dict[str, Any]:
    return {"seconds": data["minutes"] * 60}


STEPS: Steps = {("x.measured", 1): (2, rename), ("x.measured", 2): (3, convert)}


def test_upcasts_are_chained() -> None:
    steps = path("x.measured", 1, 3, STEPS)
    assert steps is not None
    stored = {"mins": 2}
    data: Data = stored
    for step in steps:
        data = step(data)
    assert data == {"seconds": 120}
    assert stored == {"mins": 2}


def test_there_is_no_way_that_nobody_wrote() -> None:
    assert path("x.measured", 3, 3, STEPS) == ()
    assert path("x.measured", 0, 3, STEPS) is None
    assert path("x.measured", 4, 3, STEPS) is None
    assert path("y.measured", 1, 3, STEPS) is None
