"""The long tier keeps every run, and the next begins with the next seed."""

from pathlib import Path
from typing import Literal

import pytest

from tests.chaos.kills.results import Results, Run
from tests.chaos.reports import SEEDED, by_file
from tests.support.figures import FIGURE


def test_runs_add_up_over_several_starts(tmp_path: Path) -> None:
    path = tmp_path / "chaos.json"
    results = Results.read(path)
    assert results.next_seed(1) == 1
    first = Run(1, "a", checks=1, kills={"intake": 3, "kafka": 1}, failpoints={"after-commit": 2})
    results.add(first)
    results.write(path)
    again = Results.read(path)
    assert again.next_seed(1) == 2
    again.add(Run(2, "b", checks=2, kills={"intake": 4}, lost=1, violations=["I1: x"]))
    again.write(path)
    totals = Results.read(path).totals()
    assert totals["kills"] == 8
    assert totals["kills by kind"] == {"intake": 7, "kafka": 1}
    assert (totals["checks"], totals["lost"], totals["violations"]) == (3, 1, 1)
    assert "| 2 | b | 4 |" in path.with_suffix(".md").read_text()


def report(
    test: str, when: Literal["setup", "call"], outcome: Literal["passed", "failed"]
) -> pytest.TestReport:
    told = [(FIGURE, "3 kills"), (SEEDED, 7)]
    place = ("", 0, "")
    return pytest.TestReport(
        test, place, {}, outcome, None, when, user_properties=told, duration=1.5
    )  # fmt: skip


def test_what_a_run_of_all_faults_did_is_told_by_file() -> None:
    a, b = "tests/chaos/test_a.py", "tests/chaos/test_b.py"
    reports = [
        report(f"{a}::one", "setup", "passed"), report(f"{a}::one", "call", "passed"),
        report(f"{a}::two", "setup", "failed"), report(f"{b}::one", "call", "failed"),
    ]  # fmt: skip
    assert by_file(reports) == {
        a: {"passed": 1, "failed": 1, "seconds": 4.5, "figures": ["one: 3 kills"], SEEDED: 7},
        b: {"passed": 0, "failed": 1, "seconds": 1.5, "figures": ["one: 3 kills"], SEEDED: 7},
    }
