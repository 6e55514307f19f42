import pytest

from casebook.dispatch.domain.routing import default, find
from casebook.events.definitions import (
    BEGINNING,
    ROUTING,
    Definition,
    RoutingRow,
    RoutingTable,
)

TABLE = Definition(
    id="routing",
    version=7,
    effective_from=BEGINNING,
    body=RoutingTable(
        rows=(
            RoutingRow(problem_type="data-processing", category="sap", team="first", level=2),
            RoutingRow(category="sap", team="second"),
            RoutingRow(problem_type="data-processing", team="third", skill="sql", level=4),
            RoutingRow(team="last"),
        )
    ),
)


@pytest.mark.parametrize(
    ("problem_type", "category", "team"),
    [
        ("data-processing", "sap", "first"),
        ("other", "sap", "second"),
        ("data-processing", "oracle", "third"),
        ("data-processing", None, "third"),
        ("other", None, "last"),
        ("网络", "路由", "last"),
    ],
)
def test_the_first_row_that_matches_wins(
    problem_type: str, category: str | None, team: str
) -> None:
    assert find(TABLE, problem_type=problem_type, category=category).team == team


def test_a_route_says_what_it_takes_and_which_table_decided() -> None:
    route = find(TABLE, problem_type="data-processing", category=None)
    assert (route.skill, route.skill_level) == ("sql", 4)
    assert (route.routing.id, route.routing.version) == ("routing", 7)


def test_the_default_row_ends_the_search() -> None:
    assert default(TABLE).team == "last"
    assert default(ROUTING).team == "service-desk"


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (RoutingRow(problem_type="other", team="a"),),
        (RoutingRow(team="a"), RoutingRow(team="b")),
        (RoutingRow(team="a"), RoutingRow(category="x", team="b")),
    ],
)
def test_a_table_has_exactly_one_default_row_at_its_end(rows: tuple[RoutingRow, ...]) -> None:
    with pytest.raises(ValueError, match="default row"):
        RoutingTable(rows=rows)
