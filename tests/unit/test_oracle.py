"""The oracle against figures that were published before it was written, and against the rules."""

import ast
import gzip
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support import audit_log, oracle
from tests.support.audit_log import SAMPLE, Request, Row, read_requests, real_log
from tests.support.oracle import (
    By,
    differences,
    group_changes,
    handling_unpaused,
    kpi_table,
    reopenings,
    resolution_stop,
    response_stop,
    source_result,
)

# Hours to the printed digits; shares as numerator and denominator; counts as they are.
PRINTED: dict[str, dict[str, Any]] = {
    "dev": {
        "requests_opened": 17_442,
        "requests_resolved": 17_439,
        "requests_closed": 17_442,
        "handling_hours_mean": 181.793,
        "handling_hours_median": 23.317,
        "handling_hours_p90": 379.917,
        "handling_unpaused_hours_mean": 109.100,
        "handling_unpaused_hours_median": 7.167,
        "handling_unpaused_hours_p90": 254.550,
        "handled_within_24h_share": (8_823, 17_439),
        "handled_within_48h_share": (10_186, 17_439),
        "imported_sla_met_share": (10_068, 17_442),
        "reopen_rate": (202, 17_442),
        "reopenings_total": 243,
        "group_changes_total": 17_766,
        "never_reassigned_share": (9_015, 17_442),
        "resolution_target_met_share": (10_191, 17_439),
        "response_target_met_share": (15_460, 17_440),
    },
    "sample": {
        "requests_opened": 900,
        "requests_resolved": 900,
        "requests_closed": 900,
        "handling_hours_mean": 305.66,
        "handling_hours_median": 53.45,
        "handling_hours_p90": 698.02,
        "handling_unpaused_hours_mean": 151.08,
        "handling_unpaused_hours_median": 29.52,
        "handling_unpaused_hours_p90": 390.08,
        "handled_within_24h_share": (266, 900),
        "handled_within_48h_share": (393, 900),
        "imported_sla_met_share": (497, 900),
        "reopen_rate": (10, 900),
        "reopenings_total": 11,
        "group_changes_total": 890,
        "never_reassigned_share": (505, 900),
        "resolution_target_met_share": (370, 900),
        "response_target_met_share": (668, 900),
    },
}
PRINTED_ROWS: dict[str, dict[str, Any]] = {
    "dev": {
        "opened": {"2016-02": 207, "2016-03": 8_995, "2016-04": 7_934, "2016-05": 306},
        "resolved by Group 70, nobody": (5_849, 2_086),
        "hours of Group 70": 43.3,
        "hours": [314.54, 179.66, 175.13, 343.33],
        "closed in another month than the last row": 13,
    },
    "sample": {
        "opened": {"2016-02": 207, "2016-03": 693},
        "resolved by Group 70, nobody": (175, 18),
        "hours of Group 70": 98.28,
        "hours": [470.41, 104.84, 261.14, 745.73],
        "closed in another month than the last row": 2,
    },
}
DEV_REQUESTS = 17_442  # the size by which the development file is known


@cache
def requests_of(path: Path) -> list[Request]:
    return read_requests(path)


def known_logs() -> dict[str, Path]:
    """The logs at hand whose figures are printed above."""
    known = {"sample": SAMPLE}
    if real_log() != SAMPLE and len(requests_of(real_log())) == DEV_REQUESTS:
        known["dev"] = real_log()
    return known


def by_dims(table: dict[str, Any], name: str) -> dict[str | None, dict[str, Any]]:
    """Rows of one indicator by the value of the dimension asked for; totals left out."""
    return {
        value: row
        for row in table["kpis"]
        for key, value in row["dims"].items()
        if row["id"] == name and key != "origin"
    }


# --- the published figures --------------------------------------------------------------------


