"""Read models: written batch by batch, rebuilt beside the reads, swapped in one moment."""

import asyncio
from itertools import count
from typing import Any

import pytest

from casebook.events.request import RequestCommented
from casebook.events.work_order import WorkOrderResolved, WorkOrderStarted
from casebook.kit.decider import Fact
from casebook.kit.log.memory import MemoryLog
from casebook.kit.read_models.projections import ProjectionTable, Row
from casebook.kit.rebuilding.rebuild import rebuild  # pyright: ignore[reportPrivateUsage]
from casebook.kit.runtime import Runtime
from tests.support.child import child
from tests.support.foreign import fact, tell
from tests.support.reading import Reads, after_reads, reads
from tests.support.service import Bench, append, case, settled, until
from tests.support.swaps import held_swaps
from tests.support.toy import Tally, intake, router, submitted

FILLED, BATCH = 300, 60
"""How many events there are at first, and how many of them a reader takes at a time."""
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'intake' AND tablename ~ '^tally_v'"
REBUILT = "SELECT version, generation FROM projections"


async def fill(runtime: Runtime, cases: int = 20, rounds: int = 15) -> list[str]:
    keys = [case() for _ in range(cases)]
    for _ in range(rounds):
        await asyncio.gather(
            *(append(runtime, f"request/{key}", RequestCommented(body="x")) for key in keys[:10]),
            *(append(runtime, f"request/{key}", submitted()) for key in keys[10:]),
        )
    await settled(runtime)
    return keys


async def test_a_batch_is_one_load_and_one_write_whatever_it_holds(
    memory: Bench, log: MemoryLog
) -> None:
    keys = [case() for _ in range(50)]
    statements: list[str] = []
    async with memory.idle(intake()) as runtime:
        for first in (1, 5):
            facts = [_fact(key, v) for v in range(first, first + 4) for key in keys]
            statements.clear()  # at first the driver asks for the types too
            async with runtime.database.transaction() as connection:
                raw: Any = connection
                with raw.query_logger(lambda query: statements.append(query.query)):
                    table = ProjectionTable(Tally(), "tally_v1_1")
                    assert await table.apply(connection, facts) == 50
                    await asyncio.sleep(0)
            if first == 5:
                assert len(statements) == 2, statements
    assert await memory.value("SELECT sum(facts)::int FROM tally") == 400


