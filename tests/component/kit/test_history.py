"""A store that was restored from an older backup does not write a second history (ADR 0050)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from casebook.events.request import RequestCommented
from casebook.kit.bookkeeping.history import HistoryInDoubt
from casebook.kit.http.problems import unexpected
from casebook.kit.log.memory import MemoryLog
from casebook.kit.logging import get_logger
from casebook.kit.runtime import Runtime
from tests.support.backup import Backup
from tests.support.foreign import fact, tell
from tests.support.service import Bench, append, case, settled, until
from tests.support.toy import intake, submitted


@dataclass
class Restored:
    """A service whose store was put back to before its last event."""

    bench: Bench
    log: MemoryLog
    key: str
    published: int


@pytest.fixture
async def restored(memory: Bench, log: MemoryLog) -> AsyncGenerator[Restored]:
    async with _history(memory, log, "old") as (old, key):
        async with memory.running(intake()) as runtime:
            await append(runtime, f"request/{key}", RequestCommented(body="later"))
            await settled(runtime)
        old.restore()
        yield Restored(memory, log, key, _length(log))


@asynccontextmanager
async def _history(bench: Bench, log: MemoryLog, name: str) -> AsyncGenerator[tuple[Backup, str]]:
    """Let a service publish something, and back its store up."""
    key = case()
    async with bench.running(intake()) as runtime:
        await append(runtime, f"request/{key}", submitted())
        await settled(runtime)
    backup = Backup(bench.dsn, "intake", name)
    try:
        yield backup, key
    finally:
        backup.drop()


def _length(log: MemoryLog) -> int:
    return sum(map(len, log.records.values()))


async def test_a_store_that_is_behind_the_log_is_found_before_the_first_command(
    restored: Restored,
) -> None:
    async with restored.bench.running(intake()) as runtime:
        with pytest.raises(HistoryInDoubt) as doubt:
            await append(runtime, f"request/{restored.key}", RequestCommented(body="other"))
        problem = unexpected(doubt.value, get_logger("test"))
        assert (problem.status, problem.code) == (503, "history-forked")
        await until(lambda: _halted(runtime))
        assert "request/" in str(runtime.reader.halted)
    assert _length(restored.log) == restored.published
    assert await restored.bench.value("SELECT count(*) FROM events") == 1


async def test_it_is_found_again_after_a_restart(restored: Restored) -> None:
    """What the log remembers of the reader must not be worn down by each attempt."""
    for _ in range(3):
        async with restored.bench.running(intake()) as runtime:
            await until(lambda r=runtime: _halted(r))
            with pytest.raises(HistoryInDoubt):
                runtime.store.begin(None)  # type: ignore[arg-type]


async def test_what_a_forked_store_holds_is_not_published(restored: Restored) -> None:
    """The outbox of an old store may hold what the log has already; here it is something new."""
    async with restored.bench.idle(intake()) as runtime:
        await append(runtime, f"request/{case()}", submitted())  # by hand, past every check
    async with restored.bench.running(intake()) as runtime:
        await until(lambda: _halted(runtime))
        runtime.signals.outbox.set()
    assert _length(restored.log) == restored.published
    assert await restored.bench.value("SELECT count(*) FROM outbox") == 1


async def test_an_older_store_that_lost_nothing_of_its_own_goes_on(
    memory: Bench, log: MemoryLog
) -> None:
    """Only what others said was read since the backup: it is read again, and all is well."""
    async with _history(memory, log, "old") as (old, key):
        async with memory.running(intake()) as runtime:
            tell(log, fact(f"case-of-others/{key}", 1, submitted(), type="casebook.parcel.sent.v1"))
            await settled(runtime)
        old.restore()
        async with memory.running(intake()) as runtime:
            assert runtime.history.fork is None
            await append(runtime, f"request/{key}", RequestCommented(body="on"))
            await settled(runtime)
            assert runtime.reader.halted is None


async def test_an_event_of_ours_that_only_the_log_has_halts_whoever_reads_it(
    memory: Bench, log: MemoryLog
) -> None:
    """Where the log remembers nothing of the reader, the reading itself finds it."""
    async with memory.running(intake()) as runtime:
        key = case()
        tell(log, fact(f"request/{key}", 1, submitted(), source="/casebook/intake"))
        await until(lambda: _halted(runtime))
        with pytest.raises(HistoryInDoubt):
            await append(runtime, f"request/{case()}", submitted())
        assert await memory.value("SELECT count(*) FROM cases") == 0


async def test_a_log_that_is_away_at_the_start_is_not_waited_for(
    memory: Bench, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: MemoryLog, group: str) -> dict[int, int]:
        raise OSError("away")

    monkeypatch.setattr(MemoryLog, "remembered", away)
    async with memory.running(intake()) as runtime:
        await append(runtime, f"request/{case()}", submitted())
        assert _length(log) == 0, "nothing is published before the log was asked"
        monkeypatch.undo()
        await settled(runtime)
    assert _length(log) == 1


async def _halted(runtime: Runtime) -> bool:
    return runtime.reader.halted is not None
