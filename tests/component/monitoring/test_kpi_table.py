"""The KPI table as the database computes it, against the same figures counted by hand."""

import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from typing import Any, Literal
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import ColumnElement, true

from casebook.events.event import Event
from casebook.events.service_level import ServiceLevelSourceResultRecorded
from casebook.kit.access.identity import Principal
from casebook.kit.decider import Fact
from casebook.kit.postgres.database import Connection, Database, fetch
from casebook.kit.read_models.projections import ProjectionTable
from casebook.kit.read_models.registry import activate, create_generation
from casebook.monitoring.api.kpis import ACCESS
from casebook.monitoring.domain.kpi import Dimension, KpiValue, Origin
from casebook.monitoring.policy import POLICY
from casebook.monitoring.projections.kpi_as_of import rows_as_of, table_as_of, under_way
from casebook.monitoring.projections.kpi_facts import KpiFacts
from casebook.monitoring.projections.kpi_table import KpiTable
from tests.support.postgres import fresh_database, postgres_for_tests
from tests.unit.monitoring.given import (
    ACCEPTED,
    ANSWERED,
    ASSIGNED,
    CANCELLED,
    CLOSED,
    CUSTOMER,
    QUEUED,
    REOPENED,
    RESOLVED,
    SUBMITTED,
    SUPPLIER,
    another,
    at,
    fact,
    first,
    rows_of,
    team,
    then,
)

Rows = Sequence[Mapping[str, Any]]
Figures = dict[tuple[str, tuple[tuple[str, str | None], ...]], tuple[float | None, int]]
HOUR = 3_600_000_000
TEAMS = ("网络", "mail", "Group 10", "Group 9")
LATER: list[Event] = [
    ACCEPTED, ASSIGNED, CUSTOMER, SUPPLIER, ANSWERED, RESOLVED, RESOLVED, REOPENED, QUEUED, CLOSED,
    CANCELLED, then(1), then(4), then(None), *(another(name) for name in TEAMS),
    ServiceLevelSourceResultRecorded(result="met"),
    ServiceLevelSourceResultRecorded(result="missed"),
]  # fmt: skip


@dataclass(frozen=True)
class Story:
    """A request with its facts in the order of the log."""

    request_id: UUID
    origin: Origin
    told: tuple[tuple[Event, datetime], ...]

    @property
    def facts(self) -> list[Fact]:
        return [
            fact(event, time, origin=self.origin, request_id=self.request_id)
            for event, time in self.told
        ]


def stories(seed: int, number: int) -> list[Story]:
    """Return requests that nobody would think of, always the same for a seed."""
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    made: list[Story] = []
    for _ in range(number):
        hours = sorted(chance.choices(range(3000), k=chance.randint(0, 9)))
        start = chance.choice((0, 0, 700, 1400))
        begun: list[tuple[Event, datetime]] = [(SUBMITTED, at(start))]
        if chance.random() < 0.9:
            begun.append((first(chance.randint(1, 4)), at(start)))
        if chance.random() < 0.8:
            begun.append((team(chance.choice(TEAMS), initial=True), at(start)))
        made.append(
            Story(
                UUID(int=chance.getrandbits(128), version=4),
                chance.choice(("live", "observed")),
                (*begun, *((chance.choice(LATER), at(start + hour)) for hour in hours)),
            )
        )
    return made


def rows_from(told: Sequence[Story]) -> Rows:
    return [
        rows_of(*story.told, origin=story.origin, request_id=story.request_id) for story in told
    ]


# --- the same figures by hand -----------------------------------------------------------------


def nearest_rank(values: list[int], percent: int) -> float | None:
    """Return the smallest value of which at least ``percent`` of all are not above."""
    for value in sorted(values):
        if Fraction(sum(each <= value for each in values), len(values)) >= Fraction(percent, 100):
            return value / HOUR
    return None


def measured(name: str, values: list[int]) -> tuple[float | None, int]:
    if name.endswith("mean"):
        return (sum(values) / len(values) / HOUR if values else None), len(values)
    return nearest_rank(values, 50 if name.endswith("median") else 90), len(values)


