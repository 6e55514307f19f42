"""The KPI table after an import: how long its answer takes, beside pandas over the same file.

A platform of its own imports the largest real log at hand: the full one beside the checkout, else
the sample. pandas reads the file and computes the same shares and means of it; that is for
orientation, because it answers no second question without reading again, and knows no rights.
"""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from bench.client import Connection, drive, request
from bench.measuring import (
    Bench,
    Budget,
    Effort,
    Measured,
    Peer,
    Report,
    Run,
    check,
    interleaved,
    percentiles,
)
from bench.peers import run_peer
from bench.processes import rss_max_mib
from bench.server import durable_settings, temporary_home
from casebook.console.connection import Connection as Platform
from casebook.console.connection import connected
from casebook.console.importing.run import run_import
from casebook.kit.embedded_postgres import dsn_of
from tests.support.audit_log import real_log

REQUESTS = 17_442
ANSWERS = 60
SOURCE = "bench"
FIGURE = "p50_ms"
PEER = "pandas"
SAME = ("handling_hours_mean", "handled_within_24h_share", "reopen_rate")
"""What both sides compute; it must be the same."""
TOLERANCE = 0.01


@dataclass(slots=True)
class _Table:
    """A platform with an imported log."""

    platform: Platform
    pid: int
    requests: int
    answers: int
    import_seconds: float

    async def product(self) -> Run:
        """Ask for the table again and again, over one connection."""
        question, port = self._question(), int(self.platform.url.rpartition(":")[2])
        driven = await drive(port, [question] * self.answers, connections=1, status=200)
        notes = {
            **percentiles(driven.latencies),
            "import_seconds": self.import_seconds,
            "platform_rss_max_mib": rss_max_mib(self.pid),
        }
        return Run(self.answers, driven.seconds, notes)

    async def peer(self) -> Run:
        """Let pandas read the file, and compute as often; compare what both have found."""
        found = await run_peer(
            "pandas_kpis", path=str(real_log()), requests=self.requests, answers=self.answers
        )
        ours = await self._totals()
        for name in SAME:
            if abs(found["kpis"][name] - ours[name]) > TOLERANCE:
                check(name, round(1000 * ours[name]), round(1000 * found["kpis"][name]))
        times = percentiles(found["seconds_each"])
        return Run(self.answers, sum(found["seconds_each"]), times | {"load_ms": found["load_ms"]})

    async def _totals(self) -> dict[str, float]:
        """Return the totals of the table by their id."""
        connection = Connection(int(self.platform.url.rpartition(":")[2]))
        answer = await connection.ask(self._question())
        await connection.close()
        rows: list[dict[str, Any]] = json.loads(answer.body)["kpis"]
        return {row["id"]: row["value"] for row in rows if not row["dims"]}

    def _question(self) -> bytes:
        """Return the request for the table."""
        token = self.platform.token(roles=("admin",))
        return request("GET", "/monitoring/v1/kpis", {"Authorization": f"Bearer {token}"})


@asynccontextmanager
async def _imported(effort: Effort, say: Report) -> AsyncGenerator[tuple[_Table, dict[str, str]]]:
    """Start a platform, and import."""
    wanted = effort.amount(REQUESTS, least=20)
    with temporary_home() as home:
        async with connected(home, None) as platform:
            pid = json.loads(platform.home.address.read_text(encoding="utf-8"))["pid"]
            started = time.perf_counter()
            summary = await run_import(
                real_log(),
                url=platform.url,
                token=platform.token(roles=("admin", "publisher"), source=SOURCE),
                source=SOURCE,
                limit=wanted,
            )
            seconds = time.perf_counter() - started
            say(f"imported {summary.requests:,} requests in {seconds:.1f} s")
            check("quarantined events", summary.quarantined, 0)
            connection = await asyncpg.connect(dsn_of(home))
            try:
                rows = await connection.fetchval("SELECT count(*) FROM monitoring.kpi_facts")
                check("requests of the table", rows, summary.requests)
                settings = await durable_settings(connection)
            finally:
                await connection.close()
            answers = effort.amount(ANSWERS, least=5)
            yield _Table(platform, pid, summary.requests, answers, seconds), settings


async def _measure(effort: Effort, say: Report) -> Measured:
    """Measure both in turns, after one answer that opens connections and plans."""
    async with _imported(effort, say) as (table, settings):
        others = {PEER: table.peer}
        return Measured(await interleaved(effort, table.product, others, say, FIGURE), settings)


KPI = Bench(
    name="kpi",
    product=f"the KPI table after the import of up to {REQUESTS:,} real requests, over HTTP",
    limit=None,
    target=None,
    measure=_measure,
    peers=(Peer(PEER, "the same figures over the CSV, in memory; for orientation"),),
    budgets=(Budget("p95_ms", 50.0),),
    unit="ms",
    figure=FIGURE,
)
