"""Commands of people while a whole log is imported, beside the same commands on an idle platform.

A ``casebook up`` of its own. Requests are submitted over HTTP at a steady pace: first alone, then
for as long as the import runs. The limit is the idle platform: long work may cost live work so
many times its latency and no more.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from bench.client import Connection, request
from bench.desk import SUBMISSION
from bench.measuring import (
    LIMIT,
    BadBench,
    Bench,
    Budget,
    Effort,
    Measured,
    Report,
    Run,
    Turn,
    check,
    percentiles,
    turn_by_turn,
)
from bench.platforms import REQUESTS, Platform, platform
from bench.server import durable_settings
from casebook.kit.ids import new_id
from tests.support.audit_log import real_log

SUBMISSIONS = 200
PER_SECOND = 10
WARM_UP = 20
BUSY = 503
RETRY_SECONDS = 0.1
FIGURE = "p95_ms"
_STORED = """
SELECT count(*) FROM intake.streams WHERE state->>'origin' = 'live' AND stream LIKE 'request/%'
"""


@dataclass(slots=True)
class _People:
    """People who submit requests at a pace of their own, each over a connection of their own."""

    platform: Platform
    token: str
    taken: int = 0
    refused: int = 0

    async def submit(self, more: Callable[[int], bool]) -> list[float]:
        """Submit while there is ``more`` after so many; return the latencies, in seconds.

        A latency counts from the moment at which somebody was to submit: a late one is slow.
        """
        loop = asyncio.get_running_loop()
        latencies: list[float] = []
        beginning = loop.time() + 0.1
        async with asyncio.TaskGroup() as group:
            for number in count():
                if not more(number):
                    break
                at = beginning + number / PER_SECOND
                await asyncio.sleep(max(0.0, at - loop.time()))
                group.create_task(self._submit(at, latencies))
        return latencies

    async def _submit(self, at: float, latencies: list[float]) -> None:
        """Submit one request, again while the platform is too busy; the time for that counts.

        :raises BadBench: when it is not taken.
        """
        connection = Connection(self.platform.port)
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": str(new_id())}
        body = json.dumps(SUBMISSION).encode()
        content = request("POST", "/intake/v1/requests", headers, body)
        answer = await connection.ask(content)
        while answer.status == BUSY:
            self.refused += 1
            await asyncio.sleep(RETRY_SECONDS)
            answer = await connection.ask(content)
        latencies.append(asyncio.get_running_loop().time() - at)
        await connection.close()
        check("status", answer.status, 201)
        self.taken += 1


async def _turn(effort: Effort) -> tuple[Turn, dict[str, str]]:
    """Submit on an idle platform, then beside an import; count both in the database."""
    submissions = effort.amount(SUBMISSIONS, least=20)
    async with platform() as place:
        people = _People(place, place.at.token(roles=("requester",), source="li.na"))
        await people.submit(lambda number: number < WARM_UP)
        alone = await people.submit(lambda number: number < submissions)
        async with asyncio.TaskGroup() as group:
            importing = group.create_task(_import(place, effort))
            beside = await people.submit(lambda _: not importing.done())
        stored = await place.database.fetchval(_STORED)
        check("requests of people", int(stored), people.taken)
        idle = Run(len(alone), sum(alone), percentiles(alone))
        notes = percentiles(beside) | {"refused_as_busy": people.refused}
        busy = Run(len(beside), sum(beside), notes)
        return Turn(busy, {LIMIT: idle}), await durable_settings(place.database)


async def _import(place: Platform, effort: Effort) -> None:
    """Import the largest real log at hand, or a part of it, by the command in its own process.

    :raises BadBench: when it fails.
    """
    limit = str(effort.amount(REQUESTS, least=50))
    words = ["import", "servicenow-audit", str(real_log()), "--limit", limit]
    command = [sys.executable, "-m", "casebook.console", "--home", str(place.at.home.path), *words]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise BadBench(said.decode()[-500:])


async def _measure(effort: Effort, say: Report) -> Measured:
    """Measure turn by turn, each on a new home."""
    return await turn_by_turn(effort, lambda: _turn(effort), say, FIGURE)


BESIDE_IMPORT = Bench(
    name="beside-import",
    product=f"submissions over HTTP, {PER_SECOND} a second, while a real log is imported",
    limit="the same submissions on the idle platform",
    target=None,
    measure=_measure,
    budgets=(Budget(FIGURE, 3.0, times_limit=True),),
    unit="ms",
    figure=FIGURE,
)
