"""Plain tables for people; ``-o json`` is for machines."""

import io
from typing import Any

from rich.console import Console
from rich.table import Table

_WIDTH, _CELL_WIDTH = 1_000, 80
"""Cells are folded, never cut: what is printed must be of use to the next command."""


def as_table(value: Any) -> str:
    """Return a list of objects, or one object, as a table."""
    rows = value if isinstance(value, list) else [value]
    if not rows:
        return "nothing"
    table = Table()
    for name in rows[0]:
        table.add_column(str(name), overflow="fold", max_width=_CELL_WIDTH)
    for row in rows:
        table.add_row(*(str(cell) for cell in row.values()))
    text = io.StringIO()
    Console(file=text, width=_WIDTH).print(table)
    return text.getvalue().rstrip()
