"""``make simulate SEEDS=a..b``: run schedules for as long as one likes, and add them up.

It goes on where it was: ended with Ctrl-C, or by ``LIMIT`` failures, it keeps what ran. A failing
seed prints the command that replays it; ``TRACE=1`` prints its steps.
"""

import argparse
import multiprocessing
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.simulation.results import Results
from tests.simulation.simulation import Outcome, run_seed
from tests.simulation.stage import Stage, staged

RESULTS = Path("docs/results/simulation.json")
CHUNK = 50
SAVED_SECONDS = 10.0
FAILURES_MAX = 20
WATCHED = ("libs", "services", "tests/simulation")
"""What a schedule depends on."""


def main() -> int:
    """Run the seeds that were asked for; return how the process ends."""
    arguments = _arguments()
    first, _, last = arguments.seeds.partition("..")
    seeds = range(int(first), int(last or first) + 1)
    if arguments.trace:
        return _replay(seeds)
    commit = revision()
    results = Results.load(arguments.results)
    left = results.todo(commit, seeds.start, seeds.stop - 1)
    chunks = [
        range(start, min(start + CHUNK, part.stop))
        for part in left
        for start in range(part.start, part.stop, CHUNK)
    ]
    print(f"simulation of {commit}: {sum(map(len, chunks))} of {len(seeds)} seeds to run")
    failed = _run(chunks, arguments.jobs, results, commit, arguments.results)
    _summary(results)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("seeds", help="a..b, or one seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes to run at once")
    parser.add_argument("--trace", action="store_true", help="print the steps of the seeds")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


def revision() -> str:
    """Return the commit, with a plus where what schedules depend on was changed since."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    return f"{commit}+" if _git("status", "--porcelain", "--", *WATCHED) else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(("git", *arguments), check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _replay(seeds: range) -> int:
    """Print the steps of seeds; return 1 if one fails."""
    failed = False
    with staged() as stage:
        for seed in seeds:
            outcome = run_seed(seed, stage, tracing=True)
            print("\n".join(outcome.traces))
            print(
                f"seed {seed}: {outcome.failure or 'all invariants hold'} ({outcome.steps} steps)"
            )
            failed = failed or outcome.failure is not None
    return 1 if failed else 0


def _run(chunks: list[range], jobs: int, results: Results, commit: str, path: Path) -> int:
    """Run chunks of seeds, keeping the results now and then; return how many seeds failed."""
    started, done, failed = time.monotonic(), 0, 0
    saved = started
    total = sum(map(len, chunks))
    with suppress(KeyboardInterrupt):
        for outcomes in outcomes_of(chunks, jobs):
            results.add(commit, outcomes[0].seed, outcomes)
            if time.monotonic() - saved > SAVED_SECONDS:
                results.save(path)
                saved = time.monotonic()
            done += len(outcomes)
            for outcome in outcomes:
                if outcome.failure is not None:
                    failed += 1
                    _report(outcome)
            rate = done / (time.monotonic() - started)
            left = (total - done) / rate
            print(f"\r{done}/{total} seeds, {rate:.1f}/s, {left / 60:.0f} min left ", end="")
            sys.stdout.flush()
            if failed >= FAILURES_MAX:
                print(f"\nended after {failed} failures")
                break
    results.save(path)
    print()
    return failed


def outcomes_of(chunks: list[range], jobs: int) -> Iterator[list[Outcome]]:
    """Run chunks in this process, or in several, in their order."""
    if jobs == 1:
        with staged() as stage:
            for chunk in chunks:
                yield [run_seed(seed, stage) for seed in chunk]
        return
    with multiprocessing.get_context("fork").Pool(jobs, _begin) as pool:
        yield from pool.imap(_chunk, chunks)


_stage: list[Stage] = []
_open = ExitStack()
"""What keeps the stage of a worker process, for as long as that lives."""


def _begin() -> None:
    """Prepare a worker process; Ctrl-C is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _stage.append(_open.enter_context(staged()))


def _chunk(seeds: range) -> list[Outcome]:
    """Run seeds in a worker process; the tables that they left stay there."""
    outcomes = [run_seed(seed, _stage[0]) for seed in seeds]
    for outcome in outcomes:
        outcome.schemas = {}
    return outcomes


def _report(outcome: Outcome) -> None:
    """Say what failed, and how to see it again."""
    print(f"\nseed {outcome.seed}: {outcome.failure}")
    print(f"  replay: make simulate SEEDS={outcome.seed}..{outcome.seed} TRACE=1")


def _summary(results: Results) -> None:
    """Print what has run at all."""
    total = sum(run["to"] - run["from"] + 1 for run in results.runs)
    print(f"{total} schedules so far, {len(results.failures)} failures kept")
    pairs: Counter[str] = Counter()
    for cell, count in results.coverage.items():
        command, _, _ = cell.partition(" × ")
        pairs[command] += count
    cells = len(results.coverage) + len(never := results.never_met())
    print(f"command × state × fault: {len(results.coverage)} of {cells} cells met")
    print(f"never met, as the results file lists them: {', '.join(never[:3])} …" if never else "")
    print("calls: " + ", ".join(f"{name} {count}" for name, count in sorted(pairs.items())))


if __name__ == "__main__":
    sys.exit(main())
