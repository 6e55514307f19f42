"""The long tier: kill cycles until enough, judged every few, added up in ``docs/results``.

``python -m tests.chaos.kills --cycles 300 --seconds 3600 --seed 7``; both limits are optional. It
goes on where the last run ended, with the next seed. Ctrl-C judges and keeps what was done so far;
a second Ctrl-C ends at once. What was violated is kept below ``.cache/chaos`` with the history.
"""

import argparse
import asyncio
import pickle
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.deployment import Deployment, new_deployment
from tests.chaos.evidence import Violation
from tests.chaos.kills.campaign import Campaign, Progress
from tests.chaos.kills.results import RESULTS, Results, Run, commit

KEPT = Path(".cache/chaos")
KILLS_A_ROUND = 20
ROUNDS_A_DEPLOYMENT = 5
SEED = 1


@dataclass
class Limits:
    """How much is wanted of this run; ``ends`` in seconds of the monotonic clock."""

    cycles: int
    ends: float
    done: int = 0

    @property
    def left(self) -> int:
        """Return how many kills are still wanted now."""
        return 0 if time.monotonic() > self.ends else max(0, self.cycles - self.done)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and return 0 when everything held."""
    parser = argparse.ArgumentParser(prog="tests.chaos.kills", description=__doc__)
    parser.add_argument("--cycles", type=int, default=300, help="kills of this run")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="ends by then")
    parser.add_argument("--seed", type=int, help="default: the next after the last run")
    wanted = parser.parse_args(arguments)
    limits = Limits(wanted.cycles, time.monotonic() + wanted.seconds)
    results = Results.read(RESULTS)
    seed = results.next_seed(SEED) if wanted.seed is None else wanted.seed
    progress = Progress(wanted.cycles, _say)
    try:
        while limits.left and not results.violations:
            _deployment(seed, limits, results, progress)
            seed += 1
    except KeyboardInterrupt:
        _say("\nended by you\n")
    _say(f"\n{results.summary()}\n")
    return 1 if results.violations else 0


def _deployment(seed: int, limits: Limits, results: Results, progress: Progress) -> None:
    """Kill and judge on one deployment."""
    run = Run(seed, commit())
    with new_deployment() as deployment, asyncio.Runner() as runner:
        campaign = Campaign.of(deployment, seed)
        runner.run(campaign.workload.prepare())
        before = limits.done

        def told(total: int) -> None:
            limits.done = before + total
            progress(limits.done)

        for _ in range(ROUNDS_A_DEPLOYMENT):
            kills = min(KILLS_A_ROUND, limits.left)
            interrupted = False
            try:
                runner.run(campaign.strike(kills, told=told))
            except KeyboardInterrupt:
                interrupted = True
                _say("\nhealing and judging; once more Ctrl-C ends at once\n")
            violations = runner.run(_judged(campaign, deployment, seed))
            run.count(campaign, violations)
            results.add(run)
            results.write(RESULTS)
            if interrupted:
                raise KeyboardInterrupt
            if violations or not limits.left:
                break
        runner.run(campaign.workload.close())


async def _judged(campaign: Campaign, deployment: Deployment, seed: int) -> list[Violation]:
    """Heal and judge; keep everything that may explain a violation."""
    folder = KEPT / str(seed)
    try:
        snapshot = await campaign.rest()
        violations = await asyncio.to_thread(check, snapshot, campaign.workload.history)
    except TimeoutError as error:
        snapshot, violations = None, [Violation("I7", "rest", str(error) or repr(error))]
    if violations:
        folder.mkdir(parents=True, exist_ok=True)
        campaign.workload.history.write(folder / "history.jsonl")
        (folder / "violations.txt").write_text("".join(f"{found}\n" for found in violations))
        (folder / "snapshot.pickle").write_bytes(pickle.dumps(snapshot))
        for log in deployment.production.folder.glob("*.log"):
            (folder / log.name).write_bytes(log.read_bytes())
        _say(f"\n{len(violations)} violations, see {folder}: {violations[0]}\n")
    return violations


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        raise SystemExit(main())
