"""Clocks that jump, and processes that are not there when something is due (F-15, F-16)."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from tests.chaos.ground import Ground, becomes
from tests.chaos.workload import AUDITOR

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BREACHED = "casebook.service-level.target-breached.v1"
WITHDRAWN = "casebook.service-level.breach-withdrawn.v1"
SEED = 15


@pytest.fixture
def later(ground: Ground) -> Ground:
    """Be two days ahead, so that a jump back is still after the tokens were issued."""
    ground.deployment.clock.ahead = max(ground.deployment.clock.ahead, 2 * DAY)
    return ground


def levels(ground: Ground, request: str, type_: str) -> list[dict[str, Any]]:
    """Return the data of the events of a type about the promises to a request."""
    rows = ground.fetch(
        f"SELECT record FROM monitoring.events WHERE stream = 'service-level/{request}' "
        f"AND type = '{type_}' ORDER BY version"
    )
    return [orjson.loads(row[0])["data"] for row in rows]


def breaches(ground: Ground, request: str) -> Counter[str]:
    """Return how often each promise to a request was broken."""
    return Counter(data["clock"] for data in levels(ground, request, BREACHED))


async def test_a_clock_that_jumps_breaks_no_promise_twice_and_misses_none(later: Ground) -> None:
    """F-15: an hour and a day, forward and back, under the eyes of five processes."""
    clock = later.deployment.clock
    async with later.people(seed=SEED) as people:
        early = await people.submit(impact=1, urgency=1)
        await people.holder(early)
        await becomes(lambda: wanted(later, early), "timers")
        clock.ahead += HOUR
        await becomes(lambda: breaches(later, early), "the breach of the response")
        clock.ahead -= HOUR
        middle = await people.submit(impact=1, urgency=1)
        await becomes(lambda: wanted(later, middle), "timers")
        for jump in (HOUR, -HOUR, DAY, -DAY, HOUR, DAY):
            clock.ahead += jump
            await asyncio.sleep(1.5)  # long enough for a timer that should not fire to do it
        late = await people.submit(impact=1, urgency=1)
        await becomes(lambda: wanted(later, late), "timers")
        clock.ahead += DAY
        for request in (early, middle, late):
            once = Counter(response=1, resolution=1)
            await becomes(lambda r=request: breaches(later, r).total() >= 2, "all breaches")
            assert breaches(later, request) == once
            assert levels(later, request, WITHDRAWN) == []
    assert await later.violations() == []


async def test_what_was_due_while_nobody_was_there_happens_once_and_late(later: Ground) -> None:
    """F-16: monitoring is killed over the due time; the breach says when it was due and seen."""
    deployment = later.deployment
    async with later.people(seed=SEED + 1) as people:
        request = await people.submit(impact=1, urgency=1)
        await becomes(lambda: wanted(later, request), "timers")
        due = later.value(
            f"SELECT due_at FROM monitoring.timers WHERE stream = 'service-level/{request}' "
            "AND kind = 'response-breach'"
        )
        deployment.kill("monitoring")
        deployment.clock.ahead += HOUR
        await asyncio.to_thread(deployment.heal)
        await becomes(lambda: breaches(later, request), "the breach")
    assert await later.violations() == []
    [data] = levels(later, request, BREACHED)
    assert (data["clock"], datetime.fromisoformat(data["due_at"])) == ("response", due)
    assert datetime.fromisoformat(data["fired_at"]) - due > timedelta(minutes=40)


async def test_what_was_resolved_in_time_is_no_breach_although_kafka_was_away(
    later: Ground,
) -> None:
    """F-03, F-16: resolved before it was due, and the log is away until long after (3.11)."""
    deployment = later.deployment
    async with later.people(seed=SEED + 2) as people:
        request = await people.submit(impact=1, urgency=1)
        await people.holder(request)
        await becomes(lambda: wanted(later, request), "timers")
        with deployment.doors["kafka"].broken("refuse"):
            await people.resolve(request)
            deployment.clock.ahead += 5 * HOUR
            await asyncio.sleep(2)
            assert breaches(later, request) == Counter(), "what was not read is not judged"
        assert await later.violations() == []
        withdrawn = levels(later, request, WITHDRAWN)
        assert breaches(later, request) == Counter(data["clock"] for data in withdrawn)
        answer = await people.ask(AUDITOR, "GET", "monitoring", f"/service-levels/{request}")
        assert {clock["clock"] for clock in answer.json()["clocks"]} == {"response", "resolution"}
        for told in answer.json()["clocks"]:
            assert (told["state"], told["met"], told["breached_at"]) == ("stopped", True, None)


def wanted(ground: Ground, request: str) -> int:
    """Return how many breaches may still come of a request."""
    return ground.value(
        f"SELECT count(*) FROM monitoring.timers WHERE stream = 'service-level/{request}' "
        "AND kind LIKE '%-breach' AND status = 'pending'"
    )
