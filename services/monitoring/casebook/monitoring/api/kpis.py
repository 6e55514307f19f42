"""The KPI table (handbook 6.1): what ``casebook kpi`` prints."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import CompoundSelect

from casebook.events.kpi_definitions import Unit
from casebook.events.values import Moment
from casebook.kit.access.policy import AccessColumns
from casebook.kit.http.exchange import Exchange, operation
from casebook.kit.http.problems import PROBLEM_RESPONSES
from casebook.kit.http.queries import Fetch, Rows
from casebook.kit.worker_process import in_process
from casebook.monitoring.domain.kpi import Dimension, KpiValue, Origin
from casebook.monitoring.projections.kpi_as_of import rows_as_of, table_as_of, under_way
from casebook.monitoring.projections.kpi_facts import TABLE
from casebook.monitoring.projections.kpi_table import KpiTable

ACCESS = AccessColumns(team=TABLE.c.team)
"""A team sees the figures of what it resolved, or has now; nothing else is counted for it."""

FOLDED_HERE_MAX = 50
"""How many requests are folded on the event loop: about ten milliseconds of work."""

router = APIRouter(tags=["kpis"])


class KpiView(BaseModel):
    """One figure of the table."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {
                "id": "handled_within_24h_share",
                "definition_version": 1,
                "unit": "share",
                "value": 0.5059,
                "n": 17439,
                "dims": {"month": "2016-03"},
            }
        },
    )
    id: str
    definition_version: int
    unit: Unit
    value: int | float | None = Field(description="Nothing where n is 0; shares are 0 to 1")
    n: int = Field(description="The denominator; of a count, the count itself")
    dims: dict[str, str | None] = Field(
        description="Empty for a total; a request without priority or team has null"
    )

    @classmethod
    def of(cls, row: KpiValue) -> "KpiView":
        """Return the view of one row."""
        return cls(
            id=row.kpi.id,
            definition_version=row.kpi.version,
            unit=row.kpi.body.unit,
            value=row.value,
            n=row.n,
            dims=dict(row.dims),
        )


class KpiTableView(BaseModel):
    """The table, sorted by id and dimensions; no row is omitted."""

    model_config = ConfigDict(frozen=True)
    kpis: list[KpiView]


@router.get("/kpis", operation_id="listKpis", responses=PROBLEM_RESPONSES)
async def list_kpis(
    exchange: Annotated[Exchange, operation("kpi.read")],
    by: Annotated[Dimension | None, Query(description="Add a row for each of these")] = None,
    origin: Annotated[
        Origin | Literal["all"], Query(description="Only requests that live, or were observed")
    ] = "all",
    as_of: Annotated[
        Moment | None,
        Query(description="From only what had happened by then; who may see it is as it was then"),
    ] = None,
) -> KpiTableView:
    """Compute the KPI table from the log's read model, as far as one may see its requests."""
    table = KpiTable(by, origin)
    statement = table.statement(exchange.scope(ACCESS))
    if as_of is None:
        answer = await exchange.fetch(statement)
    else:
        answer = await exchange.fetch_at_once(lambda fetch: _fetch_as_of(fetch, statement, as_of))
    return KpiTableView(kpis=[KpiView.of(row) for row in table.rows(answer)])


async def _fetch_as_of(fetch: Fetch, statement: CompoundSelect[Any], moment: datetime) -> Rows:
    """Run the table's statement over the rows at a moment; folding many takes a process."""
    [begun] = await fetch(under_way(moment))
    if begun["number"] <= FOLDED_HERE_MAX:
        folded = rows_as_of(begun["courses"], moment)
    else:
        folded = await in_process(rows_as_of, begun["courses"], moment)
    return await fetch(statement.add_cte(table_as_of(moment, folded)))
