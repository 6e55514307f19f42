"""Read models that somebody drops or spoils while everything runs (F-17)."""

import asyncio
import re

from tests.chaos.ground import Ground, becomes
from tests.chaos.workload import REQUESTERS
from tests.support.production import SERVICES

SEED = 17
_GENERATION = re.compile(r"(.+)_v[0-9]+_[0-9]+")


def generations(ground: Ground) -> list[tuple[str, str, str]]:
    """Return service, projection and active table of every read model."""
    return [
        (service, name, f"{name}_v{version}_{generation}")
        for service in SERVICES
        for name, version, generation in ground.fetch(f"SELECT * FROM {service}.projections")
    ]


async def test_read_models_that_were_dropped_are_made_anew_unaided(ground: Ground) -> None:
    """F-17: meanwhile reads say 503 `rebuilding`, commands go on, and nothing is parked."""
    first = len(ground.history.ops)
    before = generations(ground)
    async with ground.at_work(seed=SEED), ground.people(seed=SEED) as people:
        await asyncio.sleep(1)
        for service, _, table in before:
            ground.fetch(f"DROP TABLE {service}.{table} CASCADE")
        refused = await people.ask(REQUESTERS[0], "GET", "intake", "/requests?limit=5")
        assert refused.status_code in {200, 503}, refused.text
        if refused.status_code == 503:
            assert refused.json()["code"] == "rebuilding"
        await becomes(lambda: len(generations(ground)) == len(before), "all read models")
        await becomes(lambda: not set(before) & set(generations(ground)), "new generations")
    answers = {(op.status, op.code) for op in ground.history.ops[first:] if op.status >= 500}
    assert answers <= {(503, "rebuilding"), (503, "not-caught-up")}
    assert await ground.violations() == []


async def test_a_spoilt_read_model_is_rebuilt_by_an_operator_under_load(ground: Ground) -> None:
    """F-17: rows are changed, added and lost; `casebook rebuild` gives what the log says."""
    async with ground.at_work(seed=SEED + 1):
        await asyncio.sleep(1)
        ground.fetch("UPDATE intake.work SET status = 'waiting', team = 'nobody'")
        ground.fetch("DELETE FROM intake.work WHERE request < '8'")
        ground.fetch("UPDATE monitoring.kpi_facts SET priority = 4")
        for service, name in (("intake", "work"), ("monitoring", "kpi_facts")):
            done = await asyncio.to_thread(
                ground.deployment.production.run, "rebuild", service, name,
                "--reason", "it was spoilt", "--url", ground.deployment.urls[service],
            )  # fmt: skip
            assert done.status == 0, done.err
    assert await ground.violations() == []
