"""``casebook kpi``: the KPI table of the platform, as JSON or for reading."""

import io
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from casebook.console.connection import administrator

_WIDTH = 110


async def fetch_kpis(
    home: Path, url: str | None, *, by: str | None, origin: str, as_of: str | None = None
) -> dict[str, Any]:
    """Return the KPI table of decisions §7.2, now or from what had happened by a moment.

    :raises httpx.TransportError: when the platform cannot be reached.
    """
    async with administrator(home, url) as client:
        chosen = {"by": by, "origin": origin, "as_of": as_of}
        parameters = {name: value for name, value in chosen.items() if value is not None}
        return await client.get("/monitoring/v1/kpis", parameters)


def kpi_table(*documents: dict[str, Any], titles: tuple[str, ...] = ("value",)) -> str:
    """Return KPI documents side by side as a table, one column of values for each."""
    table = Table(title="Service KPIs (definition version 1)", title_justify="left")
    table.add_column("KPI")
    table.add_column("of")
    for title in titles:
        table.add_column(title, justify="right")
        table.add_column("n", justify="right")
    keyed = [{(row["id"], _dims(row)): row for row in document["kpis"]} for document in documents]
    for key in dict.fromkeys(key for rows in keyed for key in rows):
        cells: list[str] = []
        for rows in keyed:
            row = rows.get(key)
            cells += ["", ""] if row is None else [_value(row), f"{row['n']:,}"]
        table.add_row(*key, *cells)
    text = io.StringIO()
    Console(file=text, width=_WIDTH).print(table)
    return text.getvalue().rstrip()


def _dims(row: dict[str, Any]) -> str:
    """Return the dimensions of a row in words."""
    return ", ".join(
        f"{name} {value if value is not None else '–'}" for name, value in row["dims"].items()
    )


def _value(row: dict[str, Any]) -> str:
    """Return a value with its unit."""
    value = row["value"]
    if value is None:
        return "–"
    match row["unit"]:
        case "share":
            return f"{value:.2%}"
        case "hours":
            return f"{value:,.2f} h"
        case _:
            return f"{value:,}"
