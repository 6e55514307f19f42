"""The rows of ``kpi_facts`` as they were at a moment (handbook 6.1; decisions 3.9, ``as_of``).

By the time at which something happened, as everywhere: what became known late, or was imported,
counts from when it happened. A request all of whose facts had happened has the row that it has
now, and one of which none had happened has none; only what was under way is folded again, from
its own facts and by the fold of the projection.
"""

from datetime import datetime
from typing import Any, TypeAlias

import orjson
from sqlalchemy import CTE, DateTime, Select, Text, cast, column, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from casebook.monitoring.projections.kpi_facts import TABLE, row_as_of

_FIGURES = [each for each in TABLE.columns if each.name != "course"]

Statement: TypeAlias = "Select[*tuple[Any, ...]]"


def under_way(moment: datetime) -> Statement:
    """Return the statement for the courses of which only a part had happened, as one document.

    Nobody may be shown them: whose a request was at that moment is known when they are folded.
    """
    at = literal(moment, DateTime(timezone=True))
    courses = func.json_agg(func.json_build_array(TABLE.c.request_id, TABLE.c.course))
    return select(func.count().label("number"), cast(courses, Text).label("courses")).where(
        TABLE.c.first_at <= at, TABLE.c.last_at > at
    )


def rows_as_of(courses: str | None, moment: datetime) -> str:
    """Return the rows at ``moment`` as a document, from the document of :func:`under_way`."""
    rows = [
        row_as_of(request_id, course, moment)
        for request_id, course in orjson.loads(courses or "[]")
    ]
    names = [str(each.name) for each in _FIGURES]
    return orjson.dumps(
        [{name: row[name] for name in names} for row in rows if row is not None]
    ).decode()


def table_as_of(moment: datetime, folded: str) -> CTE:
    """Return what stands in for the table in a statement over it: the rows at ``moment``."""
    record = (
        func.jsonb_to_recordset(cast(literal(folded, Text), JSONB))
        .table_valued(*(column(each.name, each.type) for each in _FIGURES))
        .render_derived(name="folded", with_types=True)
    )
    whole = select(*_FIGURES).where(TABLE.c.last_at <= literal(moment, DateTime(timezone=True)))
    part = select(*(record.c[each.name] for each in _FIGURES))
    return whole.union_all(part).cte(TABLE.name)
