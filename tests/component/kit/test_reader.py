"""The reader: each event once and in order, whatever the log, the database and others do."""

import asyncio
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from casebook.events.request import RequestCommented
from casebook.events.work_order import WorkOrderOpened, WorkOrderResolved, WorkOrderStarted
from casebook.kit.log.event_log import PARTITIONS
from casebook.kit.log.memory import MemoryLog
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS
from casebook.kit.reading.applying import Applier
from casebook.kit.runtime import Runtime
from casebook.kit.store.store import Cause
from tests.support.foreign import fact, tell
from tests.support.service import START, Bench, append, case, publish, settled, until
from tests.support.toy import intake, submitted

HISTORY = "SELECT history FROM tally WHERE key = $1"


async def applied(bench: Bench, key: str) -> str | None:
    return await bench.value(HISTORY, key)


async def test_a_repetition_in_the_log_is_applied_once(memory: Bench, log: MemoryLog) -> None:
    key = case()
    async with memory.idle(intake()) as runtime:
        await append(runtime, f"request/{key}", submitted(), RequestCommented(body="x"))
        log.fault = lambda step: (_ for _ in ()).throw(OSError) if step == "ack" else None
        with pytest.raises(OSError):  # noqa: PT011 - the fault has no words
            await publish(runtime)
        log.fault = lambda step: None
        await publish(runtime)
    assert sum((await log.heads()).values()) == 4
    async with memory.running(intake()) as runtime:
        await settled(runtime)
    assert await applied(memory, key) == "request@1 request@2"


async def test_an_event_after_a_gap_waits_until_the_gap_is_filled(
    memory: Bench, log: MemoryLog
) -> None:
    key = case()
    stream = f"work-order/{key}"
    one, two, three = (
        fact(stream, version, event)
        for version, event in enumerate(
            [WorkOrderOpened(), WorkOrderStarted(), WorkOrderStarted()], 1
        )
    )
    async with memory.running(intake()) as runtime:
        tell(log, one, three)
        await settled(runtime)
        assert await applied(memory, key) == "work-order@1"
        tell(log, two, three, two, one)
        await settled(runtime)
    assert await applied(memory, key) == "work-order@1 work-order@2 work-order@3"
    versions = await memory.value("SELECT versions->'work-order'->>0 FROM cases")
    assert versions == "3"


async def test_a_rewritten_version_halts_the_reader(memory: Bench, log: MemoryLog) -> None:
    key, other = case(), case()
    stream = f"work-order/{key}"
    async with memory.serving(intake()) as served:
        tell(log, fact(stream, 1, WorkOrderOpened()), fact(stream, 2, WorkOrderStarted()))
        await settled(served.runtime)
        assert (await served.client.get("/readyz")).status_code == 200
        late = START + timedelta(hours=1)
        tell(log, fact(stream, 2, WorkOrderResolved(), recorded=late))
        tell(log, fact(f"work-order/{other}", 1, WorkOrderOpened()))
        await until(lambda: _true(served.runtime.reader.halted))
        assert "version 2 was rewritten" in str(served.runtime.reader.halted)
        await asyncio.sleep(2.1)  # readiness is asked for at most every two seconds
        ready = await served.client.get("/readyz")
        assert (ready.status_code, ready.json()["failed"]) == (503, ["history"])
    assert await applied(memory, key) == "work-order@1 work-order@2"
    assert await applied(memory, other) is None


async def test_a_repeated_version_of_the_same_time_is_no_rewriting(
    memory: Bench, log: MemoryLog
) -> None:
    stream = f"work-order/{case()}"
    one, two = fact(stream, 1, WorkOrderOpened()), fact(stream, 2, WorkOrderStarted())
    async with memory.running(intake()) as runtime:
        tell(log, one, two, one, two)
        await settled(runtime)
        assert runtime.reader.halted is None


async def test_a_restart_goes_on_where_it_was(bench: Bench) -> None:
    keys = [case() for _ in range(10)]
    for _ in range(3):
        async with bench.running(intake()) as runtime:
            for key in keys:
                await append(runtime, f"request/{key}", submitted())
            await settled(runtime)
    for key in keys:
        assert await applied(bench, key) == "request@1 request@2 request@3"


async def test_a_zombie_waits_and_then_finds_its_batch_applied(
    memory: Bench, log: MemoryLog
) -> None:
    key = case()
    tell(log, fact(f"work-order/{key}", 1, WorkOrderOpened()))
    batch = {number: records for number, records in log.records.items() if records}
    async with memory.idle(intake()) as first, memory.idle(intake()) as zombie:
        async with first.database.transaction() as one:
            done = await Applier(first.store, first.clock).apply(one, batch, isolated=False)
            late = asyncio.create_task(_apply(zombie, batch))
            await asyncio.sleep(0.2)
            assert not late.done(), "nothing held it up"
        held = await late
    assert [len(done.batch.records), len(held.batch.records)] == [1, 0]
    (number,) = batch
    assert held.batch.seeks == {number: 1}
    assert await applied(memory, key) == "work-order@1"


async def test_two_readers_of_one_database_apply_everything_once(bench: Bench) -> None:
    keys = [case() for _ in range(8)]
    async with bench.running(intake()) as one, bench.running(intake()) as two:
        for _ in range(20):
            await asyncio.gather(
                *(append(one, f"request/{key}", RequestCommented(body="x")) for key in keys)
            )
        await settled(one, two)
    for key in keys:
        expected = " ".join(f"request@{version}" for version in range(1, 21))
        assert await applied(bench, key) == expected


