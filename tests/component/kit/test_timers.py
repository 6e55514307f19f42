"""Durable timers: once, not before the log was read past them, and not if a fact met them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from casebook.events.envelope import Envelope
from casebook.events.request import RequestClosed, RequestClosureAnnounced, RequestCommented
from casebook.events.work_order import WorkOrderResolved
from casebook.kit.decider import Fact, Reaction
from casebook.kit.log.event_log import PARTITIONS
from casebook.kit.log.memory import MemoryLog
from casebook.kit.reading.lag import measure
from casebook.kit.service import Service
from tests.support.child import child
from tests.support.foreign import fact, tell
from tests.support.service import START, Bench, append, case, settled, until
from tests.support.toy import ANNOUNCED_AFTER, CLOSED_AFTER, REQUEST, Tally, intake, submitted

STATUSES = "SELECT kind, status FROM timers ORDER BY kind"
MINUTE = timedelta(minutes=1)


async def events(bench: Bench, stream: str) -> list[Envelope]:
    rows = await bench.fetch("SELECT record FROM events WHERE stream = $1 ORDER BY version", stream)
    return [Envelope.from_record(row[0]) for row in rows]


async def timers(bench: Bench) -> dict[str, str]:
    return {row[0]: row[1] for row in await bench.fetch(STATUSES)}


def closing() -> Service:
    """Return a service that closes a request when its work is resolved."""

    def close(state: Any, fact: Fact) -> list[Any]:
        return [RequestClosed(basis="confirmed")]

    return intake(reactions=[Reaction((WorkOrderResolved,), "request", close)])


def with_deadline(on_deadline: Any) -> Service:
    """Return a service that does something else when a timer fires."""
    service = intake()
    family = replace(REQUEST, on_deadline=on_deadline)
    return replace_families(service, family)


def replace_families(service: Service, family: Any) -> Service:
    return Service(
        name=service.name,
        families=(family, *service.families[1:]),
        policy=type(service.policy)(),
        projections=service.projections,
    )


async def fired(bench: Bench, *runtimes: Any) -> None:
    """Wait until no timer is pending that is due."""

    async def none_is_due() -> bool:
        sql = "SELECT count(*) FROM timers WHERE status = 'pending' AND due_at <= $1"
        return await bench.value(sql, bench.clock.now()) == 0

    await until(none_is_due, runtimes)


async def test_a_timer_fires_once_with_when_it_was_due_and_when_it_fired(bench: Bench) -> None:
    stream = f"request/{case()}"
    async with bench.running(intake()) as runtime:
        (cause,) = await append(runtime, stream, submitted())
        assert await timers(bench) == {"announce": "pending", "close": "pending"}
        bench.clock.pass_(CLOSED_AFTER - MINUTE)
        await fired(bench, runtime)
        assert await timers(bench) == {"announce": "fired", "close": "pending"}
        bench.clock.pass_(3 * MINUTE)
        await fired(bench, runtime)
        await settled(runtime)
    _, announced, closed = await events(bench, stream)
    assert announced.type == RequestClosureAnnounced.type
    assert closed.data["code"] == f"{START + CLOSED_AFTER:%Y-%m-%dT%H:%M:%S}", "when it was due"
    assert closed.time == START + CLOSED_AFTER + 2 * MINUTE, "when it fired"
    assert (closed.actor, closed.origin) == ("service:intake", "live")
    assert closed.causationid == announced.causationid == cause.id
    row = (await bench.fetch("SELECT * FROM timers WHERE kind = 'close'"))[0]
    assert (row["due_at"], row["fired_at"]) == (START + CLOSED_AFTER, closed.time)


async def test_a_fact_in_time_cancels_a_timer(bench: Bench) -> None:
    stream = f"request/{case()}"
    async with bench.running(intake()) as runtime:
        await append(runtime, stream, submitted())
        await append(runtime, stream, RequestClosed(basis="confirmed"))
        assert await timers(bench) == {"announce": "cancelled", "close": "cancelled"}
        bench.clock.pass_(10 * CLOSED_AFTER)
        await until(lambda: _caught_up(bench, runtime), [runtime])
        assert await runtime.timers.fire() == 0
    assert len(await events(bench, stream)) == 2


async def test_a_timer_that_is_wanted_again_fires(bench: Bench) -> None:
    stream = f"request/{case()}"
    async with bench.running(intake()) as runtime:
        await append(runtime, stream, submitted(), RequestClosed(basis="confirmed"))
        assert await timers(bench) == {}, "wanted and met in one append"
        await append(runtime, stream, submitted())
        await append(runtime, stream, RequestClosed(basis="confirmed"))
        await append(runtime, stream, submitted())
        assert await timers(bench) == {"announce": "pending", "close": "pending"}
        bench.clock.pass_(ANNOUNCED_AFTER)
        await fired(bench, runtime)
    assert (await events(bench, stream))[-1].type == RequestClosureAnnounced.type


async def test_killed_before_it_was_due_it_fires_once_after_the_restart(bench: Bench) -> None:
    stream = f"request/{case()}"
    async with bench.idle(intake()) as runtime, child(bench):
        await append(runtime, stream, submitted())
        await until(lambda: _value(bench, "SELECT NOT EXISTS (SELECT FROM outbox)"))
    assert await timers(bench) == {"announce": "pending", "close": "pending"}
    bench.clock.pass_(ANNOUNCED_AFTER + 5 * MINUTE)
    for _ in range(2):
        async with bench.running(intake()) as runtime:
            await fired(bench, runtime)
            await settled(runtime)
    _, announced = await events(bench, stream)
    assert announced.time == START + ANNOUNCED_AFTER + 5 * MINUTE
    assert await timers(bench) == {"announce": "fired", "close": "pending"}


async def test_nothing_fires_before_the_log_was_read_past_it(memory: Bench, log: MemoryLog) -> None:
    """The fact that meets the deadline is in the log, and the log cannot be read yet."""
    key = case()
    async with memory.running(closing()) as runtime:
        await append(runtime, f"request/{key}", submitted())
        await settled(runtime)

    def away(step: str) -> None:
        raise OSError("the log is away")

    log.fault = away
    tell(log, fact(f"work-order/{key}", 1, WorkOrderResolved()))
    memory.clock.pass_(10 * CLOSED_AFTER)
    async with memory.running(closing()) as runtime:
        for _ in range(5):
            assert await runtime.timers.fire() == 0
        assert await timers(memory) == {"announce": "pending", "close": "pending"}
        log.fault = lambda step: None
        await settled(runtime)
        await until(lambda: _caught_up(memory, runtime), [runtime])
        await runtime.timers.fire()
    assert [e.type.split(".")[2] for e in await events(memory, f"request/{key}")] == [
        "submitted",
        "closed",
    ]
    assert await timers(memory) == {"announce": "cancelled", "close": "cancelled"}


async def test_the_timers_of_a_parked_case_wait_for_the_operator(
    memory: Bench, log: MemoryLog
) -> None:
    """Of what is parked nothing was read; the deadline may have been met there."""
    bad, good = case(), case()
    projection = Tally()
    service = closing()
    object.__setattr__(service, "projections", (projection,))
    async with memory.running(service) as runtime:
        for key in (bad, good):
            await append(runtime, f"request/{key}", submitted())
        await settled(runtime)
        projection.failing.add(bad)
        tell(log, fact(f"work-order/{bad}", 1, WorkOrderResolved()))
        await settled(runtime)
        memory.clock.pass_(ANNOUNCED_AFTER)
        await until(lambda: _fired(memory, good), [runtime])
        await runtime.timers.fire()
        assert not await _fired(memory, bad)
        projection.failing.clear()
        await runtime.reader.retry_parked(bad)
        await settled(runtime)
        await runtime.timers.fire()
    types = [envelope.type for envelope in await events(memory, f"request/{bad}")]
    assert RequestClosureAnnounced.type not in types
    assert types[-1] == RequestClosed.type


async def test_two_timer_loops_fire_once(bench: Bench) -> None:
    streams = [f"request/{case()}" for _ in range(30)]
    async with bench.running(intake()) as one, bench.running(intake()) as two:
        for stream in streams:
            await append(one, stream, submitted())
        bench.clock.pass_(ANNOUNCED_AFTER)
        await fired(bench, one, two)
        await settled(one, two)
    for stream in streams:
        assert len(await events(bench, stream)) == 2


async def test_one_bad_timer_does_not_stop_the_others(bench: Bench) -> None:
    def shaky(state: Any, kind: str, due: Any, now: Any) -> list[Any]:
        if state.comments:
            raise ValueError("a bug")
        return [RequestClosed(basis="announced")]

    bad, good = f"request/{case()}", f"request/{case()}"
    async with bench.running(with_deadline(shaky)) as runtime:
        await append(runtime, bad, submitted(), RequestCommented(body="x"))
        await append(runtime, good, submitted())
        bench.clock.pass_(ANNOUNCED_AFTER)
        await fired(bench, runtime)
        assert runtime.failed_tasks() == []
    assert len(await events(bench, bad)) == 2
    assert (await events(bench, good))[-1].type == RequestClosed.type
    assert await bench.fetch("SELECT stream FROM timers WHERE status = 'failed'") == [(bad,)]


async def test_what_the_code_failed_on_is_visible_and_fires_under_the_next_version(
    bench: Bench,
) -> None:
    def broken(state: Any, kind: str, due: Any, now: Any) -> list[Any]:
        raise ValueError("a bug")

    kept, met = f"request/{case()}", f"request/{case()}"
    async with bench.running(with_deadline(broken)) as runtime:
        await append(runtime, kept, submitted())
        await append(runtime, met, submitted())
        bench.clock.pass_(ANNOUNCED_AFTER)
        await fired(bench, runtime)
        lag = await measure(runtime)
        assert (lag.timers, lag.failed_timers) == (2, 2)
        await append(runtime, met, RequestClosed(basis="confirmed"))
        assert (await measure(runtime)).failed_timers == 1, "nobody wants the other one any more"
    bench.clock.pass_(MINUTE)
    async with bench.running(intake()) as runtime:
        await until(lambda: _fired(bench, kept.removeprefix("request/")), [runtime])
        assert (await measure(runtime)).failed_timers == 0
    announced = (await events(bench, kept))[-1]
    assert announced.type == RequestClosureAnnounced.type
    assert announced.time == START + ANNOUNCED_AFTER + MINUTE
    assert len(await events(bench, met)) == 2


async def test_nothing_fires_before_its_time_when_the_clock_is_set_back(bench: Bench) -> None:
    stream = f"request/{case()}"
    async with bench.idle(intake()) as runtime:
        await append(runtime, stream, submitted())
        late = START + ANNOUNCED_AFTER + MINUTE
        runtime.reader.horizon.until.update(dict.fromkeys(range(PARTITIONS), late))
        bench.clock.pass_(ANNOUNCED_AFTER - MINUTE)
        assert await runtime.timers.fire() == 0
        assert await timers(bench) == {"announce": "pending", "close": "pending"}
        bench.clock.pass_(MINUTE)
        assert await runtime.timers.fire() == 1
    _, announced = await events(bench, stream)
    assert announced.time == START + ANNOUNCED_AFTER


async def test_what_an_earlier_timer_has_just_met_does_not_fire(bench: Bench) -> None:
    """Both are due after a long pause; the first closes, and the second has lost its reason."""

    def close(state: Any, kind: str, due: Any, now: Any) -> list[Any]:
        return [RequestClosed(basis="announced", code=kind)]

    stream = f"request/{case()}"
    async with bench.running(with_deadline(close)) as runtime:
        await append(runtime, stream, submitted())
        bench.clock.pass_(CLOSED_AFTER)
        await fired(bench, runtime)
    assert [envelope.data.get("code") for envelope in await events(bench, stream)] == [
        None,
        "announce",
    ]
    assert await timers(bench) == {"announce": "fired", "close": "cancelled"}


async def _caught_up(bench: Bench, runtime: Any) -> bool:
    return runtime.reader.caught_up_at == bench.clock.now()


async def _fired(bench: Bench, key: str) -> bool:
    sql = "SELECT count(*) FROM timers WHERE case_key = $1 AND status = 'fired'"
    return await bench.value(sql, key) > 0


async def _value(bench: Bench, sql: str) -> object:
    return await bench.value(sql)