@pytest.mark.parametrize("log", known_logs())
def test_the_totals_are_the_printed_ones(log: str) -> None:
    table = kpi_table(requests_of(known_logs()[log]))
    assert {row["id"] for row in table["kpis"]} == PRINTED[log].keys()
    for row in table["kpis"]:
        match PRINTED[log][row["id"]], row["unit"]:
            case (met, among), "share":
                assert (row["n"], row["value"]) == (among, met / among)
            case count, "count":
                assert (row["n"], row["value"]) == (count, count)
            case hours, _:
                digits = len(str(hours).split(".")[1])
                assert row["value"] == pytest.approx(hours, abs=0.6 * 10**-digits), row["id"]


@pytest.mark.parametrize("log", known_logs())
def test_the_sample_is_what_was_opened_first(log: str) -> None:
    first = sorted(requests_of(known_logs()[log]), key=lambda request: request.submitted)[:900]
    assert set(requests_of(SAMPLE)) == set(first)


def test_the_sample_is_whole() -> None:
    requests = requests_of(SAMPLE)
    assert (len(requests), sum(len(request.rows) for request in requests)) == (900, 6_097)
    assert SAMPLE.read_bytes()[4:8] == bytes(4), "the archive holds no time"
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as lines:
        numbers = [line.split(",", 1)[0] for line in lines][1:]
    assert numbers == sorted(numbers), "file order is kept"


@pytest.mark.parametrize("log", known_logs())
def test_the_rows_are_the_printed_ones(log: str) -> None:
    requests, printed = requests_of(known_logs()[log]), PRINTED_ROWS[log]
    opened = by_dims(kpi_table(requests, by="month"), "requests_opened")
    assert {month: row["n"] for month, row in opened.items() if row["n"]} == printed["opened"]
    teams = by_dims(kpi_table(requests, by="team"), "handling_hours_mean")
    assert (teams["Group 70"]["n"], teams[None]["n"]) == printed["resolved by Group 70, nobody"]
    assert teams["Group 70"]["value"] == pytest.approx(printed["hours of Group 70"], abs=0.05)
    hours = by_dims(kpi_table(requests, by="priority"), "handling_hours_mean")
    assert [round(hours[str(p)]["value"], 2) for p in (1, 2, 3, 4)] == printed["hours"]
    moved = [r for r in requests if r.last_closure and f"{r.last_closure:%Y%m}" != _last_month(r)]
    assert len(moved) == printed["closed in another month than the last row"]


def _last_month(request: Request) -> str:
    return f"{request.rows[-1].at:%Y%m}"


@pytest.mark.parametrize("by", ["priority", "month", "team"])
def test_the_rows_of_a_breakdown_add_up(by: By) -> None:
    table = kpi_table(requests_of(real_log()), by=by)
    totals = {row["id"]: row for row in table["kpis"] if by not in row["dims"]}
    for name, total in totals.items():
        rows = [row for row in table["kpis"] if row["id"] == name and by in row["dims"]]
        assert sum(row["n"] for row in rows) == total["n"]
        if total["unit"] != "hours":
            weight = 1 if total["unit"] == "count" else total["n"]
            parts = [
                (row["value"] or 0) * (1 if total["unit"] == "count" else row["n"]) for row in rows
            ]
            assert sum(parts) == pytest.approx(total["value"] * weight)


def test_every_value_has_a_row_in_every_indicator() -> None:
    table = kpi_table(requests_of(SAMPLE), by="team")
    names = {row["id"] for row in table["kpis"]}
    per_indicator = {name: by_dims(table, name).keys() for name in names}
    teams = per_indicator["requests_opened"]
    assert None in teams
    assert all(found == teams for found in per_indicator.values())


def test_without_live_requests_the_live_targets_are_empty() -> None:
    table = kpi_table(requests_of(SAMPLE), origins=("observed", "live"))
    live = [row for row in table["kpis"] if row["dims"].get("origin") == "live"]
    assert [(row["n"], row["value"]) for row in live] == [(0, None), (0, None)]