def counted(rows: Rows, kpi: str) -> tuple[float | None, int]:
    """Return value and n of an indicator over rows."""
    match kpi:
        case "requests_opened" | "requests_resolved" | "requests_closed":
            n = sum(row[f"{kpi.removeprefix('requests_')}_at"] is not None for row in rows)
            return n, n
        case "reopenings_total" | "group_changes_total":
            n = sum(row[kpi.removesuffix("_total")] for row in rows)
            return n, n
        case _ if kpi.startswith("handling"):
            column = kpi.rpartition("_hours")[0] + "_microseconds"
            return measured(kpi, [row[column] for row in rows if row[column] is not None])
    among: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "handled_within_24h_share": ("handling_microseconds", lambda us: us <= 24 * HOUR),
        "handled_within_48h_share": ("handling_microseconds", lambda us: us <= 48 * HOUR),
        "imported_sla_met_share": ("source_result", lambda result: result == "met"),
        "reopen_rate": ("reopenings", lambda times: times > 0),
        "never_reassigned_share": ("group_changes", lambda changes: changes == 0),
        "resolution_target_met_share": ("resolution_met", bool),
        "response_target_met_share": ("response_met", bool),
    }
    column, holds = among[kpi]
    values = [row[column] for row in rows if row[column] is not None]
    return (sum(map(holds, values)) / len(values) if values else None), len(values)


MONTHS = {
    "requests_opened": "opened_month",
    "requests_closed": "closed_month",
    "imported_sla_met_share": "opened_month",
    "reopen_rate": "opened_month",
    "never_reassigned_share": "opened_month",
    "resolution_target_met_share": "resolution_month",
    "response_target_met_share": "response_month",
}
EVENTS = {
    "reopenings_total": "reopening_months",
    "group_changes_total": "group_change_months",
}
ORIGINS: dict[str, tuple[str, ...]] = {
    "resolution_target_met_share": ("live", "observed"),
    "response_target_met_share": ("live", "observed"),
}


def by_hand(rows: Rows, kpis: set[str], by: Dimension | None, origin: str) -> Figures:
    """Return the whole table: totals, and the parts for every key that occurs."""
    rows = [row for row in rows if origin in ("all", row["origin"])]
    keys: set[str | None] = set()
    if by == "month":
        for row in rows:
            keys |= {row[name] for name in row if name.endswith("_month")} - {None}
            keys |= {*row["reopening_months"], *row["group_change_months"]}
    elif by is not None:
        keys = {None if row[by] is None else str(row[by]) for row in rows} | {None}
    figures: Figures = {}
    for kpi in kpis:
        for each in ORIGINS.get(kpi, ("",)):
            if each and origin not in ("all", each):
                continue
            dims = (("origin", each),) if each else ()
            mine = [row for row in rows if not each or row["origin"] == each]
            figures[kpi, dims] = counted(mine, kpi)
            for key in keys:
                part = tuple(sorted((*dims, (str(by), key))))
                figures[kpi, part] = part_of(mine, kpi, by, key)
    return figures


def part_of(
    rows: Rows, kpi: str, by: Dimension | None, key: str | None
) -> tuple[float | None, int]:
    """Return value and n of an indicator for one key of the dimension."""
    if by == "month" and kpi in EVENTS:
        months: Counter[str] = Counter()
        for row in rows:
            months.update(row[EVENTS[kpi]])
        return months[str(key)], months[str(key)]
    column = MONTHS.get(kpi, "resolved_month") if by == "month" else str(by)
    return counted(
        [row for row in rows if key == (None if row[column] is None else str(row[column]))], kpi
    )


# --- the database -----------------------------------------------------------------------------


