"""The checker finds what is planted, each by its invariant, and nothing where there is nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.history import History
from tests.chaos.kills import planting_rest
from tests.chaos.kills.planting import PLANTS, again, copy_of
from tests.chaos.snapshot import Snapshot

assert planting_rest, "importing it registers its faults beside those of `planting`"
Recorded = tuple[Snapshot, History]


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
