"""The long tier keeps every run, and the next begins with the next seed."""

from pathlib import Path

from tests.chaos.kills.results import Results, Run


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
