"""A long run goes on where it was, for one revision of the code, and adds up."""

from collections import Counter
from pathlib import Path

from tests.simulation.faults import FAULTS_OF_CALLS
from tests.simulation.results import Results
from tests.simulation.simulation import Outcome


def outcomes(first: int, last: int) -> list[Outcome]:
    return [Outcome(seed, steps=200 + seed) for seed in range(first, last + 1)]


def test_what_ran_is_not_run_again(tmp_path: Path) -> None:
    path = tmp_path / "simulation.json"
    results = Results.load(path)
    assert results.todo("a", 1, 100) == [range(1, 101)]
    results.add("a", 1, outcomes(1, 50))
    results.add("a", 51, outcomes(51, 60))
    results.add("a", 81, outcomes(81, 90))
    results.save(path)
    again = Results.load(path)
    assert again == results
    assert again.todo("a", 1, 100) == [range(61, 81), range(91, 101)]
    assert again.todo("b", 1, 100) == [range(1, 101)]
    assert [(run["from"], run["to"]) for run in again.runs] == [(1, 60), (81, 90)]
    assert sum(again.depths.values()) == 70


def test_what_was_never_met_is_told() -> None:
    results = Results()
    met = Counter({"a × new × none": 3, "a × new × kill": 1, "a × old × lose": 1})
    results.add("a", 1, [Outcome(1, coverage=met)])
    assert results.covering == 1
    missing = results.never_met()
    assert {"a × old × none", "a × old × kill"} <= set(missing)
    assert not met.keys() & set(missing)
    assert len(missing) + len(met) == 2 * (1 + len(FAULTS_OF_CALLS))


def test_a_failure_is_kept_with_its_seed_and_commit(tmp_path: Path) -> None:
    results = Results()
    results.add("a", 7, [Outcome(7, failure="I1: lost")])
    results.save(tmp_path / "x.json")
    kept = Results.load(tmp_path / "x.json").failures
    assert kept == [{"seed": 7, "commit": "a", "failure": "I1: lost"}]
