"""What all runs of the long tier did and found, added up in ``docs/results/chaos.json`` and a page.

A run is one deployment: its seed, the commit, what was killed, at which failpoints, what clients
were told, and what did not hold. Runs are kept one by one, so sums can be checked.
"""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.chaos.evidence import Violation
from tests.chaos.kills.campaign import FAILPOINTS, Campaign

RESULTS = Path("docs/results/chaos.json")
VIOLATIONS_MAX = 20


@dataclass
class Run:
    """One deployment; ``checks`` is how often it was brought to rest and judged."""

    seed: int
    commit: str
    checks: int = 0
    seconds: float = 0.0
    rest_seconds_max: float = 0.0
    kills: dict[str, int] = field(default_factory=dict[str, int])
    failpoints: dict[str, int] = field(default_factory=dict[str, int])
    clients: dict[str, int] = field(default_factory=dict[str, int])
    lost: int = 0
    doubled: int = 0
    violations: list[str] = field(default_factory=list[str])
    _started: float = field(default_factory=time.monotonic, repr=False)

    def count(self, campaign: Campaign, violations: Iterable[Violation]) -> None:
        """Take over what a campaign has done so far, and what was found."""
        found = list(violations)
        self.checks += 1
        self.seconds = round(time.monotonic() - self._started, 1)
        self.rest_seconds_max = round(max(campaign.rest_seconds, default=0.0), 1)
        self.kills = dict(sorted(campaign.kills.items()))
        self.failpoints = dict(sorted(campaign.deployment.hits.items()))
        self.clients = dict(sorted(campaign.workload.history.counts().items()))
        self.lost += sum(violation.invariant == "I1" for violation in found)
        self.doubled += sum(violation.invariant == "I4" for violation in found)
        self.violations += [str(violation) for violation in found[:VIOLATIONS_MAX]]


@dataclass
class Results:
    """All runs so far."""

    runs: list[Run] = field(default_factory=list[Run])

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Return what was written; nothing, where there is no file yet."""
        if not path.exists():
            return cls()
        return cls([Run(**run) for run in json.loads(path.read_text())["runs"]])

    def next_seed(self, first: int) -> int:
        """Return the seed after those of all runs."""
        return max((run.seed + 1 for run in self.runs), default=first)

    def add(self, run: Run) -> None:
        """Add a run, or what is new of it."""
        if run not in self.runs:
            self.runs.append(run)

    @property
    def violations(self) -> list[str]:
        """Return what did not hold in any run."""
        return [violation for run in self.runs for violation in run.violations]

    def totals(self) -> dict[str, object]:
        """Return the sums over all runs."""
        return {
            "kills": sum(sum(run.kills.values()) for run in self.runs),
            "kills by kind": _added(run.kills for run in self.runs),
            "failpoints": dict.fromkeys(FAILPOINTS, 0)
            | _added(run.failpoints for run in self.runs),
            "clients": _added(run.clients for run in self.runs),
            "checks": sum(run.checks for run in self.runs),
            "seconds": round(sum(run.seconds for run in self.runs)),
            "lost": sum(run.lost for run in self.runs),
            "doubled": sum(run.doubled for run in self.runs),
            "violations": len(self.violations),
        }

    def summary(self) -> str:
        """Return the sums in one line."""
        totals = self.totals()
        return ", ".join(
            f"{name} {totals[name]}"
            for name in ("kills", "checks", "lost", "doubled", "violations", "failpoints")
        )

    def write(self, path: Path) -> None:
        """Write everything, and the page for people."""
        path.parent.mkdir(parents=True, exist_ok=True)
        runs = [
            {name: value for name, value in asdict(run).items() if not name.startswith("_")}
            for run in self.runs
        ]
        text = json.dumps({"totals": self.totals(), "runs": runs}, indent=1, ensure_ascii=False)
        draft = path.with_suffix(".draft")
        draft.write_text(text + "\n")
        draft.replace(path)
        path.with_suffix(".md").write_text(self._page())

    def _page(self) -> str:
        totals = self.totals()
        lines = ["# Kill cycles", "", "Written by `make chaos` ([how](../how-to/chaos.md)).", ""]
        lines += ["| what | count |", "|---|--:|"]
        for name, value in totals.items():
            if isinstance(value, dict):
                lines += [f"| {name}: {key} | {count:,} |" for key, count in value.items()]
            else:
                lines.append(f"| {name} | {value:,} |")
        lines += ["", "| seed | commit | kills | checks | commands acknowledged | violations |"]
        lines.append("|--:|---|--:|--:|--:|--:|")
        lines += [
            f"| {run.seed} | {run.commit} | {sum(run.kills.values())} | {run.checks} | "
            f"{run.clients.get('commands ok', 0):,} | {len(run.violations)} |"
            for run in self.runs
        ]
        return "\n".join(lines) + "\n"


def commit() -> str:
    """Return the commit that runs, marked with ``+`` where files differ from it."""
    name = ["git", "describe", "--always", "--exclude=*", "--dirty=+", "--abbrev=10"]
    done = subprocess.run(name, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))
