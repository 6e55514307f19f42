"""What a handler cannot take waits alone, in order; what is no event is quarantined."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from casebook.events.event import Event
from casebook.events.request import RequestClosed, RequestCommented
from casebook.events.work_order import WorkOrderOpened, WorkOrderStarted
from casebook.kit.decider import Refused
from casebook.kit.keys import open_bytes
from casebook.kit.log.event_log import LogRecord
from casebook.kit.log.memory import MemoryLog
from casebook.kit.read_models.projections import Row
from casebook.kit.verification.verify import Place, verify
from tests.support.foreign import fact, inject, tell
from tests.support.service import Bench, append, case, settled
from tests.support.toy import Tally, intake, submitted


class Counting(Tally):
    """Remembers how often it was asked about each case."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def fold(self, row: Row | None, fact: Any) -> Row:
        self.asked.append(fact.case)
        return super().fold(row, fact)


async def tally(bench: Bench) -> dict[str, str]:
    return {row[0]: row[1] for row in await bench.fetch("SELECT key, history FROM tally")}


async def parked(bench: Bench, status: str = "parked") -> list[tuple[str, int, int]]:
    rows = await bench.fetch(
        'SELECT key, "offset", attempts FROM parked WHERE status = $1 ORDER BY sequence', status
    )
    return [tuple(row) for row in rows]


async def test_a_case_is_parked_after_three_tries_with_its_later_events_behind_it(
    memory: Bench, log: MemoryLog
) -> None:
    bad, good = case(), case()
    projection = Counting()
    projection.failing.add(bad)
    for version in (1, 2):
        tell(log, *(fact(f"work-order/{key}", version, _work(version)) for key in (bad, good)))
    async with memory.running(intake(projection)) as runtime:
        await settled(runtime)
        assert projection.asked.count(bad) == 1 + 3, "once with the others, three times alone"
        assert await tally(memory) == {good: "work-order@1 work-order@2"}
        assert {row[2] for row in await parked(memory)} == {3}

        tell(log, *(fact(f"work-order/{key}", 3, WorkOrderStarted()) for key in (bad, good)))
        await settled(runtime)
        assert projection.asked.count(bad) == 4, "what waits is not tried again"
        assert (await tally(memory))[good].endswith("work-order@3")
        offsets = [row[1] for row in await parked(memory)]
        assert len(offsets) == 3
        assert offsets == sorted(offsets)

        projection.failing.clear()
        assert await runtime.reader.retry_parked(bad) == 3
        tell(log, fact(f"work-order/{bad}", 4, WorkOrderStarted()))
        await settled(runtime)
    same = "work-order@1 work-order@2 work-order@3"
    assert await tally(memory) == {good: same, bad: f"{same} work-order@4"}
    assert await parked(memory) == []


async def test_a_retry_that_fails_again_changes_nothing(memory: Bench, log: MemoryLog) -> None:
    bad = case()
    projection = Tally()
    projection.failing.add(bad)
    tell(log, fact(f"work-order/{bad}", 1, WorkOrderOpened()))
    async with memory.running(intake(projection)) as runtime:
        await settled(runtime)
        before = await parked(memory)
        with pytest.raises(Refused) as refused:
            await runtime.reader.retry_parked(bad)
        assert refused.value.code == "still-failing"
        assert await parked(memory) == before
        assert await tally(memory) == {}


async def test_a_handler_that_fails_now_and_then_is_not_counted_over_batches(
    memory: Bench, log: MemoryLog
) -> None:
    """Two failures today and one next week are no three tries."""
    key = case()

    class Shaky(Tally):
        failures = 0

        def fold(self, row: Row | None, fact: Any) -> Row:
            if self.failures:
                self.failures -= 1
                raise ValueError("not now")
            return super().fold(row, fact)

    projection = Shaky()
    async with memory.running(intake(projection)) as runtime:
        for version in (1, 2, 3):
            projection.failures = 3  # one in the batch, two alone; then it works
            tell(log, fact(f"work-order/{key}", version, WorkOrderStarted()))
            await settled(runtime)
    assert await parked(memory) == []
    assert (await tally(memory))[key].endswith("@3")


