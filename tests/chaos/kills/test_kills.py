"""kill -9 under load: nothing is lost, nothing happens twice; and who says so is shown to see.

First the checker: it finds what is planted in the record of a deployment in peace, each by its
invariant, and nothing where there is nothing. Then that deployment is struck.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.history import History
from tests.chaos.kills import planting_rest
from tests.chaos.kills.campaign import FAILPOINTS
from tests.chaos.kills.conftest import Site
from tests.chaos.kills.planting import PLANTS, again, copy_of
from tests.chaos.snapshot import Snapshot
from tests.support.figures import Tell
from tests.support.production import SERVICES

assert planting_rest, "importing it registers its faults beside those of `planting`"
Recorded = tuple[Snapshot, History]
KILLS = 22


# --- the checker --------------------------------------------------------------------------------


def test_a_clean_run_is_green(recorded: Recorded) -> None:
    snapshot, history = recorded
    assert [str(violation) for violation in check(snapshot, history)] == []
    assert history.counts()["commands ok"] >= 40
    assert len(snapshot.topic) >= 150


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_red(recorded: Recorded, name: str) -> None:
    invariant, plant = PLANTS[name]
    snapshot, history = copy_of(*recorded)
    plant(snapshot, history)
    found = check(snapshot, history)
    assert invariant in {violation.invariant for violation in found}, [*map(str, found)]


def test_what_the_log_repeats_is_no_fault(recorded: Recorded) -> None:
    snapshot, history = copy_of(*recorded)
    for record in snapshot.topic[::3]:
        again(snapshot, replace(record))
    assert check(snapshot, history) == []


def test_a_command_that_nobody_knows_of_may_have_happened_or_not(recorded: Recorded) -> None:
    snapshot, history = copy_of(*recorded)
    for op in history.ops:
        if op.kind == "command" and op.name == "comment":
            op.outcome = "info"
    lost = replace(history.commands()[-1].first, key="k", trace="f" * 32, outcome="info")
    history.ops.append(lost)
    assert check(snapshot, history) == []


def test_a_history_survives_its_file(recorded: Recorded, tmp_path: Path) -> None:
    _, history = recorded
    history.write(tmp_path / "history.jsonl")
    assert History.read(tmp_path / "history.jsonl") == history


# --- the kills ----------------------------------------------------------------------------------


def test_whatever_is_killed_nothing_is_lost_and_nothing_happens_twice(
    site: Site, tmp_path: Path, tell: Tell
) -> None:
    campaign = site.campaign
    history = campaign.workload.history
    site.run(campaign.strike(KILLS))
    site.run(campaign.cover())
    violations = site.run(campaign.judge())
    history.write(tmp_path / "history.jsonl")
    assert [str(violation) for violation in violations] == [], tmp_path / "history.jsonl"
    kills = ", ".join(f"{name} {count}" for name, count in sorted(campaign.kills.items()))
    hits = ", ".join(f"{name} {campaign.deployment.hits[name]}" for name in FAILPOINTS)
    tell(f"kills: {kills}; failpoints: {hits}; commands: {dict(history.counts())}")
    assert campaign.total >= KILLS
    assert campaign.kills.keys() >= {*SERVICES, "postgres", "kafka"}
    assert campaign.deployment.hits.keys() >= FAILPOINTS.keys()
    assert history.counts()["commands ok"] >= 100
    statuses = Counter(op.status for op in history.ops)
    assert statuses[500] == 0, [op for op in history.ops if op.status == 500][:5]
