"""The row of the KPI table: what each fact of a request's history does to it."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.events.event import Event
from casebook.events.kpi_definitions import MICROSECONDS_PER_HOUR
from casebook.events.service_level import ServiceLevelSourceResultRecorded
from casebook.monitoring.projections.kpi_facts import KpiFacts, row_as_of
from tests.unit.monitoring.given import (
    ACCEPTED,
    AMENDED,
    ANSWERED,
    ASSIGNED,
    CANCELLED,
    CLOSED,
    CUSTOMER,
    QUEUED,
    REOPENED,
    REQUEST_ID,
    RESOLVED,
    STARTED,
    SUBMITTED,
    SUPPLIER,
    Clocks,
    another,
    at,
    fact,
    first,
    row_of,
    rows_of,
    team,
    then,
)

Origin = Literal["live", "observed"]
BEGUN: tuple[tuple[Event, float], ...] = ((SUBMITTED, 0), (first(3), 0))


def hours(row: Any, name: str) -> float:
    return row[name] / MICROSECONDS_PER_HOUR


# --- what the facts say directly --------------------------------------------------------------


def test_a_submission_makes_a_row() -> None:
    row = row_of((SUBMITTED, 0))
    assert row.keys() == {column.name for column in KpiFacts.table.columns}
    assert (row["request_id"], row["number"]) == (REQUEST_ID, "REQ0000001")
    assert (row["opened_at"], row["opened_month"], row["origin"]) == (at(0), "2026-03", "observed")


def test_the_last_priority_counts_even_if_it_is_unknown() -> None:
    assert row_of(*BEGUN, (then(2), 1))["priority"] == 2
    assert row_of(*BEGUN, (then(None), 1))["priority"] is None


def test_the_last_resolution_counts_an_amended_one_too() -> None:
    row = row_of(*BEGUN, (RESOLVED, 10), (AMENDED, 20))
    assert (row["resolved_at"], hours(row, "handling_microseconds")) == (at(20), 20)


def test_the_last_closure_counts() -> None:
    row = row_of(*BEGUN, (RESOLVED, 1), (CLOSED, 2), (REOPENED, 3), (RESOLVED, 4), (CLOSED, 5))
    assert row["closed_at"] == at(5)


def test_the_result_of_the_source_is_kept_beside() -> None:
    missed = ServiceLevelSourceResultRecorded(result="missed")
    assert row_of(*BEGUN, (missed, 1))["source_result"] == "missed"
    assert row_of(*BEGUN)["source_result"] is None


def test_months_are_those_of_utc() -> None:
    border = datetime(2026, 4, 1, 0, 30, tzinfo=UTC).astimezone(tz=None)
    just_before = border.replace(tzinfo=border.tzinfo) - timedelta(hours=1)
    row = rows_of((SUBMITTED, just_before), (RESOLVED, border), (CLOSED, border))
    assert [row[f"{name}_month"] for name in ("opened", "resolved", "closed")] == [
        "2026-03",
        "2026-04",
        "2026-04",
    ]


def test_a_live_fact_makes_the_request_live_for_ever() -> None:
    row = row_of(*BEGUN, (RESOLVED, 1), (CLOSED, 2))
    row = KpiFacts().fold(row, fact(REOPENED, at(1000), origin="live"))
    assert row is not None
    assert row["origin"] == "live"
    row = KpiFacts().fold(row, fact(CLOSED, at(1001), origin="observed"))
    assert row is not None
    assert row["origin"] == "live"


# --- teams ------------------------------------------------------------------------------------


def test_the_first_team_is_no_change_and_every_other_is() -> None:
    row = row_of(*BEGUN, (team("A", initial=True), 0), (another("B"), 1), (QUEUED, 2))
    assert (row["group_changes"], row["team_now"]) == (2, None)
    assert row_of(*BEGUN, (team("A"), 1))["group_changes"] == 1


def test_changes_and_reopenings_count_in_their_own_months() -> None:
    march, april = at(0), at(30 * 24)
    row = rows_of(
        (SUBMITTED, march),
        (team("A"), march),
        (another("B"), march),
        (RESOLVED, march),
        (REOPENED, april),
        (another("C"), april),
        (RESOLVED, april),
        (REOPENED, april),
    )
    assert row["group_change_months"] == {"2026-03": 2, "2026-04": 1}
    assert (row["reopenings"], row["reopening_months"]) == (2, {"2026-04": 2})


def test_the_team_is_that_of_the_last_resolution() -> None:
    row = row_of(
        (SUBMITTED, 0), (team("A", initial=True), 0), (RESOLVED, 1), (another("B"), 2), (CLOSED, 3)
    )
    assert (row["team"], row["team_now"], row["resolution_team"]) == ("A", "B", "A")


def test_a_resolution_without_a_team_has_none_although_one_follows() -> None:
    assert row_of((SUBMITTED, 0), (RESOLVED, 1), (team("A"), 2))["team"] is None


def test_what_is_not_resolved_belongs_to_its_team_now() -> None:
    assert row_of((SUBMITTED, 0), (team("A"), 1), (another("B"), 2))["team"] == "B"


# --- waits ------------------------------------------------------------------------------------


def test_every_wait_is_left_out_of_the_unpaused_time() -> None:
    row = row_of(*BEGUN, (CUSTOMER, 1), (ANSWERED, 3), (SUPPLIER, 4), (ANSWERED, 9), (RESOLVED, 10))
    assert hours(row, "handling_microseconds") == 10
    assert hours(row, "handling_unpaused_microseconds") == 3


def test_waits_are_clipped_to_submission_and_last_resolution() -> None:
    row = row_of(
        (SUBMITTED, 0), (SUPPLIER, -2), (ANSWERED, 1), (RESOLVED, 5), (REOPENED, 6), (CUSTOMER, 7)
    )
    assert hours(row, "handling_unpaused_microseconds") == 4
    later = KpiFacts().fold(row, fact(ANSWERED, at(8), origin="observed"))
    later = KpiFacts().fold(later, fact(RESOLVED, at(10), origin="observed"))
    assert later is not None
    assert hours(later, "handling_unpaused_microseconds") == 10 - 1 - 1


def test_a_wait_after_an_answer_does_not_count_until_it_is_amended() -> None:
    row = row_of(*BEGUN, (RESOLVED, 5), (CUSTOMER, 6), (ANSWERED, 8), (AMENDED, 10))
    assert hours(row, "handling_unpaused_microseconds") == 8


def test_a_resolution_ends_the_wait_that_it_meets() -> None:
    row = row_of(*BEGUN, (CUSTOMER, 1), (RESOLVED, 2), (REOPENED, 3), (RESOLVED, 5))
    assert hours(row, "handling_unpaused_microseconds") == 4


def test_times_that_go_back_are_kept() -> None:
    row = row_of((SUBMITTED, 0), (RESOLVED, -1))
    assert hours(row, "handling_microseconds") == -1
    assert hours(row, "handling_unpaused_microseconds") == -1


# --- Casebook's own targets, from the facts' own times ----------------------------------------


def clock(row: Any, name: str) -> tuple[Any, ...]:
    return tuple(row[f"{name}_{part}"] for part in ("stopped_at", "priority", "month", "met"))


@pytest.mark.parametrize("sign", [ASSIGNED, STARTED, RESOLVED, ACCEPTED])
def test_observed_history_is_answered_at_the_first_sign_of_an_agent(sign: Event) -> None:
    row = row_of(*BEGUN, (sign, 1), (STARTED, 5))
    assert clock(row, "response") == (at(1), 3, "2026-03", True)
    assert row["response_elapsed_microseconds"] == MICROSECONDS_PER_HOUR
    assert row["response_target_seconds"] == 7200


@pytest.mark.parametrize("sign", [ASSIGNED, STARTED])
def test_a_live_request_is_answered_only_when_an_agent_accepts(sign: Event) -> None:
    row = row_of(*BEGUN, (sign, 1), origin="live")
    assert clock(row, "response") == (None, None, None, None)
    assert clock(row_of(*BEGUN, (sign, 1), (ACCEPTED, 3), origin="live"), "response") == (
        at(3),
        3,
        "2026-03",
        False,
    )


@pytest.mark.parametrize(("late", "met"), [(0.0, True), (0.01, False)])
def test_the_target_is_met_up_to_its_last_moment(late: float, met: bool) -> None:
    assert row_of(*BEGUN, (RESOLVED, 24 + late))["resolution_met"] is met


def test_only_waiting_for_the_customer_pauses() -> None:
    waits: list[tuple[Event, bool]] = [(CUSTOMER, True), (SUPPLIER, False)]
    for wait, met in waits:
        row = row_of(*BEGUN, (wait, 0), (ANSWERED, 10), (RESOLVED, 30))
        assert row["resolution_met"] is met


def test_the_last_stop_counts_and_the_time_between_does_not() -> None:
    row = row_of(*BEGUN, (RESOLVED, 20), (REOPENED, 90), (RESOLVED, 93))
    assert clock(row, "resolution") == (at(93), 3, "2026-03", True)
    row = row_of(*BEGUN, (RESOLVED, 20), (REOPENED, 90), (RESOLVED, 95))
    assert clock(row, "resolution") == (at(95), 3, "2026-03", False)


def test_an_amendment_does_not_move_the_stop() -> None:
    row = row_of(*BEGUN, (RESOLVED, 20), (AMENDED, 40))
    assert clock(row, "resolution") == (at(20), 3, "2026-03", True)


def test_a_breach_under_the_priority_then_valid_stays() -> None:
    row = row_of((SUBMITTED, 0), (first(1), 0), (then(4), 6), (RESOLVED, 7))
    assert (row["resolution_priority"], row["resolution_met"]) == (4, False)
    row = row_of((SUBMITTED, 0), (first(1), 0), (then(4), 3), (RESOLVED, 7))
    assert (row["resolution_priority"], row["resolution_met"]) == (4, True)


def test_a_cancelled_clock_has_no_outcome() -> None:
    row = row_of(*BEGUN, (ACCEPTED, 1), (CANCELLED, 50), origin="live")
    assert clock(row, "response") == (at(1), 3, "2026-03", True)
    assert clock(row, "resolution") == (None, None, None, None)


def test_a_request_without_a_priority_has_no_target_to_meet() -> None:
    row = row_of((SUBMITTED, 0), (RESOLVED, 1))
    assert clock(row, "resolution") == (None, None, None, None)
    row = row_of((SUBMITTED, 0), (RESOLVED, 5), (first(1), 6), origin="live")
    assert clock(row, "resolution") == (at(5), 1, "2026-03", False)


def test_live_facts_take_their_place_in_time() -> None:
    row = row_of(*BEGUN, (ACCEPTED, 3), (ACCEPTED, 1), origin="live")
    assert clock(row, "response") == (at(1), 3, "2026-03", True)
    row = row_of(*BEGUN, (RESOLVED, 7), (then(1), 6), origin="live")
    assert clock(row, "resolution") == (at(7), 1, "2026-03", False)


def test_observed_facts_stand_in_the_order_of_their_source() -> None:
    row = row_of(*BEGUN, (STARTED, 3), (STARTED, 1))
    assert clock(row, "response") == (at(3), 3, "2026-03", False)


# --- the table and the stream tell the same ---------------------------------------------------

LIVE: list[Event] = [
    ACCEPTED,
    CUSTOMER,
    ANSWERED,
    RESOLVED,
    REOPENED,
    CANCELLED,
    then(1),
    then(2),
    then(4),
]


@st.composite
def live_stories(draw: st.DrawFn) -> list[tuple[Event, float]]:
    events = draw(st.lists(st.sampled_from(LIVE), max_size=10))
    hours_of = draw(
        st.lists(st.integers(1, 400), min_size=len(events), max_size=len(events), unique=True)
    )
    return [*BEGUN, *zip(events, (hour / 4 for hour in sorted(hours_of)), strict=True)]


@given(live_stories())
def test_the_table_reads_the_clocks_as_the_stream_does(story: list[tuple[Event, float]]) -> None:
    clocks = Clocks()
    for event, hour in story:
        clocks.fire(hour - 0.01)
        clocks.tell(event, hour)
    row = row_of(*story, origin="live")
    for name in ("response", "resolution"):
        reading = clocks.state.clock(name).reading
        assert reading is not None
        stop = None if reading.status == "cancelled" else reading.last_stop
        assert row[f"{name}_stopped_at"] == (None if stop is None else stop.at)
        assert row[f"{name}_met"] == (None if stop is None else stop.met)
        recorded = clocks.state.clock(name).breach
        assert (recorded is None) == (reading.missed_at(at(story[-1][1])) is None)


@given(live_stories(), st.data())
def test_facts_that_are_told_again_decide_nothing_new(
    story: list[tuple[Event, float]], data: st.DataObject
) -> None:
    clocks = Clocks()
    for event, hour in story:
        clocks.tell(event, hour)
    before = clocks.state
    for event, hour in data.draw(st.permutations(story)):
        assert clocks.tell(event, hour) == []
    assert clocks.state == before


@given(live_stories())
def test_a_row_is_the_same_however_often_it_is_folded(story: list[tuple[Event, float]]) -> None:
    assert row_of(*story) == row_of(*story)


@given(live_stories(), st.sampled_from(["live", "observed"]), st.integers(0, 101))
def test_the_row_of_a_moment_is_that_of_what_had_happened_by_then(
    story: list[tuple[Event, float]], origin: Origin, hour: int
) -> None:
    whole = row_of(*story, origin=origin)
    happened = [each for each in story if each[1] <= hour]
    assert row_as_of(str(REQUEST_ID), whole["course"], at(hour)) == row_of(*happened, origin=origin)
    assert row_as_of(str(REQUEST_ID), whole["course"], at(-1)) is None


@given(live_stories())
def test_a_fold_never_changes_the_row_that_it_was_given(story: list[tuple[Event, float]]) -> None:
    row = None
    for event, hour in story:
        copy = None if row is None else {**row, "course": [list(e) for e in row["course"]]}
        after = KpiFacts().fold(row, fact(event, at(hour)))
        assert row == copy
        row = after
