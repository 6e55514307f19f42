"""``casebook bench``: where the benches are found, and what is said about their figures."""

from pathlib import Path

import pytest

from bench.measuring import (
    LIMIT,
    BadBench,
    Bench,
    Budget,
    Effort,
    Measure,
    Measured,
    Peer,
    Run,
    Turn,
    check,
    interleaved,
    percentiles,
)
from bench.summary import summary
from casebook.console import bench as command
from casebook.console.failures import explain

pytestmark = pytest.mark.unit

SLOW = Run(50, 2.0)
TURNS = [
    Turn(
        Run(100, 1.0, {"cpu_seconds": 0.5}), {LIMIT: Run(400, 2.0, {"cpu_seconds": 0.1}), "p": SLOW}
    ),
    Turn(
        Run(100, 2.0, {"cpu_seconds": 0.7}), {LIMIT: Run(400, 2.0, {"cpu_seconds": 0.2}), "p": SLOW}
    ),
    Turn(
        Run(100, 1.0, {"cpu_seconds": 0.6}), {LIMIT: Run(400, 3.2, {"cpu_seconds": 0.2}), "p": SLOW}
    ),
]
FOUND = Measured(TURNS, {"fsync": "on"})


async def _measured(effort: Effort, say: object) -> Measured:
    return FOUND


BENCH = Bench(
    "toy", "the product", "the limit", 0.7, _measured,
    peers=(Peer("p", "a peer", 3.0),),
    budgets=(Budget("cpu_seconds", 0.6), Budget("cpu_seconds", 3.0, times_limit=True)),
)  # fmt: skip


async def test_without_a_checkout_it_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "ROOT", tmp_path)
    with pytest.raises(LookupError) as failure:
        await command.bench(None, pairs=3, scale=1.0, say=print)
    message = explain(failure.value)
    assert message is not None
    assert "checkout" in message
    assert "\n" not in message


def test_a_summary_holds_medians_and_extremes() -> None:
    found = summary(BENCH, FOUND)
    assert found["ratio"] == {"median": 0.5, "min": 0.25, "max": 0.8}
    assert found["product"]["rate"] == {"median": 100, "min": 50, "max": 100}
    assert found["product"]["cpu_seconds"] == {"median": 0.6, "min": 0.5, "max": 0.7}
    assert found["product"]["events"] == 300
    assert found["met"] is False
    assert found["pairs"][2] == {"product": 100, LIMIT: 125, "p": 25, "ratio": 0.8}


def test_a_summary_compares_with_peers() -> None:
    (peer,) = summary(BENCH, FOUND)["peers"]
    assert peer["ratio"] == {"median": 4, "min": 2, "max": 4}
    assert peer["met"] is True


def test_a_summary_says_which_bounds_hold() -> None:
    absolute, relative = summary(BENCH, FOUND)["budgets"]
    assert (absolute["found"]["median"], absolute["met"]) == (0.6, True)
    assert (relative["found"]["median"], relative["met"]) == (3.5, False)


async def test_every_other_turn_goes_backwards() -> None:
    order: list[str] = []

    def side(name: str) -> Measure:
        async def measure() -> Run:
            order.append(name)
            return Run(1, 1.0)

        return measure

    others = {LIMIT: side("limit"), "p": side("peer")}
    turns = await interleaved(Effort(), side("product"), others, lambda line: None)
    forwards = ["product", "limit", "peer"]
    assert order == [*forwards, *reversed(forwards), *forwards]
    assert [set(turn.others) for turn in turns] == [{LIMIT, "p"}] * 3


def test_percentiles_are_of_nearest_rank() -> None:
    assert percentiles([n / 1000 for n in range(1, 21)]) == {"p50_ms": 10, "p95_ms": 19}


def test_the_table_says_what_was_missed() -> None:
    found = summary(BENCH, FOUND)
    machine = {"cores": 2, "load_before": 0.1, "load_after": 0.2}
    text = command.bench_table({"machine": machine, "benches": [found]})
    assert "0.25 – 0.80" in text
    assert "≥ 0.7 missed" in text
    assert "≥ 3 met" in text
    assert "cpu_seconds to the limit's: 3.5 (3 – 5), aimed at ≤ 3: missed" in text
    assert "cpu_seconds: 0.6 (0.5 – 0.7)" in text


def test_a_bench_that_does_nothing_fails() -> None:
    with pytest.raises(BadBench, match="0 rows instead of 10"):
        check("rows", 0, 10)