@pytest.fixture
async def connection() -> AsyncGenerator[Connection]:
    """A database with the empty table of the projection, as the kit makes it."""
    async with fresh_database(postgres_for_tests()) as dsn:
        plain = await asyncpg.connect(dsn)
        await plain.execute("CREATE SCHEMA monitoring; SET search_path TO monitoring")
        await plain.execute(
            "CREATE TABLE projections (name text PRIMARY KEY, version int, generation int)"
        )
        await create_generation(plain, KpiFacts(), 1)
        await activate(plain, KpiFacts(), 1)
        await plain.close()
        database = Database(dsn, "monitoring", http=1, background=1)
        await database.open()
        async with database.background() as prepared:
            yield prepared
        await database.close()


async def stored(connection: Connection, told: Sequence[Story]) -> None:
    """Fold the facts into the table as the reader does, in several batches."""
    table = ProjectionTable(KpiFacts(), KpiFacts().physical(KpiFacts.version, 1))
    facts = [each for story in told for each in story.facts]
    for begin in range(0, len(facts), 500):
        await table.apply(connection, facts[begin : begin + 500])


async def computed(
    connection: Connection,
    by: Dimension | None = None,
    origin: Origin | Literal["all"] = "all",
    scope: ColumnElement[bool] | None = None,
    moment: datetime | None = None,
) -> list[KpiValue]:
    table = KpiTable(by, origin)
    statement = table.statement(true() if scope is None else scope)
    if moment is not None:
        [begun] = await fetch(connection, under_way(moment))
        statement = statement.add_cte(table_as_of(moment, rows_as_of(begun["courses"], moment)))
    return table.rows(await fetch(connection, statement))


def figures(values: list[KpiValue]) -> Figures:
    return {(each.kpi.id, each.dims): (each.value, each.n) for each in values}


@pytest.mark.parametrize("seed", range(3))
async def test_the_database_counts_as_one_does_by_hand(connection: Connection, seed: int) -> None:
    told = stories(seed, 200)
    await stored(connection, told)
    rows = rows_from(told)
    dimensions: tuple[Dimension | None, ...] = (None, "priority", "team", "month")
    origins: tuple[Origin | Literal["all"], ...] = ("all", "live", "observed")
    for by in dimensions:
        for origin in origins:
            values = await computed(connection, by, origin)
            kpis = {each.kpi.id for each in values}
            assert len(kpis) == 18
            assert figures(values) == by_hand(rows, kpis, by, origin)
            assert [each.place for each in values] == sorted(each.place for each in values)


async def test_an_empty_table_has_all_its_rows(connection: Connection) -> None:
    values = await computed(connection, "team")
    assert len(values) == 2 * 20
    assert {(each.kpi.body.unit, each.value, each.n) for each in values} == {
        ("count", 0, 0),
        ("hours", None, 0),
        ("share", None, 0),
    }


@pytest.mark.parametrize("number", [*range(1, 12), 99, 100, 101])
async def test_percentiles_are_by_nearest_rank(connection: Connection, number: int) -> None:
    told = [
        Story(
            UUID(int=index, version=4),
            "observed",
            ((SUBMITTED, at(0)), (RESOLVED, at(index * 7 % 103))),
        )
        for index in range(number)
    ]
    await stored(connection, told)
    found = {each.kpi.id: each.value for each in await computed(connection)}
    values = [row["handling_microseconds"] for row in rows_from(told)]
    assert found["handling_hours_median"] == nearest_rank(values, 50)
    assert found["handling_hours_p90"] == nearest_rank(values, 90)


async def test_the_month_ends_at_midnight_utc(connection: Connection) -> None:
    border = datetime.fromisoformat("2026-04-01T00:00:00+00:00")
    before = datetime.fromisoformat("2026-03-31T23:59:59.999999+00:00")
    told = [
        Story(UUID(int=1, version=4), "observed", ((SUBMITTED, before), (RESOLVED, border))),
        Story(UUID(int=2, version=4), "observed", ((SUBMITTED, border), (RESOLVED, border))),
    ]
    await stored(connection, told)
    found = figures(await computed(connection, "month"))
    assert found["requests_opened", (("month", "2026-03"),)] == (1, 1)
    assert found["requests_opened", (("month", "2026-04"),)] == (1, 1)
    assert found["requests_resolved", (("month", "2026-03"),)] == (0, 0)
    assert found["requests_resolved", (("month", "2026-04"),)] == (2, 2)


