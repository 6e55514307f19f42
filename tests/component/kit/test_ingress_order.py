"""Within a subject the log follows the source, whoever owns what and however events arrive."""

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from casebook.events.catalog import owner
from casebook.events.ingress import Published
from casebook.events.request import RequestClosed, RequestCommented
from casebook.events.work_order import WorkOrderResolved, WorkOrderStarted
from casebook.kit.runtime import Runtime
from tests.support.pump import (
    event,
    feed,
    inbox_size,
    key_of,
    log_of,
    outcomes,
    quarantined,
    register,
    retried,
    row_id,
)
from tests.support.service import Bench, settled, until
from tests.support.toy import dispatch, intake, submitted

LIMIT_SECONDS = 0.4


@pytest.fixture
async def pair(bench: Bench) -> AsyncGenerator[tuple[Runtime, Runtime]]:
    """Run both services, and let both know the source."""
    async with bench.running(intake()) as requests, bench.running(dispatch()) as work:
        await register(requests, work)
        yield requests, work


def history(subject: str, length: int) -> list[Published]:
    """Return the history of a subject; its events belong to both services in turn."""
    made = [event(subject, submitted(), 1)]
    for place in range(2, length + 1):
        data = [RequestCommented(body="x"), WorkOrderStarted(), WorkOrderResolved()][place % 3]
        made.append(event(subject, data, place))
    return made


async def send(pair: tuple[Runtime, Runtime], *events: Published) -> list[str]:
    """Offer each event to its owner."""
    found: list[str] = []
    for one in events:
        runtime = pair[0] if owner(one.type) == "intake" else pair[1]
        found += outcomes(await feed(runtime, one))
    return found


async def places(bench: Bench, subject: str) -> list[int]:
    return [fact["sourcesequence"] for fact in await log_of(bench, subject)]


async def in_log(bench: Bench, subject: str, wanted: int) -> bool:
    return len(await log_of(bench, subject)) >= wanted


@pytest.mark.parametrize("seed", range(3))
async def test_shuffled_arrivals_at_two_services_come_out_in_the_order_of_the_source(
    bench: Bench, pair: tuple[Runtime, Runtime], seed: int
) -> None:
    rng = random.Random(seed)  # noqa: S311 - an order that can be repeated
    histories = {f"S{number}": history(f"S{number}", 20) for number in range(4)}
    events = [one for made in histories.values() for one in made]
    rng.shuffle(events)
    while events:
        chunk, events = events[:7], events[7:]
        assert set(await send(pair, *chunk)) == {"accepted"}
        await asyncio.sleep(rng.choice([0.0, 0.0, 0.05]))
    for subject in histories:
        await until(lambda subject=subject: in_log(bench, subject, 20), pair)
        assert await places(bench, subject) == list(range(1, 21))
    assert await bench.value("SELECT count(*) FROM inbox") == 0
    assert await quarantined(bench) == []
    # The neighbour's promotion waited for the reader, and nothing else may lead to anything.
    assert await bench.value("SELECT count(*) FROM timers") == 0
    expected = sum(1 for made in histories.values() for one in made if "work" in one.type)
    assert await bench.value("SELECT count(*) FROM events", schema="dispatch") == expected


async def test_waiting_never_holds_up_another_subject(
    bench: Bench, pair: tuple[Runtime, Runtime]
) -> None:
    stuck = history("stuck", 60)[1:]  # the first one never comes
    await send(pair, *(one for one in stuck if owner(one.type) == "intake"))
    assert await inbox_size(bench) == 20
    for number in range(5):
        subject = f"free{number}"
        await send(pair, event(subject, submitted(), 1), event(subject, WorkOrderStarted(), 2))
        await until(lambda subject=subject: in_log(bench, subject, 2), pair)
    assert await places(bench, "stuck") == []


async def test_more_waiting_events_than_a_round_takes_hold_up_nobody(bench: Bench) -> None:
    async with bench.running(intake(), promote_events_max=5) as runtime:
        await register(runtime)
        for number in range(10):
            waiting = [event(f"stuck{number}", RequestCommented(body="x"), p) for p in (2, 4, 7)]
            await feed(runtime, *waiting)
        events = [event("free", submitted(), place) for place in range(1, 13)]
        await feed(runtime, *events)
        await until(lambda: in_log(bench, "free", 12), [runtime])
    assert await places(bench, "free") == list(range(1, 13))


async def test_an_unknown_source_waits_for_its_registration(bench: Bench) -> None:
    async with bench.running(intake()) as runtime:
        await feed(runtime, event("S", submitted(), 1), event("S", RequestCommented(body="x"), 2))
        await asyncio.sleep(0.3)
        assert await inbox_size(bench) == 2
        await register(runtime)
        await until(lambda: in_log(bench, "S", 2), [runtime])


async def test_an_unknown_source_is_quarantined_in_the_end(bench: Bench) -> None:
    sent = event("S", submitted(), 1)
    async with bench.running(intake(), predecessor_seconds_max=LIMIT_SECONDS) as runtime:
        await feed(runtime, sent)
        await until(lambda: _is_quarantined(bench, "unknown-source"))
        assert await inbox_size(bench) == 0
        await register(runtime)
        assert outcomes(await feed(runtime, sent)) == ["accepted"], "sent again"
        await until(lambda: in_log(bench, "S", 1), [runtime])
    assert await quarantined(bench) == []


