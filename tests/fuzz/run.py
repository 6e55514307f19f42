"""The long tier: rounds of hostile input, cumulative over runs, until enough cases were tried.

A round is one seed on a fresh platform. What it did is added to the results file when it ends, so
that Ctrl-C loses the round under way and nothing else, and the next run goes on with the next seed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.fuzz import commands, documents, events, records, requests
from tests.fuzz.ground import Ground, ground
from tests.fuzz.outcome import Outcome

RESULTS = Path("docs/results/fuzz.json")
REQUIRED, GOAL = 150_000, 500_000
STEP = 11
"""A round tries every so-maniest nasty; as many rounds try all of them in every field."""

DRAWN, EXAMPLES = 20, 10
"""How many lists of values hypothesis draws, and schemathesis examples of an operation."""

RARE = 2
"""How much rarer those are that cost more: records that five services read, and commands."""


def main() -> int:
    """Run rounds until there were enough cases, or the time is over."""
    arguments = _arguments()
    results = _read()
    began, before = time.monotonic(), _total(results)
    try:
        while _total(results) < arguments.cases and time.monotonic() - began < arguments.seconds:
            _round(results, arguments.cases, began, before)
    except KeyboardInterrupt:
        sys.stdout.write("\nstopped; the round under way is not counted\n")
    failures = sum(len(entry["failures"]) for entry in results["rounds"])
    sys.stdout.write(f"{_total(results):,} cases in {len(results['rounds'])} rounds, ")
    sys.stdout.write(f"{failures} failures: {RESULTS}\n")
    return 1 if failures else 0


def _round(results: dict[str, Any], wanted: int, began: float, before: int) -> None:
    """Run one round, and keep what it did."""
    number = 1 + max((entry["seed"] for entry in results["rounds"]), default=0)
    started, outcome = time.monotonic(), Outcome()
    for part in _parts(number):
        outcome.add(part)
        _progress(_total(results) + outcome.total, wanted, began, before)
    entry = {
        "seed": number,
        "commit": _commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
        "cases": dict(outcome.cases),
        "answers": dict(sorted(outcome.answers.items())),
        "failures": outcome.failures,
    }
    results["rounds"].append(entry)
    _write(results)


def _parts(number: int) -> Iterator[Outcome]:
    """Yield what each kind of input has done, on a platform with a table and on one with Kafka."""
    with tempfile.TemporaryDirectory() as name, ground(Path(name)) as found:
        yield from _judged(
            found,
            lambda: events.by_hypothesis(found, number, DRAWN),
            lambda: events.with_nasties(found, STEP, number),
            lambda: requests.fuzz(found, requests.some_cases(found, STEP, number)),
            lambda: commands.in_rows(found, Path(name), STEP, number),
            lambda: commands.in_options(found, STEP * RARE, number),
            lambda: documents.fuzz(found, number, EXAMPLES, boundaries=True),
        )
    with tempfile.TemporaryDirectory() as name, ground(Path(name), kafka=True) as other:
        yield from _judged(
            other,
            lambda: records.on_a_publishers_topic(other, STEP, number),
            lambda: records.on_the_log(other, STEP * RARE, number),
        )


def _judged(found: Ground, *kinds: Callable[[], Outcome]) -> Iterator[Outcome]:
    """Yield what each kind has done; each must leave the platform sound."""
    for kind in kinds:
        outcome = kind()
        for what in found.unsound():
            outcome.fail(what)
        yield outcome


def _progress(done: int, wanted: int, began: float, before: int) -> None:
    """Say how far it is, how fast, and how long it takes."""
    rate = max(0.001, (done - before) / (time.monotonic() - began))
    left = max(0, wanted - done) / rate / 60
    sys.stdout.write(f"\r{done:,} of {wanted:,} cases, {rate:.0f} a second, {left:.0f} min left ")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=REQUIRED, help="until there were so many")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no round after")
    return parser.parse_args()


def _read() -> dict[str, Any]:
    """Return the results so far."""
    if RESULTS.exists():
        return json.loads(RESULTS.read_text(encoding="utf-8"))
    return {"required": REQUIRED, "goal": GOAL, "total": 0, "rounds": []}


def _write(results: dict[str, Any]) -> None:
    """Replace the results file, whole or not at all."""
    results["total"] = _total(results)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    draft = RESULTS.with_suffix(".draft")
    draft.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    draft.replace(RESULTS)


def _total(results: dict[str, Any]) -> int:
    return sum(sum(entry["cases"].values()) for entry in results["rounds"])


def _commit() -> str:
    """Return the commit under test; with a plus if it was changed."""
    words = ["git", "describe", "--always", "--abbrev=12", "--dirty=+"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
