"""The KPI table: one statement over ``kpi_facts`` (handbook 6.1; decisions 7.2).

Everything is counted, summed and ranked by the database in exact integers; the division is the
last step. It is one statement, so that totals and parts are of the same moment, and the caller's
scope is in each of its parts, so that no figure knows a request that the caller may not see.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Numeric,
    Select,
    TableValuedAlias,
    Text,
    and_,
    cast,
    func,
    literal,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import array

from casebook.events.kpi_definitions import (
    KPIS,
    Count,
    KpiDefinition,
    Mean,
    NearestRank,
    Share,
    Total,
)
from casebook.monitoring.domain.kpi import (
    ORIGINS,
    Dimension,
    KpiValue,
    Origin,
    dimensions,
    value_of,
)
from casebook.monitoring.projections.kpi_facts import TABLE

Cell: TypeAlias = tuple[KpiDefinition, Origin | None]
Key: TypeAlias = str | None
Figure: TypeAlias = tuple[int | None, int]


@dataclass(frozen=True, slots=True)
class Part:
    """One grouping of the statement: by what, which cells it fills, and what it selects."""

    by: Dimension | None
    cells: tuple[Cell, ...]
    figures: tuple[tuple[ColumnElement[Any], ColumnElement[Any]], ...]
    key: ColumnElement[Any] | None = None
    events: TableValuedAlias | None = None
    where: ColumnElement[bool] | None = None

    def select(self, number: int, where: ColumnElement[bool]) -> "Select[*tuple[Any, ...]]":
        """Return the grouping with its number, its key, its raw figures and its counts."""
        raws = array([cast(raw, Numeric) for raw, _ in self.figures])
        counts = array([cast(n, BigInteger) for _, n in self.figures])
        key = cast(null() if self.key is None else self.key, Text)
        statement = select(
            literal(number).label("part"),
            key.label("key"),
            raws.label("raws"),
            counts.label("counts"),
        )
        source = TABLE if self.events is None else TABLE.join(self.events, true())
        statement = statement.select_from(source).where(where)
        if self.key is None:
            return statement
        if self.where is not None:
            statement = statement.where(self.where)
        return statement.group_by(self.key)


class KpiTable:
    """The statement for one grouping and origin, and the rows that follow from its answer."""

    def __init__(self, by: Dimension | None, origin: Origin | Literal["all"]) -> None:
        self._by: Dimension | None = by
        self._origin: Origin | Literal["all"] = origin
        origins: tuple[Origin, ...] = ORIGINS if origin == "all" else (origin,)
        self._cells: tuple[Cell, ...] = tuple(
            (kpi, each) for kpi in KPIS for each in (origins if kpi.body.by_origin else (None,))
        )
        self._parts: list[Part] = [
            Part(None, self._cells, _figures(self._cells)),
            *_parts(by, self._cells),
        ]

    def statement(self, scope: ColumnElement[bool]) -> CompoundSelect[Any]:
        """Return the statement that counts only what ``scope`` allows."""
        where = scope if self._origin == "all" else and_(scope, TABLE.c.origin == self._origin)
        return union_all(*(part.select(number, where) for number, part in enumerate(self._parts)))

    def rows(self, answer: Iterable[Mapping[str, Any]]) -> list[KpiValue]:
        """Return the totals and, if grouped, their parts, in the order of id and dimensions.

        No row is omitted: every KPI has a row for every key that occurs in the dimension, also
        where nothing counts in it, and for no priority and no team at all.
        """
        totals: dict[tuple[str, Origin | None], Figure] = {}
        parts: dict[Key, dict[tuple[str, Origin | None], Figure]] = {
            key: {} for key in _constant_keys(self._by)
        }
        for row in answer:
            part = self._parts[int(row["part"])]
            into = totals if part.by is None else parts.setdefault(row["key"], {})
            for (kpi, origin), raw, n in zip(part.cells, row["raws"], row["counts"], strict=True):
                into[kpi.id, origin] = (None if raw is None else int(raw), n)
        table = [self._row(cell, totals) for cell in self._cells]
        for key, figures in parts.items():
            table += [self._row(cell, figures, key) for cell in self._cells]
        return sorted(table, key=lambda row: row.place)

    def _row(
        self,
        cell: Cell,
        figures: Mapping[tuple[str, Origin | None], Figure],
        *key: Key,
    ) -> KpiValue:
        """Return one row; where nothing was counted, n is 0."""
        kpi, origin = cell
        raw, n = figures.get((kpi.id, origin), (None, 0))
        dims = dict(zip((str(self._by),), key, strict=False))
        return KpiValue(kpi, value_of(kpi, raw, n), n, dimensions(kpi, origin, dims))


def _constant_keys(by: Dimension | None) -> tuple[Key, ...]:
    """Return the keys that have rows even if no request has them."""
    return (None,) if by in {"priority", "team"} else ()


def _parts(by: Dimension | None, cells: Sequence[Cell]) -> Iterable[Part]:
    """Yield the groupings that fill all cells; each kind of month needs one of its own."""
    if by is None:
        return
    if by != "month":
        yield Part(by, tuple(cells), _figures(cells), key=TABLE.c[by])
        return
    months: dict[str, list[Cell]] = {}
    for cell in cells:
        months.setdefault(cell[0].body.month_of, []).append(cell)
    for name, grouped in months.items():
        measure = grouped[0][0].body.measure
        if isinstance(measure, Total):
            events = func.jsonb_each_text(TABLE.c[name]).table_valued("key", "value", name=name)
            counted = func.sum(cast(events.c.value, BigInteger))
            figures = tuple((counted, counted) for _ in grouped)
            some = TABLE.c[measure.column] > 0
            yield Part(by, tuple(grouped), figures, events.c.key, events, where=some)
        else:
            key = TABLE.c[name]
            yield Part(by, tuple(grouped), _figures(grouped), key, where=key.is_not(None))


def _figures(
    cells: Iterable[Cell],
) -> tuple[tuple[ColumnElement[Any], ColumnElement[Any]], ...]:
    return tuple(_figure(kpi, origin) for kpi, origin in cells)


def _figure(
    kpi: KpiDefinition, origin: Origin | None
) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return what a KPI counts, sums or ranks, and the number of requests behind it."""
    rows = TABLE.c
    only = () if origin is None else (rows.origin == origin,)

    def among(figure: Any, *conditions: ColumnElement[bool]) -> ColumnElement[Any]:
        return figure.filter(*only, *conditions) if only or conditions else figure

    match kpi.body.measure:
        case Count(name):
            counted = among(func.count(rows[name]))
            return counted, counted
        case Total(name):
            total = func.coalesce(among(func.sum(rows[name])), 0)
            return total, total
        case Mean(name):
            return among(func.sum(rows[name])), among(func.count(rows[name]))
        case NearestRank(name, percent):
            ranked = func.percentile_disc(percent / 100).within_group(rows[name])
            return among(ranked), among(func.count(rows[name]))
        case Share(of, name, compare, value):
            matching = (rows[of].is_not(None), rows[name].op(compare)(value))
            return among(func.count(), *matching), among(func.count(rows[of]))
