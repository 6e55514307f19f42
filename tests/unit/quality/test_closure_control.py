from datetime import timedelta
from typing import Any
from uuid import uuid5

import pytest
from hypothesis import given as property_of
from hypothesis import strategies as st

from casebook.events.definitions import CLOSURE_CONTROL
from casebook.events.event import Event
from casebook.events.quality import NonconformityRaised
from casebook.events.request import (
    RequestClosed,
    RequestClosureAnnounced,
    RequestReopened,
    RequestResolutionConfirmed,
    RequestResolutionProposed,
)
from casebook.quality.domain.control import finding, nonconformity_id
from casebook.quality.domain.nonconformity import FAMILY, guard, raise_for_closing
from casebook.quality.projections.closure_control import ClosureControl
from tests.unit.quality.given import CLOSING, NOON, REQUEST_ID, At, fact, given, observed, refusal

PROPOSED = RequestResolutionProposed(resolved_at=NOON)
CONFIRMED = RequestResolutionConfirmed()
ANNOUNCED = RequestClosureAnnounced(closes_at=NOON + timedelta(days=1))
REOPENED = RequestReopened()
DIRECT = RequestClosed(basis="direct")
RAISED = NonconformityRaised(
    control=CLOSURE_CONTROL.reference, request_id=REQUEST_ID, grade="major", evidence=(CLOSING,)
)


def row_of(*items: Event | At) -> dict[str, Any]:
    row = None
    control = ClosureControl()
    for index, item in enumerate(items):
        each = fact(item, index)
        if control.key(each) is not None:
            row = control.fold(row, each)
    assert row is not None
    assert set(row) == {column.name for column in control.table.columns}
    return row


def kinds(row: dict[str, Any]) -> list[str]:
    return [found["kind"] for found in row["findings"]]


# --- the rule -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("basis", "confirmed", "notice_hours", "found"),
    [
        ("confirmed", True, None, None),
        ("announced", False, 0, None),
        ("announced", False, -1, None),
        ("direct", True, None, None),
        ("direct", False, None, "not-agreed"),
        ("direct", False, 1, "not-agreed"),
        ("observed", False, None, "not-agreed"),
        ("something-new", False, None, "not-agreed"),
        ("confirmed", False, None, "claim-not-backed"),
        ("announced", False, None, "claim-not-backed"),
        ("announced", False, 1, "claim-not-backed"),
    ],
)
def test_what_the_log_holds_decides_not_what_the_closing_says(
    basis: str, confirmed: bool, notice_hours: int | None, found: str | None
) -> None:
    closes_at = None if notice_hours is None else NOON + timedelta(hours=notice_hours)
    assert finding(basis=basis, confirmed=confirmed, closes_at=closes_at, closed_at=NOON) == found


# --- over the log -------------------------------------------------------------------------------


def test_a_confirmed_closing_is_agreed() -> None:
    row = row_of(PROPOSED, CONFIRMED, RequestClosed(basis="confirmed"))
    assert (row["closings_live"], row["findings_live"], row["findings"]) == (1, 0, [])
    assert not row["pending"]


def test_an_announced_closing_is_agreed_once_its_moment_has_come() -> None:
    announced = RequestClosed(basis="announced")
    assert kinds(row_of(PROPOSED, ANNOUNCED, At(announced, NOON + timedelta(days=1)))) == []
    assert kinds(row_of(PROPOSED, ANNOUNCED, announced)) == ["claim-not-backed"]


def test_a_direct_closing_is_found_with_its_evidence() -> None:
    row = row_of(PROPOSED, At(DIRECT, id=CLOSING))
    [found] = row["findings"]
    assert found["kind"] == "not-agreed"
    assert found["closing"] == str(CLOSING)
    assert found["resolution"] == str(uuid5(REQUEST_ID, "0"))
    assert found["nonconformity"] == str(nonconformity_id(CLOSING))
    assert row["pending"]
    assert row["found_at"] == NOON


@pytest.mark.parametrize("between", [PROPOSED, REOPENED])
def test_an_agreement_about_an_earlier_resolution_does_not_count(between: Event) -> None:
    row = row_of(PROPOSED, CONFIRMED, ANNOUNCED, between, At(DIRECT, NOON + timedelta(days=2)))
    assert kinds(row) == ["not-agreed"]


def test_observed_findings_are_counted_and_never_pending() -> None:
    row = row_of(observed(RequestClosed(basis="observed")))
    assert (row["closings_observed"], row["findings_observed"]) == (1, 1)
    assert (row["closings_live"], row["findings_live"]) == (0, 0)
    assert not row["pending"]
    assert row["findings"][0]["nonconformity"] is None


def test_history_reopened_here_is_counted_apart() -> None:
    row = row_of(observed(RequestClosed(basis="observed")), REOPENED, PROPOSED, DIRECT)
    assert (row["findings_observed"], row["findings_live"], row["pending"]) == (1, 1, True)


def test_the_nonconformity_settles_its_finding_alone() -> None:
    later = uuid5(CLOSING, "later")
    raised = At(RAISED, stream=f"nonconformity/{nonconformity_id(CLOSING)}")
    both = row_of(At(DIRECT, id=CLOSING), REOPENED, At(DIRECT, id=later), raised)
    assert [found["raised"] for found in both["findings"]] == [True, False]
    assert both["pending"]
    assert not row_of(At(DIRECT, id=CLOSING), raised)["pending"]


def test_a_nonconformity_of_another_kind_settles_nothing() -> None:
    assert row_of(At(DIRECT, id=CLOSING), At(RAISED, stream=f"nonconformity/{CLOSING}"))["pending"]


def test_a_nonconformity_that_is_no_part_of_the_case_has_no_row() -> None:
    foreign = RAISED.model_copy(update={"request_id": CLOSING})
    assert ClosureControl().key(fact(foreign)) is None


_STEPS = st.sampled_from([PROPOSED, CONFIRMED, ANNOUNCED, REOPENED, DIRECT])


@property_of(st.lists(st.tuples(_STEPS, st.sampled_from(["live", "observed"])), max_size=12))
def test_every_closing_is_judged_and_pending_means_live(steps: list[Any]) -> None:
    items = [At(event, NOON, origin) for event, origin in steps]
    row = row_of(RequestReopened(), *items)
    closings = [item for item in items if item.event is DIRECT]
    assert row["closings_observed"] + row["closings_live"] == len(closings)
    assert row["findings_observed"] + row["findings_live"] == len(row["findings"])
    assert row["pending"] == (row["findings_live"] > 0)


# --- the nonconformity --------------------------------------------------------------------------


def test_a_nonconformity_names_control_request_and_evidence() -> None:
    assert raise_for_closing(FAMILY.initial, request_id=REQUEST_ID, evidence=[CLOSING]) == [RAISED]


def test_a_nonconformity_is_raised_once() -> None:
    state = given(FAMILY, RAISED)
    assert raise_for_closing(state, request_id=REQUEST_ID, evidence=[CLOSING]) == []
    assert (state.control, state.request_id, state.grade) == ("closure-agreed", REQUEST_ID, "major")


def test_a_published_nonconformity_is_taken_once() -> None:
    guard(FAMILY.initial, RAISED)
    code = refusal(lambda: guard(given(FAMILY, RAISED), RAISED))
    assert code == "nonconformity-already-raised"