async def test_discarded_events_count_and_are_not_folded(tmp_path: Path, bench: Bench) -> None:
    bad, good = case(), case()
    projection = Tally()
    projection.failing.add(bad)
    service = intake(projection)
    async with bench.running(service) as runtime:
        for key in (bad, good):
            await append(runtime, f"request/{key}", submitted(), RequestCommented(body="x"))
        await settled(runtime)
        assert len(await parked(bench)) == 2
        projection.failing.clear()
        assert await runtime.reader.discard_parked(bad) == 2
        await append(runtime, f"request/{bad}", RequestClosed(basis="direct"))
        await settled(runtime)
    assert await tally(bench) == {good: "request@1 request@2", bad: "request@3"}
    assert len(await parked(bench, "discarded")) == 2
    versions = await bench.value("SELECT versions->'request'->>0 FROM cases WHERE key = $1", bad)
    assert versions == "3"
    report = await verify(Place(bench.dsn), [service])
    assert report.differences == []


async def test_a_parked_text_that_the_database_cannot_read_is_given_up_all_the_same(
    memory: Bench, log: MemoryLog
) -> None:
    key = case()
    tell(log, fact(f"request/{key}", 1, submitted(), data={"number": "X\x00Y"}))
    async with memory.running(intake()) as runtime:
        await settled(runtime)
        assert len(await parked(memory)) == 1
        with pytest.raises(Refused):
            await runtime.reader.retry_parked(key)
        assert await runtime.reader.discard_parked(key) == 1


async def test_an_unknown_major_of_a_handled_type_is_parked(memory: Bench, log: MemoryLog) -> None:
    key, other = case(), case()
    later = fact(f"work-order/{key}", 1, WorkOrderOpened(), type="casebook.work-order.opened.v9")
    tell(log, later, fact(f"work-order/{key}", 2, WorkOrderStarted()))
    tell(log, fact(f"work-order/{other}", 1, WorkOrderOpened()))
    async with memory.running(intake()) as runtime:
        await settled(runtime)
    assert [row[0] for row in await parked(memory)] == [key, key]
    assert "UnknownMajor" in await memory.value("SELECT error FROM parked ORDER BY sequence")
    assert list(await tally(memory)) == [other]


@pytest.mark.parametrize(
    "type_", ["casebook.parcel.sent.v1", "casebook.request.cancelled.v7", "not a type"]
)
async def test_what_nobody_handles_is_counted_and_passed(
    memory: Bench, log: MemoryLog, type_: str
) -> None:
    key = case()
    tell(log, fact(f"work-order/{key}", 1, WorkOrderOpened(), type=type_))
    tell(log, fact(f"work-order/{key}", 2, WorkOrderStarted()))
    async with memory.running(intake()) as runtime:
        await settled(runtime)
    assert await parked(memory) == []
    assert await tally(memory) == {key: "work-order@2"}


async def test_data_that_is_not_of_its_type_parks_the_case(memory: Bench, log: MemoryLog) -> None:
    key = case()
    tell(log, fact(f"request/{key}", 1, submitted(), data={"number": 7}))
    async with memory.running(intake()) as runtime:
        await settled(runtime)
        assert runtime.failed_tasks() == []
    assert [row[0] for row in await parked(memory)] == [key]