# --- the rules, on requests made for them -----------------------------------------------------

START = datetime(2016, 3, 1, 8, 0, tzinfo=UTC)


def request_of(*rows: tuple[float, str] | tuple[float, str, dict[str, Any]]) -> Request:
    """A request submitted at START, with rows at hours after it."""
    plain = Row(START, "New", priority="3", team="A", agent=None, reopen_count=0, made_sla=True)
    made = [
        replace(plain, at=START + timedelta(hours=row[0]), state=row[1], **(row[2:] or ({},))[0])
        for row in rows
    ]
    return Request("INC1", START, tuple(made))


def resolution(*rows: Any) -> tuple[float, bool] | None:
    stop = resolution_stop(request_of(*rows))
    return stop and ((stop.at - START) / timedelta(hours=1), stop.met)


def response(*rows: Any) -> tuple[float, bool] | None:
    stop = response_stop(request_of(*rows))
    return stop and ((stop.at - START) / timedelta(hours=1), stop.met)


def test_waits_count_only_between_submission_and_the_last_resolution() -> None:
    request = request_of(
        (-1, "Awaiting Vendor"), (2, "Active"), (3, "Resolved"), (4, "Awaiting User Info")
    )
    assert [hours for _, hours in handling_unpaused(request)] == [timedelta(hours=1)]


def test_an_amended_resolution_ends_the_handling() -> None:
    request = request_of((1, "Resolved"), (5, "Resolved", {"team": "B"}), (6, "Closed"))
    assert [hours for _, hours in handling_unpaused(request)] == [timedelta(hours=5)]
    assert request.team == "B"


def test_a_group_that_goes_away_or_comes_is_a_change_and_the_first_is_not() -> None:
    request = request_of((0, "New"), (1, "New", {"team": None}), (2, "Active"))
    assert len(group_changes(request)) == 2


def test_a_resolution_without_a_team_has_none_although_one_follows() -> None:
    request = request_of((1, "Resolved", {"team": None}), (2, "Closed"))
    assert request.team is None


def test_the_source_has_given_no_result_while_open_and_unbroken() -> None:
    assert source_result(request_of((1, "Resolved"))) is None
    assert source_result(request_of((1, "Resolved", {"made_sla": False}))) is False
    assert source_result(request_of((1, "Closed"))) is True


def test_the_target_is_met_up_to_the_minute() -> None:
    assert resolution((0, "New"), (24, "Resolved")) == (24, True)
    assert resolution((0, "New"), (24.1, "Resolved")) == (24.1, False)


def test_only_waiting_for_the_customer_pauses() -> None:
    assert resolution((0, "Awaiting User Info"), (9, "Active"), (30, "Resolved")) == (30, True)
    assert resolution((0, "Awaiting Vendor"), (9, "Active"), (30, "Resolved")) == (30, False)


def test_an_amendment_does_not_move_the_stop() -> None:
    assert resolution((0, "New"), (20, "Resolved"), (40, "Resolved")) == (20, True)


def test_a_reopening_resumes_the_clock_where_it_stood() -> None:
    again = {"reopen_count": 1}
    rows = ((0, "New"), (20, "Resolved"), (90, "Active", again))
    assert resolution(*rows, (93, "Resolved", again)) == (93, True)
    assert resolution(*rows, (95, "Resolved", again)) == (95, False)
    assert reopenings(request_of(*rows)) == [START + timedelta(hours=90)]


def test_a_breach_stays_when_the_priority_falls() -> None:
    high = {"priority": "1"}
    assert resolution((0, "New", high), (6, "Active"), (7, "Resolved")) == (7, False)
    assert resolution((0, "New", high), (3, "Active"), (7, "Resolved")) == (7, True)


def test_a_priority_that_rises_past_its_target_is_a_breach_at_once() -> None:
    rising = ((0, "New"), (6, "Active", {"priority": "1"}), (6, "Active"), (7, "Resolved"))
    assert resolution(*rising) == (7, False)