async def test_reads_go_on_through_a_rebuild_of_a_new_version(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None fails, none sees both versions, none sees the new one unfinished."""
    seen = Reads()
    waited = after_reads(monkeypatch, seen, records=FILLED)
    async with bench.running(intake(Tally(1))) as runtime:
        keys = await fill(runtime)
    async with bench.serving(intake(Tally(2)), router, batch_records_max=BATCH) as served:
        async with reads(served, seen):
            writing = asyncio.create_task(_write(served.runtime, keys))
            await until(lambda: _is(bench, REBUILT, (2, 2)))
            await seen.another()
            writing.cancel()
        await settled(served.runtime)
        total = await bench.value("SELECT count(*) FROM events")
        auditor = bench.person("qian.yu", "auditor")
        assert (await served.read("/tally", auditor)).json() == {"v2": total}
    assert seen.failures == []
    assert list(dict.fromkeys(seen.marks)) == ["v1", "v2"]
    assert waited["_prepare"] >= 1
    assert waited["_step"] >= FILLED / BATCH
    assert seen.marks.count("v1") >= waited.total() > waited["_step"] + 1
    assert seen.facts == sorted(seen.facts), "a read saw less than an earlier one"
    assert seen.slowest_seconds < 3.0
    assert [row[0] for row in await bench.fetch(TABLES)] == ["tally_v2_2"]


async def test_a_rebuild_of_the_same_version_hides_nothing_for_a_moment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Reads()
    waited = after_reads(monkeypatch, seen, records=FILLED)
    async with bench.serving(intake(), router, batch_records_max=BATCH) as served:
        keys = await fill(served.runtime)
        writing = asyncio.create_task(_write(served.runtime, keys))
        async with reads(served, seen):
            for _ in range(2):
                await rebuild(served.runtime, served.runtime.service.projections[0])
        writing.cancel()
        await settled(served.runtime)
        assert seen.failures == []
        assert seen.facts == sorted(seen.facts)
        assert waited["_prepare"] >= 2
        assert waited["_step"] >= 2 * FILLED / BATCH
        assert len(seen.facts) >= waited.total() > waited["_step"] + 2
        total = await bench.value("SELECT count(*) FROM events")
        assert await bench.value("SELECT sum(facts)::int FROM tally") == total
    assert await bench.fetch(REBUILT) == [(1, 3)]
    assert [row[0] for row in await bench.fetch(TABLES)] == ["tally_v1_3"]


async def test_a_rebuild_that_was_killed_goes_on_where_it_was(bench: Bench) -> None:
    async with bench.running(intake(Tally(1))) as runtime:
        await fill(runtime, rounds=40)
    position = (
        "SELECT coalesce(sum(next_offset), 0) FROM checkpoints WHERE subscription ~ 'rebuild'"
    )
    async with child(bench, version=2, batch_records_max=60):
        await until(lambda: _above(bench, position, 200))
    killed_at = await bench.value(position)
    assert 200 < killed_at < 800
    assert await bench.fetch("SELECT version, generation FROM rebuilds") == [(2, 2)]
    assert await bench.fetch(REBUILT) == [(1, 1)], "the old one is read until the end"

    async with bench.idle(intake(Tally(2))) as runtime:
        finished = await rebuild(runtime, runtime.service.projections[0])
    assert finished.records == 800 - killed_at
    assert await bench.fetch(REBUILT) == [(2, 2)]
    assert await bench.value("SELECT sum(facts)::int FROM tally WHERE mark = 'v2'") == 800
    assert await bench.value("SELECT count(*) FROM rebuilds") == 0
    assert await bench.value(position) == 0


async def test_reactions_never_run_in_a_rebuild(memory: Bench, log: MemoryLog) -> None:
    keys = [case() for _ in range(5)]
    tell(log, *(fact(f"work-order/{key}", 1, WorkOrderResolved()) for key in keys))
    async with memory.running(intake()) as runtime:
        await settled(runtime)
        assert await memory.value("SELECT count(*) FROM events") == 5
        rebuilt = await rebuild(runtime, runtime.service.projections[0])
        await settled(runtime)
    assert rebuilt.records == 10
    assert await memory.value("SELECT count(*) FROM events") == 5


async def test_a_log_that_never_rests_cannot_keep_a_rebuild_from_ending(
    memory: Bench, log: MemoryLog
) -> None:
    """With every poll more is written, so that neither reader is ever at the end."""
    stream = f"work-order/{case()}"
    versions = count(1)

    def more(step: str) -> None:
        tell(log, *(fact(stream, next(versions), WorkOrderStarted()) for _ in range(3)))

    log.fault = more
    async with memory.running(intake()) as runtime:
        await until(lambda: _above(memory, "SELECT facts FROM tally", 50))
        async with asyncio.timeout(10):
            await rebuild(runtime, runtime.service.projections[0])
        assert await memory.fetch(REBUILT) == [(1, 2)]
        log.fault = lambda step: None
        await settled(runtime)
    assert await memory.value("SELECT facts FROM tally") == next(versions) - 1


async def test_a_rebuild_leaves_out_what_is_parked_and_takes_what_was_released(
    memory: Bench, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One case stays parked, one is released, one discarded, while the rebuild waits to swap."""
    stays, released, discarded, good = (case() for _ in range(4))
    projection = Tally()
    projection.failing |= {stays, released, discarded}
    for version in (1, 2):
        tell(log, *(_envelope(key, version) for key in (stays, released, discarded, good)))
    swaps = held_swaps(monkeypatch)
    async with memory.running(intake(projection)) as runtime:
        await settled(runtime)
        rebuilding = asyncio.create_task(rebuild(runtime, projection))
        await swaps.reached.wait()
        projection.failing.clear()
        assert await runtime.reader.retry_parked(released) == 2
        assert await runtime.reader.discard_parked(discarded) == 2
        projection.failing.add(stays)
        tell(log, *(_envelope(key, 3) for key in (stays, released, discarded, good)))
        await settled(runtime)
        before = await _histories(memory)
        swaps.go.set()
        await rebuilding
        assert await memory.fetch(REBUILT) == [(1, 2)]
        assert await _histories(memory) == before
        projection.failing.clear()
        assert await runtime.reader.retry_parked(stays) == 3
        tell(log, *(_envelope(key, 4) for key in (stays, released, discarded, good)))
        await settled(runtime)
    full = " ".join(f"work-order@{version}" for version in (1, 2, 3, 4))
    assert await _histories(memory) == {
        stays: full,
        released: full,
        good: full,
        discarded: "work-order@3 work-order@4",
    }


@pytest.mark.parametrize("again", [False, True])
async def test_a_rebuild_keeps_what_was_applied_before_a_case_was_parked(
    memory: Bench, log: MemoryLog, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """Parked at its third event; or released while the rebuild waits, and parked at its fourth."""
    key, projection, swaps = case(), Tally(), held_swaps(monkeypatch)
    tell(log, _envelope(key, 1), _envelope(key, 2))
    async with memory.running(intake(projection)) as runtime:
        await settled(runtime)
        projection.failing.add(key)
        tell(log, _envelope(key, 3))
        await settled(runtime)
        projection.failing.clear()
        rebuilding = asyncio.create_task(rebuild(runtime, projection))
        if again:
            held = "SELECT count(*) FROM parked WHERE subscription = 'rebuild:tally'"
            await until(lambda: _is(memory, held, (1,)))
            await runtime.reader.retry_parked(key)
            projection.failing.add(key)
            tell(log, _envelope(key, 4))
            await settled(runtime)
            projection.failing.clear()
        before = await _histories(memory)
        swaps.go.set()
        await rebuilding
        assert await _histories(memory) == before
        await runtime.reader.retry_parked(key)
        await settled(runtime)
    last = 4 if again else 3
    full = " ".join(f"work-order@{version}" for version in range(1, last + 1))
    assert await _histories(memory) == {key: full}


async def test_an_older_release_reads_no_further_once_a_newer_one_has_taken_over(
    bench: Bench,
) -> None:
    """Else it would count as applied what the newer one's table then never gets."""
    async with bench.running(intake(Tally(1))) as old:
        keys = await fill(old, rounds=2)
        async with bench.running(intake(Tally(2))) as new:
            await until(lambda: _is(bench, REBUILT, (2, 2)))

            async def halted() -> bool:
                await append(new, f"request/{keys[0]}", RequestCommented(body="x"))
                return old.reader.halted is not None

            await until(halted)
            await settled(new)
            assert "tally is of version 2" in str(old.reader.halted)
            assert new.reader.halted is None
    counted = await bench.value("SELECT sum(facts)::int FROM tally")
    assert counted == await bench.value("SELECT count(*) FROM events")


async def test_a_release_that_was_rolled_back_makes_its_own_again(bench: Bench) -> None:
    async with bench.running(intake(Tally(2))) as newer:
        keys = await fill(newer, rounds=2)
        await until(lambda: _is(bench, REBUILT, (2, 2)))
    async with bench.running(intake(Tally(1))) as older:
        await append(older, f"request/{keys[0]}", RequestCommented(body="x"))
        await until(lambda: _is(bench, REBUILT, (1, 3)))
        await settled(older)
        assert older.reader.halted is None
    counted = await bench.value("SELECT sum(facts)::int FROM tally")
    assert counted == await bench.value("SELECT count(*) FROM events")


async def test_two_rebuilds_at_once_make_one(bench: Bench) -> None:
    async with bench.running(intake()) as one, bench.running(intake()) as two:
        await fill(one)
        await asyncio.gather(
            *(rebuild(runtime, runtime.service.projections[0]) for runtime in (one, two))
        )
        assert one.failed_tasks() == two.failed_tasks() == []
    assert await bench.value("SELECT sum(facts)::int FROM tally") == 300
    assert len(await bench.fetch(TABLES)) == 1


async def test_a_version_that_fails_leaves_the_old_one_to_be_read(bench: Bench) -> None:
    async with bench.running(intake(Tally(1))) as runtime:
        keys = await fill(runtime, cases=2, rounds=1)
    broken = Tally(2)
    broken.failing.add(keys[0])
    async with bench.serving(intake(broken), router) as served:
        await until(lambda: _above(bench, "SELECT count(*) FROM rebuilds", 0))
        await asyncio.sleep(0.3)
        auditor = bench.person("qian.yu", "auditor")
        assert (await served.read("/tally", auditor)).json() == {"v1": 2}
        assert (await served.client.get("/readyz")).status_code == 200


class Dropping(Tally):
    """Forgets a case when its work is resolved."""

    def fold(self, row: Row | None, fact: Any) -> Row | None:  # type: ignore[override]
        return None if isinstance(fact.event, WorkOrderResolved) else super().fold(row, fact)


async def test_a_fold_may_drop_its_row_and_begin_it_again(memory: Bench, log: MemoryLog) -> None:
    one, two = case(), case()
    for version in (1, 2):
        tell(log, *(_envelope(key, version) for key in (one, two)))
    async with memory.running(intake(Dropping())) as runtime:
        await settled(runtime)
        tell(log, fact(f"work-order/{one}", 3, WorkOrderResolved()))
        tell(log, fact(f"work-order/{two}", 3, WorkOrderResolved()), _envelope(two, 4))
        await settled(runtime)
    assert await _histories(memory) == {two: "work-order@4"}


def _envelope(key: str, version: int) -> Any:
    return fact(f"work-order/{key}", version, WorkOrderStarted())


def _fact(key: str, version: int) -> Any:
    return Fact(_envelope(key, version), WorkOrderStarted())


async def _write(runtime: Runtime, keys: list[str]) -> None:
    for number in count():
        await append(runtime, f"request/{keys[number % len(keys)]}", RequestCommented(body="y"))
        await asyncio.sleep(0.01)


async def _is(bench: Bench, sql: str, wanted: tuple[object, ...]) -> bool:
    return await bench.fetch(sql) == [wanted]


async def _above(bench: Bench, sql: str, least: int) -> bool:
    return (await bench.value(sql) or 0) > least


async def _histories(bench: Bench) -> dict[str, str]:
    return {row[0]: row[1] for row in await bench.fetch("SELECT key, history FROM tally")}