async def test_a_log_that_is_away_is_waited_for(memory: Bench, log: MemoryLog) -> None:
    key = case()
    failures = iter([OSError("away")] * 3)

    def fault(step: str) -> None:
        if step == "poll" and (error := next(failures, None)):
            raise error

    log.fault = fault
    tell(log, fact(f"work-order/{key}", 1, WorkOrderOpened()))
    async with memory.running(intake()) as runtime:
        await settled(runtime)
        assert runtime.failed_tasks() == []
    assert next(failures, None) is None
    assert await applied(memory, key) == "work-order@1"


async def test_a_database_that_drops_its_connections_is_waited_for(bench: Bench) -> None:
    keys = [case() for _ in range(30)]
    async with bench.running(intake()) as runtime:
        for number, key in enumerate(keys):
            while True:
                try:
                    await append(runtime, f"request/{key}", submitted())
                    break
                except INFRASTRUCTURE_ERRORS:
                    await asyncio.sleep(0.05)
            if number % 10 == 5:
                await _cut_connections(bench)
        await settled(runtime)
        assert runtime.failed_tasks() == []
    for key in keys:
        assert await applied(bench, key) == "request@1"


async def test_a_reaction_and_a_command_that_create_the_same_stream_both_happen(
    memory: Bench, log: MemoryLog
) -> None:
    """The reaction loses the race once, and decides again on what the command wrote."""
    keys = [case() for _ in range(5)]
    async with memory.idle(intake()) as command, memory.running(intake()) as runtime:
        for key in keys:
            async with command.database.transaction() as connection:
                work = command.store.begin(connection)
                await work.lock([f"request/{key}"])
                await work.append(
                    f"request/{key}", key, [submitted()], Cause(actor="user:wang.fang")
                )
                await work.flush()
                tell(log, fact(f"work-order/{key}", 1, WorkOrderResolved()))
                await asyncio.sleep(0.05)  # the reader has reacted, and waits for this commit
        await settled(runtime)
        assert runtime.failed_tasks() == []
    states = await memory.fetch("SELECT version, state->>'status' FROM streams")
    assert [tuple(row) for row in states] == [(2, "resolved")] * len(keys)
    assert await memory.value("SELECT count(*) FROM parked") == 0


async def test_a_log_that_lost_its_beginning_halts_the_reader(
    memory: Bench, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = case()
    stream = f"work-order/{key}"
    tell(log, *(fact(stream, version, WorkOrderStarted()) for version in range(1, 6)))
    (number,) = (p for p, records in log.records.items() if records)
    async with memory.running(intake()) as runtime:
        await settled(runtime)
    tell(log, *(fact(stream, version, WorkOrderStarted()) for version in range(6, 9)))
    _lose(log, monkeypatch, number, before=7)
    async with memory.running(intake()) as runtime:
        await until(lambda: _true(runtime.reader.halted))
        assert "has no offset 5 any more" in str(runtime.reader.halted)
    assert (await memory.value(HISTORY, key)).endswith("work-order@5")


async def test_a_consumer_that_ran_ahead_is_led_back(
    memory: Bench, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction was rolled back, or a group remembered too much: nothing may be skipped."""
    key = case()
    stream = f"work-order/{key}"
    tell(log, *(fact(stream, version, WorkOrderStarted()) for version in range(1, 6)))
    consumer = log.consumer

    async def ahead(group: str | None) -> Any:
        made = await consumer(group)
        for number in range(PARTITIONS):
            made.seek(number, 3)
        return made

    monkeypatch.setattr(log, "consumer", ahead)
    async with memory.running(intake()) as runtime:
        await settled(runtime)
        assert runtime.reader.halted is None
    assert await memory.value("SELECT facts FROM tally") == 5


async def test_a_log_that_ends_before_what_was_applied_halts_the_reader(
    memory: Bench, log: MemoryLog
) -> None:
    """A topic that was made anew looks empty; waiting for it would lose all that comes."""
    tell(log, fact(f"work-order/{case()}", 1, WorkOrderOpened()))
    async with memory.running(intake()) as runtime:
        await settled(runtime)
        for records in log.records.values():
            records.clear()
        await until(lambda: _true(runtime.reader.halted))
        assert "end before what was applied" in str(runtime.reader.halted)


async def test_it_reads_past_a_moment_under_a_load_that_never_ends(
    memory: Bench, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deadlines and team scope depend on that; the end of a busy log is never reached."""
    stream, heads = f"work-order/{case()}", log.heads
    versions = count(1)

    def more(step: str = "") -> None:
        tell(log, fact(stream, next(versions), WorkOrderStarted()))

    async def busy_heads() -> dict[int, int]:
        more()
        return await heads()

    log.fault = more
    monkeypatch.setattr(log, "heads", busy_heads)
    async with memory.running(intake()) as runtime:
        for _ in range(3):
            memory.clock.pass_(timedelta(minutes=1))
            moment = memory.clock.now()
            await until(lambda: _true(runtime.reader.caught_up_at == moment))  # noqa: B023


def _lose(log: MemoryLog, patch: pytest.MonkeyPatch, number: int, *, before: int) -> None:
    """Lose the records of one partition before an offset, as a retention that was set would."""

    async def starts() -> dict[int, int]:
        return dict.fromkeys(range(PARTITIONS), 0) | {number: before}

    patch.setattr(log, "starts", starts)
    for record in log.records[number][:before]:
        record.offset = -1  # below every checkpoint: dropped, as if it were not there


async def _apply(runtime: Runtime, batch: Any) -> Any:
    async with runtime.database.transaction() as connection:
        return await Applier(runtime.store, runtime.clock).apply(connection, batch, isolated=False)


async def _cut_connections(bench: Bench) -> None:
    await bench.fetch(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()"""
    )


async def _true(value: object) -> bool:
    return bool(value)
