"""Hostile records on real Kafka, the fast tier: none may be lost, or stop anybody's reading."""

from collections.abc import Iterator

import pytest

from tests.fuzz import records
from tests.fuzz.ground import Ground, ground
from tests.support.figures import Tell

SEED = 20_261_128


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("fuzz-kafka"), kafka=True) as found:
        yield found


def test_records_of_a_publisher_become_facts_or_are_in_quarantine(
    scene: Ground, tell: Tell
) -> None:
    found = records.on_a_publishers_topic(scene, step=10, start=SEED)
    tell(f"{found.total} nasty records on a publisher's topic: {dict(found.answers)}")
    assert found.failures == []
    assert found.total > 3_000
    assert {"fact", "quarantined", "unreadable"} <= found.answers.keys()
    assert scene.unsound() == []


def test_records_on_the_log_are_applied_parked_or_in_quarantine(scene: Ground, tell: Tell) -> None:
    found = records.on_the_log(scene, step=120, start=SEED)
    tell(f"{found.total} nasty records on the log, read by five: {dict(found.answers)}")
    assert found.failures == []
    assert found.total > 500
    assert {"applied", "parked", "not an event"} <= found.answers.keys()
    assert scene.unsound() == []
