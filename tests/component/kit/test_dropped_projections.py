"""Read models whose table is gone: not fed, not served, and made anew unaided (ADR 0052)."""

import pytest

from casebook.events.request import RequestCommented
from casebook.kit.rebuilding import rebuild
from tests.support.service import Bench, append, case, settled, until
from tests.support.toy import intake, router, submitted

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'intake' AND tablename ~ '^tally_v'"


@pytest.mark.parametrize("drop", ["DROP TABLE {} CASCADE", "DROP VIEW tally"])
async def test_what_somebody_dropped_comes_back_and_nothing_is_parked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, drop: str
) -> None:
    monkeypatch.setattr(rebuild, "LOOK_SECONDS", 0.2)
    key, service = case(), intake()
    async with bench.running(service) as runtime:
        await append(runtime, f"request/{key}", submitted())
        await settled(runtime)
        await bench.fetch(drop.format(await bench.value(TABLES)))
        await append(runtime, f"request/{key}", RequestCommented(body="meanwhile"))
        await settled(runtime)

        async def is_back() -> bool:
            return await bench.value("SELECT to_regclass('intake.tally') IS NOT NULL")

        await until(is_back, [runtime])
        assert runtime.failed_tasks() == []
        await append(runtime, f"request/{key}", RequestCommented(body="and after"))
        await settled(runtime)
    assert await bench.value("SELECT history FROM tally") == "request@1 request@2 request@3"
    assert await bench.value("SELECT count(*) FROM parked") == 0


async def test_who_reads_it_meanwhile_is_told_to_come_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "LOOK_SECONDS", 3600)
    async with bench.serving(intake(), router) as served:
        await append(served.runtime, f"request/{case()}", submitted())
        await settled(served.runtime)
        await bench.fetch("DROP VIEW tally")
        answer = await served.read("/tally", bench.person("ann", "auditor"))
        assert (answer.status_code, answer.json()["code"]) == (503, "rebuilding")
        assert answer.headers["retry-after"]