def test_a_resting_clock_is_not_breached_by_a_priority_that_comes_and_goes() -> None:
    high = {"priority": "1"}
    waiting = ((0, "New"), (6, "Awaiting User Info"), (7, "Awaiting User Info", high))
    assert resolution(*waiting, (8, "Active"), (9, "Resolved")) == (9, True)
    assert resolution(*waiting, (8, "Active", high), (9, "Resolved")) == (9, False)


def test_a_request_without_a_resolution_has_no_stop() -> None:
    assert resolution((0, "New"), (1, "Closed")) is None


@pytest.mark.parametrize(
    "row", [(1, "New", {"agent": "R"}), (1, "Active"), (1, "Resolved")], ids=lambda row: row[1]
)
def test_the_response_ends_at_the_first_sign_of_an_agent(row: Any) -> None:
    assert response((0, "New"), row, (9, "Active", {"agent": "Q"})) == (1, True)
    assert response((0, "New"), (3, "New"), (4, *row[1:])) == (4, False)


def test_the_response_rests_while_the_customer_is_asked() -> None:
    assert response((0, "Awaiting User Info"), (5, "Resolved")) == (5, True)
    assert response((0, "Awaiting Vendor"), (5, "Resolved")) == (5, False)


def test_the_oracle_stands_on_the_standard_library_alone() -> None:
    for module in (audit_log, oracle):
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        names = {
            name.split(".")[0]
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert names <= {*sys.stdlib_module_names, "tests"}


# --- comparing --------------------------------------------------------------------------------


def test_a_table_equals_itself_in_any_order() -> None:
    table = kpi_table(requests_of(SAMPLE), by="priority")
    assert differences(table, {"kpis": table["kpis"][::-1]}) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("requests_opened", {"value": 901}),
        ("handling_hours_mean", {"value": 305.68}),
        ("handling_hours_p90", {"value": 710.0}),
        ("reopen_rate", {"value": 0.0112}),
        ("reopen_rate", {"n": 899}),
        ("reopen_rate", {"value": None}),
        ("reopen_rate", {"unit": "percent"}),
        ("reopen_rate", {"definition_version": 2}),
        ("reopen_rate", {"dims": {"origin": "live"}}),
    ],
)
def test_a_difference_is_named(name: str, change: dict[str, Any]) -> None:
    table = kpi_table(requests_of(SAMPLE))
    other = [row | change if row["id"] == name else row for row in table["kpis"]]
    found = differences(table, {"kpis": other})
    assert found
    assert all(name in line for line in found)


def test_what_is_near_enough_is_no_difference() -> None:
    table = kpi_table(requests_of(SAMPLE))
    near = {"handling_hours_mean": 0.005, "handling_hours_p90": 5.0}
    other = [row | {"value": row["value"] + near.get(row["id"], 0)} for row in table["kpis"]]
    assert differences(table, {"kpis": other}) == []


def test_a_moment_cuts_off_what_had_not_happened() -> None:
    requests = read_requests(SAMPLE)
    moment = datetime(2016, 3, 4, 12, tzinfo=UTC)
    cut = audit_log.as_of(requests, moment)
    assert (len(cut), sum(not request.complete for request in cut)) == (900, 898)
    assert all(row.at <= moment for request in cut for row in request.rows)
    assert all(source_result(request) is None for request in cut if not request.complete)
    assert audit_log.as_of(requests, datetime(2018, 1, 1, tzinfo=UTC)) == requests


def test_a_moment_between_times_that_go_back_is_refused() -> None:
    [request] = read_requests(SAMPLE, limit=1)
    first, last = request.rows[0], request.rows[-1]
    turned = replace(request, rows=(last, replace(first, at=first.at + timedelta(minutes=1))))
    with pytest.raises(ValueError, match="no beginning"):
        audit_log.as_of([turned], first.at + timedelta(minutes=2))
