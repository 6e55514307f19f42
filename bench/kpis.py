"""The KPI table after an import: how long its answer takes, beside pandas over the same file.

A platform of its own imports the largest real log at hand: the full one beside the checkout, else
the sample. pandas reads the file and computes the same shares and means of it; that is for
orientation, because it answers no second question without reading again, and knows no rights.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

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
from bench.platforms import REQUESTS, Platform, platform
from bench.processes import rss_max_mib
from bench.server import durable_settings
from tests.support.audit_log import real_log

ANSWERS = 60
FIGURE = "p50_ms"
PEER = "pandas"
SAME = ("handling_hours_mean", "handled_within_24h_share", "reopen_rate")
"""What both sides compute; it must be the same."""
TOLERANCE = 0.01


@dataclass(slots=True)
class _Table:
    """A platform with an imported log."""

    platform: Platform
    requests: int
    answers: int
    import_seconds: float

    async def product(self) -> Run:
        """Ask for the table again and again, over one connection."""
        question = self._question()
        driven = await drive(
            self.platform.port, [question] * self.answers, connections=1, status=200
        )
        notes = {
            **percentiles(driven.latencies),
            "import_seconds": self.import_seconds,
            "platform_rss_max_mib": rss_max_mib(self.platform.pid),
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
        connection = Connection(self.platform.port)
        answer = await connection.ask(self._question())
        await connection.close()
        rows: list[dict[str, Any]] = json.loads(answer.body)["kpis"]
        return {row["id"]: row["value"] for row in rows if not row["dims"]}

    def _question(self) -> bytes:
        """Return the request for the table."""
        token = self.platform.at.token(roles=("admin",))
        return request("GET", "/monitoring/v1/kpis", {"Authorization": f"Bearer {token}"})


@asynccontextmanager
async def _imported(effort: Effort, say: Report) -> AsyncGenerator[tuple[_Table, dict[str, str]]]:
    """Start a platform, and import."""
    wanted = effort.amount(REQUESTS, least=20)
    async with platform() as place:
        summary = await place.import_history(wanted)
        say(f"imported {summary.requests:,} requests in {summary.seconds:.1f} s")
        rows = await place.database.fetchval("SELECT count(*) FROM monitoring.kpi_facts")
        check("requests of the table", rows, summary.requests)
        settings = await durable_settings(place.database)
        answers = effort.amount(ANSWERS, least=5)
        yield _Table(place, summary.requests, answers, summary.seconds), settings


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