async def test_a_team_counts_only_what_is_its_own(connection: Connection) -> None:
    told = stories(7, 150)
    await stored(connection, told)
    lead = Principal("he.jun", frozenset({"lead"}), teams=frozenset({"mail"}))
    scope = POLICY.predicate(lead, "kpi.read", ACCESS)
    mine = [row for row in rows_from(told) if row["team"] == "mail"]
    values = await computed(connection, "team", scope=scope)
    assert figures(values) == by_hand(mine, {each.kpi.id for each in values}, "team", "all")
    statement = str(KpiTable("month", "all").statement(scope))
    assert statement.count("kpi_facts.team IN") == statement.count("UNION ALL") + 1


def until(told: Sequence[Story], moment: datetime) -> list[Story]:
    """Return what of the stories had happened by a moment."""
    cut = [
        replace(story, told=tuple(each for each in story.told if each[1] <= moment))
        for story in told
    ]
    return [story for story in cut if story.told]


@pytest.mark.parametrize("hour", [-1, 0, 701, 2000, 9000])
async def test_the_table_as_of_a_moment_is_that_of_what_had_happened(
    connection: Connection, hour: float
) -> None:
    told = stories(11, 200)
    await stored(connection, told)
    rows = rows_from(until(told, at(hour)))
    for by in ("priority", "team", "month"):
        for origin in ("all", "live"):
            values = await computed(connection, by, origin, moment=at(hour))
            assert figures(values) == by_hand(rows, {each.kpi.id for each in values}, by, origin)


async def test_a_request_that_is_reopened_later_was_resolved_then(connection: Connection) -> None:
    told = [
        Story(
            UUID(int=1, version=4),
            "observed",
            (
                (SUBMITTED, at(0)),
                (first(2), at(0)),
                (team("mail", initial=True), at(0)),
                (CUSTOMER, at(1)),
                (ANSWERED, at(3)),
                (RESOLVED, at(10)),
                (then(1), at(20)),
                (another("网络"), at(20)),
                (REOPENED, at(20)),
                (RESOLVED, at(30)),
            ),
        )
    ]
    await stored(connection, told)
    found = figures(await computed(connection, "team", moment=at(15)))
    assert found["requests_resolved", (("team", "mail"),)] == (1, 1)
    assert found["handling_hours_mean", (("team", "mail"),)] == (10, 1)
    assert found["handling_unpaused_hours_mean", ()] == (8, 1)
    assert found["reopen_rate", ()] == (0, 1)
    assert found["resolution_target_met_share", (("origin", "observed"),)] == (1, 1)
    waiting = figures(await computed(connection, "priority", moment=at(2)))
    assert waiting["requests_resolved", (("priority", "2"),)] == (0, 0)
    assert waiting["requests_opened", (("priority", "2"),)] == (1, 1)


async def test_a_team_counts_what_was_its_own_then(connection: Connection) -> None:
    told = stories(12, 150)
    await stored(connection, told)
    lead = Principal("he.jun", frozenset({"lead"}), teams=frozenset({"mail"}))
    scope = POLICY.predicate(lead, "kpi.read", ACCESS)
    mine = [row for row in rows_from(until(told, at(1500))) if row["team"] == "mail"]
    values = await computed(connection, "month", scope=scope, moment=at(1500))
    assert figures(values) == by_hand(mine, {each.kpi.id for each in values}, "month", "all")


async def test_nobody_without_a_team_counts_anything(connection: Connection) -> None:
    await stored(connection, stories(8, 20))
    scope = POLICY.predicate(Principal("x", frozenset({"agent"})), "kpi.read", ACCESS)
    assert {each.n for each in await computed(connection, "priority", scope=scope)} == {0}
