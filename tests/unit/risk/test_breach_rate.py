from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given as property_of
from hypothesis import strategies as st

from casebook.events.event import Event
from casebook.events.risk import RiskCandidateRaised
from casebook.events.service_level import (
    ServiceLevelBreachWithdrawn,
    ServiceLevelClockCancelled,
    ServiceLevelClockResumed,
    ServiceLevelClockStarted,
    ServiceLevelClockStopped,
    ServiceLevelTargetBreached,
)
from casebook.events.values import DefinitionReference
from casebook.kit.read_models.projections import Projection
from casebook.quality.domain.wilson import interval
from casebook.risk.domain import breach_rate
from casebook.risk.domain.breach_rate import (
    Measurement,
    Rate,
    ResolutionClock,
    candidate_id,
    measure,
    window_start,
)
from casebook.risk.domain.register import raise_candidate, recover
from casebook.risk.domain.wilson import lower_bound_millionths
from casebook.risk.projections.resolution_breaches import ResolutionBreaches
from casebook.risk.projections.resolution_clocks import ResolutionClocks
from tests.unit.risk.given import CANDIDATE, CASE, NOON, RECOVERED, REGISTERED, At, fact, given

START = window_start(NOON)
DAY = timedelta(days=1)


def breach_id(index: int) -> UUID:
    return uuid5(CASE, f"breach-{index}")


# --- Wilson's lower bound -----------------------------------------------------------------------


# Newcombe 1998, Table I, method 3; the last two worked out by hand from the formula.
@pytest.mark.parametrize(
    ("successes", "n", "low"),
    [
        (81, 263, 0.2553),
        (15, 148, 0.0624),
        (0, 20, 0.0),
        (1, 29, 0.0061),
        (9, 10, 0.5958),
        (6, 20, 0.1455),
        (5, 20, 0.1119),
    ],
)
def test_the_reference_cases(successes: int, n: int, low: float) -> None:
    assert lower_bound_millionths(successes, n) == pytest.approx(low * 10**6, abs=50)


def test_nothing_measured_has_no_lower_bound() -> None:
    assert lower_bound_millionths(0, 0) == 0


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_an_error(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="between 0 and n"):
        lower_bound_millionths(successes, n)


@property_of(st.integers(1, 10**5).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_integers_agree_with_the_interval_of_quality_and_round_down(counts: Any) -> None:
    successes, n = counts
    exact = interval(successes, n)
    assert exact is not None
    assert -1 < exact.low * 10**6 - lower_bound_millionths(successes, n) <= 1.01


# --- the rule -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "breached", "alarming"),
    [
        (20, 5, True),
        (20, 4, False),
        (19, 19, False),
        (100, 16, True),
        (100, 15, False),
        (0, 0, False),
    ],
)
def test_a_service_is_a_candidate_when_it_surely_breaches_too_often(
    measured: int, breached: int, alarming: bool
) -> None:
    assert Rate(measured=measured, breached=breached).alarming is alarming


def test_a_small_number_keeps_a_candidate_open_and_never_makes_one() -> None:
    few = Rate(measured=19, breached=19)
    assert (few.alarming, few.tolerated) == (False, False)
    assert Rate(measured=0, breached=0).tolerated


def test_a_clock_counts_once_when_it_stopped_or_breached_in_the_window() -> None:
    clocks = [
        ResolutionClock(stopped_at=NOON),
        ResolutionClock(stopped_at=START + DAY, breached_at=START - DAY, breach=breach_id(1)),
        ResolutionClock(stopped_at=NOON + DAY, breached_at=NOON - DAY, breach=breach_id(2)),
        ResolutionClock(breached_at=NOON - 2 * DAY, breach=breach_id(3)),
        ResolutionClock(stopped_at=START),
        ResolutionClock(breached_at=NOON + DAY, breach=breach_id(4)),
        ResolutionClock(),
    ]
    found = measure(clocks, start=START, end=NOON)
    assert found.rate == Rate(measured=4, breached=3)
    assert found.evidence == (breach_id(1), breach_id(3), breach_id(2))


def test_the_window_begins_later_rather_than_leave_evidence_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(breach_rate, "EVIDENCE_MAX", 3)
    clocks = [
        ResolutionClock(breached_at=NOON - day * DAY, breach=breach_id(day)) for day in range(8)
    ] + [ResolutionClock(stopped_at=NOON - day * DAY) for day in range(8)]
    found = measure(clocks, start=START, end=NOON)
    assert found.evidence == tuple(map(breach_id, (2, 1, 0)))
    assert found.window_start == NOON - 3 * DAY
    assert found.rate == Rate(measured=6, breached=3)


@property_of(
    st.lists(
        st.tuples(st.none() | st.integers(-40, 5), st.none() | st.integers(-40, 5)), max_size=60
    )
)
def test_the_rate_can_be_recomputed_from_the_evidence(days: list[Any]) -> None:
    def moment(day: int | None) -> datetime | None:
        return None if day is None else NOON + day * DAY

    clocks = [
        ResolutionClock(
            moment(stopped), moment(breached), None if breached is None else breach_id(index)
        )
        for index, (stopped, breached) in enumerate(days)
    ]
    found = measure(clocks, start=START, end=NOON)
    assert found.rate.breached == len(set(found.evidence)) <= found.rate.measured
    again = lower_bound_millionths(len(found.evidence), found.rate.measured)
    assert again == found.rate.lower_bound_millionths


def test_a_candidate_has_its_id_from_service_and_generation() -> None:
    ids = {candidate_id(service, generation) for service in ("a", "b") for generation in range(3)}
    assert len(ids) == 6
    assert candidate_id("a", 0) in ids


