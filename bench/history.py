"""The import of real history through a real platform, and COPY of the rows that it leaves behind.

The product is a ``casebook up`` of its own, filled over HTTP by the importer of ``casebook
import``, until every reader has applied it. The limit copies all rows that the import
leaves, of all services and the log, into bare tables of the same shape in the same server: what
the machine needs to keep the result, had nobody to think about it. The log is the largest real one
at hand: the full one beside the checkout, else the sample.
"""

import io
import time

from bench.measuring import (
    LIMIT,
    Bench,
    Budget,
    Effort,
    Measured,
    Report,
    Run,
    Turn,
    check,
    turn_by_turn,
)
from bench.platforms import REQUESTS, Platform, platform
from bench.processes import children_cpu_seconds, cpu_seconds, rss_max_mib
from bench.server import durable_settings
from casebook.events.catalog import SERVICES
from casebook.kit.postgres.database import Connection

OWN_EVENTS = 1
"""The registration of the source."""

_TABLES = """
SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY($1::text[]) ORDER BY 1, 2
"""


async def _import(place: Platform, requests: int) -> Run:
    """Import a log, or a part of it; return how long that took, and what it cost whom."""
    pid = place.pid
    platform_cpu, others_cpu = cpu_seconds(pid), children_cpu_seconds(pid)
    client_cpu = time.process_time()
    summary = await place.import_history(requests)
    notes = {
        "import_seconds": summary.seconds,
        "requests": summary.requests,
        "platform_cpu_seconds": cpu_seconds(pid) - platform_cpu,
        "database_cpu_seconds": children_cpu_seconds(pid) - others_cpu,
        "client_cpu_seconds": time.process_time() - client_cpu,
        "platform_rss_max_mib": rss_max_mib(pid),
    }
    return Run(summary.events, summary.seconds, notes)


async def _counted(connection: Connection, run: Run) -> None:
    """Look whether the import is in the database: owned, logged, and applied by every reader."""
    expected = run.events + OWN_EVENTS
    owned = [await _count(connection, f"{service}.events") for service in SERVICES]
    check("events", sum(owned), expected)
    check("records of the log", await _count(connection, "log.records"), expected)
    found = await _count(connection, "monitoring.kpi_facts")
    check("requests of the KPI table", found, round(run.figure("requests")))
    for service in SERVICES:
        applied = await connection.fetchval(
            f"SELECT sum(next_offset) FROM {service}.checkpoints WHERE subscription = 'live'"
        )
        check(f"records applied by {service}", int(applied), expected)


async def _copy(connection: Connection, events: int) -> Run:
    """Copy all rows of the platform into tables of the same shape, one transaction a table."""
    await connection.execute("CREATE SCHEMA bare")
    contents: dict[str, bytes] = {}
    rows = 0
    for schema, table in await connection.fetch(_TABLES, [*SERVICES, "log"]):
        content = io.BytesIO()
        await connection.copy_from_table(table, schema_name=schema, output=content, format="binary")
        name = f"{schema}_{table}"
        await connection.execute(
            f'CREATE TABLE bare."{name}" (LIKE {schema}.{table} INCLUDING ALL)'
        )
        contents[name] = content.getvalue()
        rows += await _count(connection, f"{schema}.{table}")
    started = time.perf_counter()
    for name, content in contents.items():
        await connection.copy_to_table(
            name, schema_name="bare", source=io.BytesIO(content), format="binary"
        )
    seconds = time.perf_counter() - started
    copied = [await _count(connection, f'bare."{name}"') for name in contents]
    return Run(events, seconds, {"rows": check("rows", sum(copied), rows)})


async def _count(connection: Connection, table: str) -> int:
    """Return how many rows a table has."""
    return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


async def _turn(requests: int) -> tuple[Turn, dict[str, str]]:
    """Start a platform, fill it, and copy what it wrote."""
    async with platform() as place:
        run = await _import(place, requests)
        await _counted(place.database, run)
        turn = Turn(run, {LIMIT: await _copy(place.database, run.events)})
        return turn, await durable_settings(place.database)


async def _measure(effort: Effort, say: Report) -> Measured:
    """Measure turn by turn, each on a new home; the limit needs the rows, so it comes second."""
    requests = effort.amount(REQUESTS, least=5)
    return await turn_by_turn(effort, lambda: _turn(requests), say)


IMPORT = Bench(
    name="import",
    product=f"up to {REQUESTS:,} real requests over HTTP into `casebook up`",
    limit="COPY of all rows that it leaves into tables of the same shape, with their keys",
    target=None,
    measure=_measure,
    budgets=(Budget("import_seconds", 120.0), Budget("platform_rss_max_mib", 1024.0)),
)
