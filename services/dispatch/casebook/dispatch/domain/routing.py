"""Routing: which team gets a request, and what it takes to do it (handbook 2.1, 2.2).

The table is a definition (:data:`casebook.events.definitions.ROUTING`). Its rows are searched in
order, the first that matches wins, and the last one matches everything.
"""

from dataclasses import dataclass

from casebook.events.definitions import Definition, RoutingRow, RoutingTable
from casebook.events.values import DefinitionReference


@dataclass(frozen=True, slots=True)
class Route:
    """Where work goes, what skill it takes at which level, if any, and which table says so."""

    team: str
    skill: str | None
    skill_level: int | None
    routing: DefinitionReference


def find(table: Definition[RoutingTable], *, problem_type: str, category: str | None) -> Route:
    """Return the route of a classification: that of the first row which matches it."""
    rows = table.body.rows
    row = next((row for row in rows if _matches(row, problem_type, category)), rows[-1])
    return _route(table, row)


def default(table: Definition[RoutingTable]) -> Route:
    """Return the route of what nobody classified: that of the row which ends the search."""
    return _route(table, table.body.rows[-1])


def _matches(row: RoutingRow, problem_type: str, category: str | None) -> bool:
    """Say whether a row applies; what it leaves open matches everything."""
    return row.problem_type in (None, problem_type) and row.category in (None, category)


def _route(table: Definition[RoutingTable], row: RoutingRow) -> Route:
    return Route(team=row.team, skill=row.skill, skill_level=row.level, routing=table.reference)
