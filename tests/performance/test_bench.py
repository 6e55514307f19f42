"""The benches run, count what they did, and say it in one document."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bench import BENCHES
from bench.desk import CONNECTIONS
from bench.peers import peer_python
from bench.server import WRITERS
from tests.support.command import CommandLine

pytestmark = pytest.mark.system

SPREAD = {"median", "min", "max"}
SECONDS_MAX = 600.0
"""Much longer than any of them takes: how fast they are is no business of a test."""


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """Install the peers before a bench needs them."""
    asyncio.run(peer_python())


def measured(folder: Path, name: str, scale: float) -> dict[str, Any]:
    """Run one bench, in small; return what it says."""
    done = CommandLine(folder / "home").ok(
        "bench", name, "--scale", str(scale), "-o", "json", seconds_max=SECONDS_MAX
    )
    assert not (folder / "home").exists()
    (found,) = done.document["benches"]
    assert found["bench"] == name
    assert found["postgresql"]["fsync"] == "on"
    assert len(found["pairs"]) == 3
    return found


def test_a_bench_gives_ratios_of_three_pairs(tmp_path: Path) -> None:
    bench = measured(tmp_path, "append", 0.01)
    assert bench["unit"] == "events/s"
    assert bench["ratio"]["min"] <= bench["ratio"]["median"] <= bench["ratio"]["max"]
    assert bench["met"] is (bench["ratio"]["median"] >= bench["target"])
    for side in ("product", "limit"):
        _check_side(bench[side], 3 * 48)


def test_a_bench_gives_ratios_to_released_peers(tmp_path: Path) -> None:
    bench = measured(tmp_path, "append-100", 0.001)
    (peer,) = bench["peers"]
    assert peer["peer"] == "eventsourcing"
    _check_side(peer, 3 * WRITERS * 200)
    assert peer["met"] is (peer["ratio"]["median"] >= peer["target"])
    assert all(pair[peer["peer"]] > 0 for pair in bench["pairs"])


def test_the_relay_is_measured_into_the_log_table(tmp_path: Path) -> None:
    bench = measured(tmp_path, "relay", 0.002)
    for side in ("product", "limit"):
        _check_side(bench[side], 3 * 100)


def test_the_kpi_table_is_measured_beside_the_same_figures_of_another_reading(
    tmp_path: Path,
) -> None:
    bench = measured(tmp_path, "kpi", 0.002)
    (peer,) = bench["peers"]
    assert peer["met"] is None
    assert peer["load_ms"]["min"] > 0
    assert bench["product"]["events"] == 3 * 5
    assert bench["product"]["import_seconds"]["min"] > 0


def test_an_import_is_measured_beside_a_copy_of_its_rows(tmp_path: Path) -> None:
    bench = measured(tmp_path, "import", 0.002)
    assert bench["product"]["requests"]["min"] == 35
    assert bench["product"]["events"] == bench["limit"]["events"] > 3 * 35
    assert bench["ratio"]["max"] < 1
    assert [budget["at_most"] for budget in bench["budgets"]] == [120.0, 1024.0]


def test_people_are_measured_beside_an_import(tmp_path: Path) -> None:
    bench = measured(tmp_path, "beside-import", 0.003)
    (budget,) = bench["budgets"]
    assert (budget["figure"], budget["times_limit"]) == ("p95_ms", True)
    assert bench["limit"]["events"] == 3 * 20
    assert bench["product"]["events"] > 0


def test_the_lag_of_the_kpi_table_is_measured_at_a_pace(tmp_path: Path) -> None:
    bench = measured(tmp_path, "kpi-lag", 0.01)
    assert bench["product"]["events"] == 3 * 50
    assert 0 < bench["product"]["p50_ms"]["min"] <= bench["product"]["p95_ms"]["max"]


def test_a_start_is_measured_beside_that_of_the_database(tmp_path: Path) -> None:
    bench = measured(tmp_path, "start", 0.01)
    (budget,) = bench["budgets"]
    assert budget["figure"] == bench["figure"] == "ready_seconds"
    assert budget["found"] == bench["product"]["ready_seconds"]
    assert bench["ratio"]["min"] > 1
    assert bench["product"]["platform_rss_max_mib"]["min"] > 20


@pytest.mark.parametrize("name", ["submit", "list"])
def test_a_desk_is_measured_beside_a_bare_one_and_a_released_one(tmp_path: Path, name: str) -> None:
    bench = measured(tmp_path, name, 0.01)
    (peer,) = bench["peers"]
    assert peer["peer"] == "django-helpdesk"
    _check_side(peer, 3 * CONNECTIONS)
    for side in ("product", "limit"):
        _check_side(bench[side], 3 * 20)
    for budget in bench["budgets"]:
        assert budget["met"] is (budget["found"]["median"] <= budget["at_most"])


def _check_side(side: dict[str, Any], events: int) -> None:
    """Check what every side of a bench says."""
    assert side["what"]
    assert side["events"] == events
    assert side["seconds"] > 0
    assert set(side["rate"]) == SPREAD
    assert 0 < side["rate"]["min"] <= side["rate"]["max"]


def test_a_bench_that_there_is_not_is_said_in_one_line(tmp_path: Path) -> None:
    done = CommandLine(tmp_path / "home").run("bench", "speed")
    assert done.status == 1
    assert done.out == ""
    assert all(name in done.line for name in BENCHES)
