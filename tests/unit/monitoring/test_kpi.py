"""The KPI definitions: data that the query and the documentation can rely on."""

from typing import get_args

import pytest
from sqlalchemy import BigInteger, Boolean, DateTime, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB

from casebook.events.definitions import BEGINNING
from casebook.events.kpi_definitions import (
    KPIS,
    Count,
    KpiDefinition,
    Mean,
    NearestRank,
    Share,
    Total,
    Unit,
)
from casebook.monitoring.domain.kpi import KpiValue, dimensions, value_of
from casebook.monitoring.projections.kpi_facts import TABLE

BY_ID = {kpi.id: kpi for kpi in KPIS}
HOUR = 3_600_000_000


def test_version_1_has_these_indicators() -> None:
    assert {(kpi.id, kpi.body.unit) for kpi in KPIS} == {
        ("requests_opened", "count"),
        ("requests_resolved", "count"),
        ("requests_closed", "count"),
        ("handling_hours_mean", "hours"),
        ("handling_hours_median", "hours"),
        ("handling_hours_p90", "hours"),
        ("handling_unpaused_hours_mean", "hours"),
        ("handling_unpaused_hours_median", "hours"),
        ("handling_unpaused_hours_p90", "hours"),
        ("handled_within_24h_share", "share"),
        ("handled_within_48h_share", "share"),
        ("imported_sla_met_share", "share"),
        ("reopen_rate", "share"),
        ("reopenings_total", "count"),
        ("group_changes_total", "count"),
        ("never_reassigned_share", "share"),
        ("resolution_target_met_share", "share"),
        ("response_target_met_share", "share"),
    }
    assert {(kpi.version, kpi.effective_from) for kpi in KPIS} == {(1, BEGINNING)}
    assert {kpi.id for kpi in KPIS if kpi.body.by_origin} == {
        "resolution_target_met_share",
        "response_target_met_share",
    }


@pytest.mark.parametrize("kpi", KPIS, ids=lambda kpi: kpi.id)
def test_every_definition_fits_the_table(kpi: KpiDefinition) -> None:
    measured = TABLE.c[kpi.body.measure.column].type
    match kpi.body.measure:
        case Count():
            assert isinstance(measured, DateTime)
        case Total(months=months):
            assert isinstance(measured, Integer)
            assert (kpi.body.month_of, type(TABLE.c[months].type)) == (months, JSONB)
        case Mean() | NearestRank():
            assert isinstance(measured, BigInteger)
            assert kpi.body.unit == "hours"
        case Share(of=of):
            assert of in TABLE.c
            assert isinstance(measured, Integer | Text | Boolean)
            assert kpi.body.unit == "share"
    assert isinstance(TABLE.c[kpi.body.month_of].type, JSONB | Text)
    assert kpi.body.unit in get_args(Unit)
    assert kpi.body.description.endswith(".")


@pytest.mark.parametrize(
    ("name", "raw", "n", "value"),
    [
        ("requests_opened", 7, 7, 7),
        ("requests_opened", None, 0, 0),
        ("reopenings_total", 3, 3, 3),
        ("handling_hours_mean", 3 * HOUR, 2, 1.5),
        ("handling_hours_mean", None, 0, None),
        ("handling_hours_median", 2 * HOUR, 5, 2.0),
        ("handling_hours_median", None, 0, None),
        ("reopen_rate", 1, 4, 0.25),
        ("reopen_rate", 0, 0, None),
    ],
)
def test_a_value_is_the_raw_figure_in_its_unit(
    name: str, raw: int | None, n: int, value: float | None
) -> None:
    assert value_of(BY_ID[name], raw, n) == value


def test_rows_stand_by_id_then_dimension_with_the_unknown_last() -> None:
    def row(kpi: str, **dims: str | None) -> KpiValue:
        return KpiValue(BY_ID[kpi], 0, 0, dimensions(BY_ID[kpi], "live", dims))

    ordered = [
        row("reopen_rate"),
        row("reopen_rate", team="Group 1"),
        row("reopen_rate", team="Group 2"),
        row("reopen_rate", team=None),
        row("response_target_met_share"),
        row("response_target_met_share", team="Group 1"),
    ]
    mixed = ordered[::-1]
    assert sorted(mixed, key=lambda each: each.place) == ordered
    assert ordered[-1].dims == (("origin", "live"), ("team", "Group 1"))
