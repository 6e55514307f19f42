"""A database that was restored from an older backup, beside a log that went on (F-19)."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.chaos.ground import Ground, People, becomes
from tests.chaos.workload import AUDITOR, REQUESTERS
from tests.support.backup import Backup

SEED = 19


@contextmanager
def backups() -> Iterator[dict[str, Backup]]:
    """Keep backups for the length of the block."""
    kept: dict[str, Backup] = {}
    try:
        yield kept
    finally:
        for backup in kept.values():
            backup.drop()


async def test_a_restored_service_that_is_behind_the_log_refuses_to_write(ground: Ground) -> None:
    """F-19: fork detected, writes refused with a code, nothing published; reads go on."""
    deployment, dsn = ground.deployment, ground.deployment.production.dsn
    with backups() as kept:
        async with ground.people(seed=SEED) as people:
            request = await people.submit()
            await people.holder(request)
            assert await ground.violations() == []
            kept["old"] = await asyncio.to_thread(Backup, dsn, "intake", "old")
            await people.submit()
            for _ in range(3):
                assert (await people.comment(request)).outcome == "ok"
            assert await ground.violations() == []
            deployment.kill("intake")
            kept["new"] = await asyncio.to_thread(Backup, dsn, "intake", "new")
            await asyncio.to_thread(kept["old"].restore)
            published = records(ground)

            for _ in range(2):  # an orchestrator may start it again: it knows at once
                deployment.start("intake")
                await refuses(ground, people, request)
                deployment.kill("intake")
            assert records(ground) == published, "no second history is published"

            await asyncio.to_thread(kept["new"].restore)  # an operator's decision
            await asyncio.to_thread(deployment.heal)
            assert (await people.comment(request)).outcome == "ok"
    assert await ground.violations() == []


async def refuses(ground: Ground, people: People, request: str) -> None:
    """Check that intake takes no write from the first answer on, says why, and is read."""
    await becomes(lambda: answers(ground), "the process")
    codes: set[str] = set()
    commands = [
        (f"/requests/{request}/comments", {"body": "x"}),
        ("/requests", {"kind": "incident", "title": "x"}),
    ]
    while "history-forked" not in codes:
        for path, body in commands:
            answer = await people.ask(REQUESTERS[0], "POST", "intake", path, body)
            assert answer.status_code == 503, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"]
            codes.add(answer.json()["code"])
    assert codes <= {"history-forked", "history-unproven"}
    seen = await people.ask(AUDITOR, "GET", "intake", f"/requests/{request}")
    assert seen.status_code == 200
    await becomes(lambda: unready(ground) == ["history"], "unreadiness")


def unready(ground: Ground) -> list[str]:
    """Return why intake is not ready."""
    answer = httpx.get(f"{ground.deployment.urls['intake']}/readyz", timeout=10)
    return answer.json()["failed"]


def answers(ground: Ground) -> bool:
    """Say whether intake's process is there."""
    try:
        return httpx.get(f"{ground.deployment.urls['intake']}/livez", timeout=5).is_success
    except httpx.TransportError:
        return False


def records(ground: Ground) -> int:
    """Return how many records of the log quality has read."""
    return ground.value(
        "SELECT sum(next_offset)::int FROM quality.checkpoints WHERE subscription = 'live'"
    )
