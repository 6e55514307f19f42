"""Rounds of the long tier are kept as they end, and the next run goes on with the next seed."""

import json
from pathlib import Path

import pytest

from tests.fuzz import run
from tests.fuzz.outcome import Outcome


def test_rounds_go_on_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def parts(number: int) -> list[Outcome]:
        tried.append(number)
        if len(tried) == 3:
            raise KeyboardInterrupt
        outcome = Outcome()
        outcome.cases["nasty"] += 40
        return [outcome]

    path = tmp_path / "fuzz.json"
    monkeypatch.setattr(run, "RESULTS", path)
    monkeypatch.setattr(run, "_parts", parts)
    monkeypatch.setattr("sys.argv", ["fuzz", "--cases", "100"])
    assert run.main() == 0  # stopped in its third round, which is not counted
    assert json.loads(path.read_text())["total"] == 80
    assert run.main() == 0
    assert tried == [1, 2, 3, 3]
    kept = json.loads(path.read_text())
    assert (kept["total"], [entry["seed"] for entry in kept["rounds"]]) == (120, [1, 2, 3])