# --- the candidate's facts ----------------------------------------------------------------------


def measurement() -> Measurement:
    clocks = [
        ResolutionClock(stopped_at=NOON, breached_at=NOON, breach=breach_id(index))
        for index in range(6)
    ] + [ResolutionClock(stopped_at=NOON)] * 14
    return measure(clocks, start=START, end=NOON)


def test_a_candidate_names_what_it_counted() -> None:
    [event] = raise_candidate(given(), service="mail", measurement=measurement())
    assert isinstance(event, RiskCandidateRaised)
    assert event.model_dump(exclude={"evidence"}) == CANDIDATE.model_dump(exclude={"evidence"})
    assert set(event.evidence) == set(CANDIDATE.evidence)


def test_a_candidate_is_raised_once() -> None:
    assert raise_candidate(given(CANDIDATE), service="mail", measurement=measurement()) == []


def test_a_candidate_recovers_with_the_rate() -> None:
    assert recover(given(CANDIDATE), rate=Rate(measured=40, breached=3)) == [RECOVERED]


def test_a_candidate_recovers_once_and_a_registered_risk_never() -> None:
    rate = Rate(measured=40, breached=3)
    assert recover(given(CANDIDATE, RECOVERED), rate=rate) == []
    assert recover(given(REGISTERED), rate=rate) == []


# --- the read models ----------------------------------------------------------------------------

STARTED = ServiceLevelClockStarted(
    clock="resolution",
    priority=3,
    target_seconds=86_400,
    due_at=NOON,
    policy=DefinitionReference(id="service-levels", version=1),
    service="mail",
)
BREACHED = ServiceLevelTargetBreached(
    clock="resolution",
    priority=3,
    target_seconds=86_400,
    due_at=NOON,
    fired_at=NOON + timedelta(seconds=1),
    service="mail",
)
BREACH = At(BREACHED, id=breach_id(1))
WITHDRAWN = ServiceLevelBreachWithdrawn(clock="resolution", breach=breach_id(1), service="mail")
STOPPED = ServiceLevelClockStopped(clock="resolution", elapsed_seconds=5, met=True, service="mail")
RESUMED = ServiceLevelClockResumed(clock="resolution", elapsed_seconds=5)
CANCELLED = ServiceLevelClockCancelled(clock="resolution")


def rows_of(projection: Projection, *items: Event | At) -> dict[Any, dict[str, Any] | None]:
    rows: dict[Any, dict[str, Any] | None] = {}
    for index, item in enumerate(items):
        each = fact(item, index)
        key = projection.key(each)
        if key is not None:
            rows[key] = projection.fold(rows.get(key), each)
    for row in rows.values():
        assert row is None or set(row) == {column.name for column in projection.table.columns}
    return rows


def clock_of(*items: Event | At) -> dict[str, Any]:
    row = rows_of(ResolutionClocks(), *items)[CASE]
    assert row is not None
    return row


def test_a_clock_is_kept_with_its_service_stop_and_breach() -> None:
    row = clock_of(STARTED, BREACH, At(STOPPED, NOON + DAY))
    assert (row["service"], row["stopped_at"]) == ("mail", NOON + DAY)
    assert (row["breach"], row["breached_at"]) == (breach_id(1), NOON)


def test_a_request_without_a_service_is_unspecified() -> None:
    assert clock_of(STARTED.model_copy(update={"service": None}))["service"] == "unspecified"


def test_a_withdrawn_breach_does_not_stand() -> None:
    row = clock_of(STARTED, BREACH, WITHDRAWN)
    assert (row["breach"], row["breached_at"], row["standing"]) == (None, None, [])


def test_the_earliest_breach_that_stands_counts() -> None:
    later = At(BREACHED.model_copy(update={"due_at": NOON + DAY}), NOON + DAY, id=breach_id(2))
    assert clock_of(STARTED, BREACH, later)["breach"] == breach_id(1)
    row = clock_of(STARTED, BREACH, later, WITHDRAWN)
    assert (row["breach"], row["breached_at"]) == (breach_id(2), NOON + DAY)


def test_a_reopened_clock_has_not_stopped_but_its_breach_stays() -> None:
    row = clock_of(STARTED, BREACH, STOPPED, RESUMED)
    assert (row["stopped_at"], row["breach"]) == (None, breach_id(1))


def test_a_stop_before_any_target_measures_nothing() -> None:
    assert clock_of(STOPPED.model_copy(update={"met": None}))["stopped_at"] is None


def test_a_cancelled_clock_is_marked() -> None:
    assert clock_of(STARTED, CANCELLED)["cancelled"]


def test_observed_history_and_response_clocks_have_no_row() -> None:
    for event in (STARTED, BREACHED, WITHDRAWN, STOPPED, RESUMED, CANCELLED):
        response = event.model_copy(update={"clock": "response"})
        for projection in (ResolutionClocks(), ResolutionBreaches()):
            assert rows_of(projection, At(event, origin="observed"), response) == {}


def test_breaches_are_found_by_their_event_with_their_withdrawal() -> None:
    row = rows_of(ResolutionBreaches(), BREACH, At(WITHDRAWN, NOON + DAY))[breach_id(1)]
    assert row is not None
    assert (row["request_id"], row["service"], row["breached_at"]) == (CASE, "mail", NOON)
    assert row["withdrawn_at"] == NOON + DAY


def test_withdrawing_an_unknown_breach_leaves_no_row() -> None:
    assert rows_of(ResolutionBreaches(), WITHDRAWN) == {breach_id(1): None}
