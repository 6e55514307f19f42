"""What the long run has done so far: ranges of seeds, depths, coverage; kept and added to.

Seeds count for one revision of the product and the simulation: a failing seed is a schedule only
there. The file keeps the ranges of each revision apart, and adds up what ran at all.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.simulation.faults import FAULTS_OF_CALLS

DEPTH_STEP = 100


@dataclass(slots=True)
class Results:
    """The runs so far."""

    runs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    depths: Counter[int] = field(default_factory=Counter[int])
    faults: Counter[str] = field(default_factory=Counter[str])
    coverage: Counter[str] = field(default_factory=Counter[str])
    covering: int = 0
    """How many schedules the coverage counts."""

    failures: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read the file; begin anew where there is none."""
        if not path.exists():
            return cls()
        kept = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            kept["runs"],
            Counter({int(depth): count for depth, count in kept["steps_per_schedule"].items()}),
            Counter(kept["faults"]),
            Counter(kept["coverage"]),
            kept["schedules_of_coverage"],
            kept["failures"],
        )

    def save(self, path: Path) -> None:
        """Write the file whole, by a rename: a run may be ended at any moment."""
        content = {
            "schedules": sum(run["to"] - run["from"] + 1 for run in self.runs),
            "steps": sum(run["steps"] for run in self.runs),
            "runs": self.runs,
            "failures": self.failures,
            "steps_per_schedule": {str(k): self.depths[k] for k in sorted(self.depths)},
            "faults": dict(sorted(self.faults.items())),
            "schedules_of_coverage": self.covering,
            "coverage": dict(sorted(self.coverage.items())),
            "never_met": self.never_met(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        new.replace(path)

    def never_met(self) -> list[str]:
        """Return each *command × state × fault* that did not occur, of all that could be drawn."""
        states: dict[str, set[str]] = defaultdict(set)
        for cell in self.coverage:
            command, state, _ = cell.split(" × ")
            states[command].add(state)
        return [
            cell
            for command in sorted(states)
            for state in sorted(states[command])
            for fault in ("none", *FAULTS_OF_CALLS)
            if not self.coverage[cell := f"{command} × {state} × {fault}"]
        ]

    def todo(self, commit: str, first: int, last: int) -> list[range]:
        """Return the seeds of a range that this revision has not run yet."""
        done = sorted((r["from"], r["to"]) for r in self.runs if r["commit"] == commit)
        left: list[range] = []
        for start, end in done:
            if start > first:
                left.append(range(first, min(start, last + 1)))
            first = max(first, end + 1)
        left.append(range(first, last + 1))
        return [seeds for seeds in left if len(seeds)]

    def add(self, commit: str, first: int, outcomes: Iterable[Any]) -> None:
        """Add what a row of seeds, the first being ``first``, came to."""
        steps, last = 0, first - 1
        for outcome in outcomes:
            last, steps = outcome.seed, steps + outcome.steps
            self.depths[outcome.steps // DEPTH_STEP * DEPTH_STEP] += 1
            self.faults += outcome.faults
            self.coverage += outcome.coverage
            self.covering += 1
            if outcome.failure is not None:
                found = {"seed": outcome.seed, "commit": commit, "failure": outcome.failure}
                self.failures.append(found)
        if last < first:
            return
        for run in self.runs:
            if run["commit"] == commit and run["to"] == first - 1:
                run["to"], run["steps"] = last, run["steps"] + steps
                return
        self.runs.append({"commit": commit, "from": first, "to": last, "steps": steps})
