"""The benches over Kafka run on the broker of the tests, count what they did, and say it."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from bench import BENCHES, Effort, document
from tests.support.kafka import kafka_for_tests

pytestmark = pytest.mark.system


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """Start Kafka, or find it; and keep the settings that a bench leaves aside."""
    kafka_for_tests()
    kept = dict(os.environ)
    yield
    os.environ.update(kept)


async def measured(name: str, scale: float) -> dict[str, Any]:
    """Run one bench, in small; return what it says."""
    lines: list[str] = []
    (found,) = (await document([BENCHES[name]], Effort(scale=scale), lines.append))["benches"]
    assert len(found["pairs"]) == 3
    assert [line.partition(":")[0] for line in lines] == [name, "turn 1", "turn 2", "turn 3"]
    return found


async def test_the_relay_is_measured_beside_bare_sending() -> None:
    bench = await measured("relay-kafka", 0.002)
    assert [bench[side]["events"] for side in ("product", "limit")] == [3 * 100] * 2
    assert bench["met"] is (bench["ratio"]["median"] >= 0.7)


async def test_the_reader_is_measured_beside_bare_reading_and_a_released_peer() -> None:
    bench = await measured("reader", 0.005)
    assert [bench[side]["events"] for side in ("product", "limit")] == [3 * 1_000] * 2
    batch, message = bench["peers"]
    assert batch["events"] >= 3 * 250  # the last batch may hold more than was asked for
    assert message["events"] >= 3 * 50
    assert all(peer["ratio"]["min"] > 0 for peer in bench["peers"])


async def test_rebuilding_is_measured_with_its_memory() -> None:
    bench = await measured("rebuild", 0.001)
    assert [bench[side]["events"] for side in ("product", "limit")] == [3 * 1_000] * 2
    assert {peer["peer"]: peer["events"] for peer in bench["peers"]} == {
        "quixstreams": 3 * 1_000,
        "eventsourcing": 3 * 20,
    }
    (memory,) = bench["budgets"]
    assert memory["found"]["min"] > 20
    assert memory["met"] is (memory["found"]["median"] <= 400)


async def test_a_hop_is_measured_in_times_of_a_prototype() -> None:
    bench = await measured("hop", 0.04)
    median, high = bench["budgets"]
    assert median["times_limit"]
    assert high["times_limit"]
    assert median["found"]["median"] == bench["ratio"]["median"]
    for side in ("product", "limit"):
        assert 0 < bench[side]["p50_ms"]["min"] <= bench[side]["p95_ms"]["max"]


async def test_the_way_to_the_team_queue_is_measured_at_two_paces() -> None:
    bench = await measured("queue", 0.05)
    assert bench["limit"] is None
    assert bench["ratio"] is None
    assert bench["product"]["events"] == 3 * 2 * 10
    assert bench["product"]["p95_ms"]["min"] > 0
    assert bench["product"]["at_50_p95_ms"]["min"] > 0
