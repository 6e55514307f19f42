"""Clocks that jump, and processes that are not there when something is due (F-15, F-16)."""

import asyncio
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

import orjson
import pytest

from tests.chaos.ground import Ground, becomes
from tests.chaos.workload import AUDITOR
from tests.support.production import SERVICES

Season: TypeAlias = Literal["spring", "autumn"]
MINUTE = timedelta(minutes=1)
CHANGE_AFTER = timedelta(minutes=12)
"""Later than processes need to start, and sooner than the first promise is due."""
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


@pytest.mark.parametrize("season", ["spring", "autumn"])
async def test_clocks_that_are_put_forward_or_back_move_no_deadline(
    later: Ground, season: Season
) -> None:
    """F-15: targets are 24 × 7 time; where the machine's zone changes meanwhile, as without."""
    deployment, clock = later.deployment, later.deployment.clock
    change = deployment.place.now().replace(microsecond=0) + CHANGE_AFTER
    zone = changing_zone(change, season)
    shift = utc_offset(zone, change + MINUTE) - utc_offset(zone, change - MINUTE)
    assert shift == (HOUR if season == "spring" else -HOUR)
    deployment.production.settings["TZ"] = zone
    try:
        for name in SERVICES:
            deployment.kill(name)
        await asyncio.to_thread(deployment.heal)
    finally:
        del deployment.production.settings["TZ"]
    async with later.people(seed=SEED + 3) as people:
        request = await people.submit(impact=1, urgency=1)
        await becomes(lambda: wanted(later, request), "timers")
        began = later.value(
            "SELECT (record::json->>'time')::timestamptz FROM intake.events "
            f"WHERE stream = 'request/{request}' AND version = 1"
        )
        due = {"response": began + 15 * MINUTE, "resolution": began + 4 * HOUR}
        assert began < change < due["response"]
        broken: Counter[str] = Counter()
        for promise, moment in due.items():
            clock.ahead += moment - 3 * MINUTE - deployment.place.now()
            await asyncio.sleep(2.5)  # long enough for a timer that should not fire to do it
            assert breaches(later, request) == broken, "an hour early"
            clock.ahead += 4 * MINUTE
            broken[promise] += 1
            await becomes(lambda: breaches(later, request).total() >= broken.total(), "the breach")
            assert breaches(later, request) == broken
        answer = await people.ask(AUDITOR, "GET", "monitoring", f"/service-levels/{request}")
        for told in answer.json()["clocks"]:
            assert datetime.fromisoformat(told["due_at"]) == due[told["clock"]]
            elapsed = deployment.place.now() - began
            assert abs(elapsed.total_seconds() - told["elapsed_seconds"]) < MINUTE.total_seconds()
    assert {data["due_at"] for data in levels(later, request, BREACHED)} == {
        moment.isoformat().replace("+00:00", "Z") for moment in due.values()
    }
    assert await later.violations() == []


def changing_zone(change: datetime, season: Season) -> str:
    """Return a zone one hour east whose clocks change at a moment, as POSIX writes it."""
    half_a_year = timedelta(days=180)
    begin, end = (change, change + half_a_year) if season == "spring" else (
        change - half_a_year, change,
    )  # fmt: skip
    # Each change is said in the time that its zone had before it.
    rules = [f"{at.timetuple().tm_yday - 1}/{at:%H:%M:%S}" for at in (begin + HOUR, end + 2 * HOUR)]
    return f"CET-1CEST,{','.join(rules)}"


def utc_offset(zone: str, moment: datetime) -> timedelta:
    """Return how far a process in a zone is ahead of UTC, as its C library says."""
    tell = f"import time; print(time.localtime({moment.timestamp()}).tm_gmtoff)"
    done = subprocess.run(
        [sys.executable, "-c", tell], env={"TZ": zone}, capture_output=True, text=True, check=True
    )
    return timedelta(seconds=int(done.stdout))


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
