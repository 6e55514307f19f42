"""Rebuilds in a process of their own: it folds, is begun again when killed, ends with us."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from casebook.events.request import RequestCommented
from casebook.kit import metrics
from casebook.kit.rebuilding import rebuild as rebuilding
from casebook.kit.rebuilding.process import RebuildFailed, task_of
from casebook.kit.rebuilding.rebuild import rebuild
from casebook.kit.runtime import Runtime
from tests.support.child import child
from tests.support.elsewhere import BROKEN, MADE_BY, MAKING, SERVICE
from tests.support.service import Bench, append, case, settled, until

FACTS, BATCH = 600, 60
POSITION = "SELECT coalesce(sum(next_offset), 0) FROM checkpoints WHERE subscription ~ 'rebuild'"
GENERATION = "SELECT generation FROM projections WHERE name = 'tally'"
Batches = Callable[..., Any]


async def fill(runtime: Runtime, facts: int = FACTS) -> None:
    keys = [case() for _ in range(20)]
    for _ in range(facts // 20):
        await asyncio.gather(
            *(append(runtime, f"request/{key}", RequestCommented(body="x")) for key in keys)
        )
    await settled(runtime)


async def worker(bench: Bench) -> int:
    """Return the process that has committed something of a rebuild, and is not at its end."""

    async def has_begun() -> bool:
        there = await bench.value("SELECT to_regclass($1) IS NOT NULL", MAKING)
        return there and await bench.value(f"SELECT count(*) FROM {MAKING}") > 0

    await until(has_begun)
    return int(await bench.value(f"SELECT max(mark) FROM {MAKING}"))


def runs(process: int) -> bool:
    """Say whether a process is there, and not only its status."""
    with suppress(FileNotFoundError):
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
        return stat.rpartition(")")[2].split()[0] != "Z"
    return False


async def test_another_process_folds_and_is_gone_afterwards(bench: Bench) -> None:
    async with bench.running(SERVICE) as runtime:
        await fill(runtime)
        assert await bench.fetch(MADE_BY) == [(os.getpid(),)]
        done = await rebuild(runtime, SERVICE.projections[0])
        assert (done.generation, done.records) == (2, FACTS)
        ((made_by,),) = await bench.fetch(MADE_BY)
        assert made_by != os.getpid()
        assert not runs(made_by)
        await append(runtime, f"request/{case()}", RequestCommented(body="y"))
        await settled(runtime)
        assert await bench.value("SELECT sum(facts)::int FROM tally") == FACTS + 1
    told = metrics.REBUILD_PROGRESS.labels("intake", "tally")._value.get()  # pyright: ignore
    assert told == 1.0


async def test_a_worker_that_is_killed_is_begun_again_where_it_was(bench: Bench) -> None:
    async with bench.running(SERVICE, batch_records_max=BATCH) as runtime:
        await fill(runtime)
        asked = asyncio.create_task(rebuild(runtime, SERVICE.projections[0]))
        killed = await worker(bench)
        os.kill(killed, signal.SIGKILL)
        await until(lambda: _is_alone(bench))
        position = await bench.value(POSITION)
        assert 0 < position < FACTS
        done = await asked
        assert (done.generation, done.records) == (2, FACTS - position)
        assert killed not in {os.getpid(), max(row[0] for row in await bench.fetch(MADE_BY))}
    assert await bench.value("SELECT sum(facts)::int FROM tally") == FACTS


async def test_it_ends_with_the_service_that_stops_and_goes_on_with_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "LOOK_SECONDS", 0.1)
    async with bench.running(SERVICE, batch_records_max=BATCH) as runtime:
        await fill(runtime)
        await bench.fetch("DROP VIEW tally")
        process = await worker(bench)
        assert runs(process)
    assert not runs(process)
    assert await bench.value(GENERATION) == 1
    async with bench.running(SERVICE) as runtime:
        await until(lambda: _is_made(bench), [runtime])
        assert runtime.failed_tasks() == []
    assert await bench.value("SELECT sum(facts)::int FROM tally") == FACTS


async def test_it_ends_with_a_service_that_is_killed(bench: Bench) -> None:
    async with bench.running(SERVICE) as runtime:
        await fill(runtime)
    await bench.fetch("DROP VIEW tally")
    async with child(bench, found_at=SERVICE.found_at, batch_records_max=BATCH):
        process = await worker(bench)
        assert runs(process)

    async def has_ended() -> bool:
        return not runs(process)

    await until(has_ended)
    assert await bench.value(GENERATION) == 1, "killed before the end"


async def test_what_fails_is_told_once_by_the_process_that_failed(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    async with bench.running(BROKEN) as runtime:
        await fill(runtime, 20)
        with pytest.raises(RebuildFailed, match="rebuild of tally ended with status 1"):
            await rebuild(runtime, BROKEN.projections[0])
        assert not runtime.rebuilding.locked()
        assert await bench.value("SELECT count(*) FROM tally") == 20, "the old one is read"
    told = [line for line in capfd.readouterr().err.splitlines() if "rebuild.failed" in line]
    assert len(told) == 1
    assert "planted by a test" in told[0]


async def test_a_worker_is_given_no_key(bench: Bench) -> None:
    settings = task_of(bench.runtime(SERVICE), "x:Y", "tally")["settings"]
    assert settings["database_url"] == bench.dsn
    assert bench.settings.signing_key is not None
    assert bench.settings.master_key_file is not None
    assert settings["signing_key"] is settings["master_key_file"] is None


async def _is_made(bench: Bench) -> bool:
    return await bench.value(GENERATION) == 2


async def _is_alone(bench: Bench) -> bool:
    """Say whether no session holds a rebuild any more: what the killed one sent is done."""
    sql = "SELECT count(*) FROM pg_locks WHERE relation = to_regclass($1)"
    return await bench.value(sql, MAKING) == 0