@pytest.mark.parametrize("predecessor_of", ["the same service", "the other service"])
async def test_what_waited_too_long_is_released_by_its_predecessor(
    bench: Bench, predecessor_of: str
) -> None:
    first = event("S", submitted(), 1)
    other = predecessor_of == "the other service"
    second = event("S", WorkOrderStarted() if other else RequestCommented(body="二"), 2)
    later = [event("S", RequestCommented(body="三"), place) for place in (3, 4)]
    async with (
        bench.running(intake(), predecessor_seconds_max=LIMIT_SECONDS) as requests,
        bench.running(dispatch(), predecessor_seconds_max=60) as work,
    ):
        both = (requests, work)
        await register(requests, work)
        await send(both, first, *later)
        await until(lambda: _is_quarantined(bench, "predecessor-missing"))
        await until(lambda: _quarantine_size(bench, 2))
        assert await places(bench, "S") == [1]
        await send(both, second)
        await until(lambda: in_log(bench, "S", 4), both)
        await settled(*both)
    assert await places(bench, "S") == [1, 2, 3, 4]
    assert await quarantined(bench) == []
    texts = await bench.value("SELECT count(*) FROM data_keys WHERE case_key = $1", key_of("S"))
    assert texts == 1


async def test_it_is_released_although_the_service_was_down_when_the_predecessor_came(
    bench: Bench,
) -> None:
    async with bench.running(intake(), predecessor_seconds_max=LIMIT_SECONDS) as requests:
        await register(requests)
        await feed(requests, event("S", submitted(), 1), event("S", RequestClosed(basis="x"), 3))
        await until(lambda: _is_quarantined(bench, "predecessor-missing"))
        await settled(requests)
    async with bench.running(dispatch()) as work:
        await settled(work)
        await feed(work, event("S", WorkOrderStarted(), 2))
        await until(lambda: in_log(bench, "S", 2), [work])
    async with bench.running(intake()) as requests:
        await until(lambda: in_log(bench, "S", 3), [requests])
    assert await places(bench, "S") == [1, 2, 3]


async def test_it_is_released_by_sending_it_again_or_by_an_operator(bench: Bench) -> None:
    second, third = (event("S", RequestCommented(body="x"), place) for place in (2, 3))
    async with bench.running(intake(), predecessor_seconds_max=LIMIT_SECONDS) as runtime:
        await register(runtime)
        await feed(runtime, second, third)
        await until(lambda: _quarantine_size(bench, 2))
    async with bench.running(intake(), predecessor_seconds_max=60) as runtime:
        assert await retried(runtime, row_id(third)) == "accepted"  # later, it comes by itself
        assert outcomes(await feed(runtime, second)) == ["accepted"]
        assert (await inbox_size(bench), await quarantined(bench)) == (2, [])
    async with bench.running(intake(), predecessor_seconds_max=LIMIT_SECONDS) as runtime:
        await until(lambda: _quarantine_size(bench, 2))  # it has waited its time again
        other = replace(second, data={"body": "y"})
        assert outcomes(await feed(runtime, other)) == ["content-differs"]


async def test_progress_is_no_reason_to_give_up(bench: Bench) -> None:
    """The history comes slowly, but it comes; what waits for its end is not given up."""
    events = history("S", 16)
    async with (
        bench.running(intake(), predecessor_seconds_max=1.0) as requests,
        bench.running(dispatch(), predecessor_seconds_max=1.0) as work,
    ):
        await register(requests, work)
        await send((requests, work), events[-1])
        for one in events[:-1]:
            await send((requests, work), one)
            await asyncio.sleep(0.2)
        await until(lambda: in_log(bench, "S", 16), (requests, work))
    assert await places(bench, "S") == list(range(1, 17))
    assert await bench.value("SELECT count(*) FROM quarantine", schema="dispatch") == 0


async def test_time_that_a_service_is_down_or_paused_does_not_count(bench: Bench) -> None:
    limit = {"predecessor_seconds_max": 8.0}
    async with bench.running(intake(), **limit) as runtime:
        await register(runtime)
        await feed(runtime, event("S", RequestCommented(body="x"), 2))
    await _an_hour_passes(bench)  # down
    async with bench.running(intake(), **limit, lag_records_max=-1):
        await _an_hour_passes(bench)
        await asyncio.sleep(0.5)  # paused
    async with bench.running(intake(), **limit):
        await asyncio.sleep(0.1)
        assert await inbox_size(bench) == 1
        await until(lambda: _is_quarantined(bench, "predecessor-missing"))


async def _an_hour_passes(bench: Bench) -> None:
    """Let it be an hour since anybody swept."""
    await bench.fetch("UPDATE ingress_clock SET swept_at = swept_at - interval '1 hour'")


async def _is_quarantined(bench: Bench, reason: str) -> bool:
    return reason in {found for found, _ in await quarantined(bench)}


async def _quarantine_size(bench: Bench, wanted: int) -> bool:
    return len(await quarantined(bench)) == wanted