async def test_a_reason_that_no_database_takes_does_not_stop_the_reader(
    memory: Bench, log: MemoryLog
) -> None:
    bad, good = case(), case()

    class Rude(Tally):
        def fold(self, row: Row | None, fact: Any) -> Row:
            if fact.case == bad:
                raise ValueError("found \x00 and \ud800")
            return super().fold(row, fact)

    tell(log, *(fact(f"work-order/{key}", 1, WorkOrderOpened()) for key in (bad, good)))
    async with memory.running(intake(Rude())) as runtime:
        async with asyncio.timeout(10):
            await settled(runtime)
    assert await tally(memory) == {good: "work-order@1"}
    error = await memory.value("SELECT error FROM parked")
    assert error == "ValueError: found \ufffd and \ufffd"


def _sound(key: str, **changes: Any) -> str:
    attributes = orjson.loads(fact(f"work-order/{key}", 1, WorkOrderOpened()).record())
    return orjson.dumps({k: v for k, v in (attributes | changes).items() if v != ...}).decode()


BROKEN: dict[str, dict[str, Any]] = {
    "no version": {"streamversion": None},
    "version of text": {"streamversion": "1"},
    "version beyond": {"streamversion": 2**31},
    "no subject": {"subject": None},
    "a NUL": {"subject": "work-order/\x00"},
    "data of text": {"data": "x"},
    "another key": {"partitionkey": "somebody-else"},
    "no origin": {"origin": 3},
}


@pytest.mark.parametrize("changes", BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_no_event_is_quarantined_and_the_others_go_on(
    memory: Bench, log: MemoryLog, changes: dict[str, Any]
) -> None:
    key = case()
    record = _sound(key, **changes)
    inject(log, record, key=key, type_=WorkOrderOpened.type)
    tell(log, fact(f"work-order/{key}", 1, WorkOrderOpened()))
    async with memory.running(intake()) as runtime:
        await settled(runtime)
        assert runtime.failed_tasks() == []
        assert await tally(memory) == {key: "work-order@1"}
        (row,) = await memory.fetch("SELECT * FROM quarantine")
        assert (row["reason"], row["channel"]) == ("not-an-event", "log")
        async with runtime.database.background() as connection:
            keys = await runtime.keys.fetch(connection, [row["key_id"]])
        assert open_bytes(keys[row["key_id"]], row["id"], row["body"]) == record.encode()


@pytest.mark.parametrize("record", ["", "nonsense", "[]", "null", '{"a":1}', "\ud800"[:0] + "{"])
async def test_garbage_is_quarantined_even_behind_a_parked_case(
    memory: Bench, log: MemoryLog, record: str
) -> None:
    key = case()
    projection = Tally()
    projection.failing.add(key)
    tell(log, fact(f"work-order/{key}", 1, WorkOrderOpened()))
    async with memory.running(intake(projection)) as runtime:
        await settled(runtime)
        inject(log, record, key=key)
        log.records[0].append(LogRecord(0, len(log.records[0]), "", "", "null", b"", b"\x00\xff"))
        log.add(0, "\x00", "x", record, b"")
        log.add(1, "end", "x", "", b"")
        await settled(runtime)
        projection.failing.clear()
        assert await runtime.reader.retry_parked(key) == 1
    assert await memory.value("SELECT count(*) FROM quarantine") == 4
    assert await tally(memory) == {key: "work-order@1"}


async def test_a_projection_whose_row_does_not_fit_its_table_parks_the_case(
    memory: Bench, log: MemoryLog
) -> None:
    """The driver refuses the value; that is no trouble of the database to wait out."""
    bad, good = case(), case()

    class Wide(Tally):
        def fold(self, row: Row | None, fact: Any) -> Row:
            made = super().fold(row, fact)
            return made | {"facts": 2**40} if fact.case == bad else made

    tell(log, *(fact(f"work-order/{key}", 1, WorkOrderOpened()) for key in (bad, good)))
    async with memory.running(intake(Wide())) as runtime:
        async with asyncio.timeout(10):
            await settled(runtime)
    assert [row[0] for row in await parked(memory)] == [bad]
    assert list(await tally(memory)) == [good]


def _work(version: int) -> Event:
    return WorkOrderOpened() if version == 1 else WorkOrderStarted()
