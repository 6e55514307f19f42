"""Hostile input, the fast tier: 20,000 cases, none of which may fail or be stuck.

``make fuzz`` runs the same for longer, with other seeds each time.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import commands, documents, events, requests
from tests.fuzz.ground import Ground, ground
from tests.fuzz.outcome import Outcome
from tests.support.figures import Tell
from tests.support.nasties import NASTIES

SEED = 20_261_128
CASES_MIN = 20_000


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("fuzz")) as found:
        yield found


@pytest.fixture(scope="module")
def total() -> Outcome:
    return Outcome()


def test_the_corpus_has_three_hundred_names() -> None:
    assert len({nasty.name for nasty in NASTIES}) == len(NASTIES) >= 300
    assert len({nasty.body for nasty in NASTIES}) == len(NASTIES)


def test_drawn_values_in_events_come_to_an_end(scene: Ground, total: Outcome) -> None:
    found = events.by_hypothesis(scene, SEED, 3)
    total.add(found)
    assert found.failures == []
    assert found.total > 1_000
    assert {"accepted", "quarantined", "malformed"} <= found.answers.keys()
    assert scene.unsound() == []


def test_nasty_values_in_events_come_to_an_end(scene: Ground, total: Outcome) -> None:
    found = events.with_nasties(scene, step=2, start=SEED)
    total.add(found)
    assert found.failures == []
    assert found.total > 14_000
    assert scene.unsound() == []


def test_nasty_values_in_requests_are_answered(scene: Ground, total: Outcome) -> None:
    found = requests.fuzz(scene, requests.some_cases(scene, step=10, start=SEED))
    total.add(found)
    assert found.failures == []
    assert found.total > 2_000
    ids = {case[0].described["operationId"] for case in requests.all_cases(scene)}
    assert {id_ for id_ in ids if not found.done[id_]} == requests.REFUSED | requests.NAMES_ONLY
    assert scene.unsound() == []


def test_requests_made_from_the_documents_get_what_is_documented(
    scene: Ground, total: Outcome
) -> None:
    found = documents.fuzz(scene, SEED, 3, boundaries=False)
    total.add(found)
    assert found.failures == []
    assert found.total > 500
    assert {"200", "201", "404", "422"} <= found.answers.keys()
    assert scene.unsound() == []


def test_nasty_values_in_a_file_to_import_are_facts_or_in_quarantine(
    scene: Ground, total: Outcome, tmp_path: Path
) -> None:
    found = commands.in_rows(scene, tmp_path, step=20, start=SEED)
    total.add(found)
    assert found.failures == []
    assert found.total > 450
    assert {"facts", "row-rejected"} <= found.answers.keys()
    assert scene.unsound() == []


def test_nasty_values_in_options_end_in_one_line(scene: Ground, total: Outcome) -> None:
    found = commands.in_options(scene, step=80, start=SEED)
    total.add(found)
    assert found.failures == []
    assert found.total > 100
    assert {"status 0", "status 1", "status 2"} <= found.answers.keys()
    assert scene.unsound() == []


def test_that_makes_enough(total: Outcome, tell: Tell) -> None:
    """The last of this file: what all of the above add up to."""
    tell(f"{total.total} hostile cases: {dict(total.cases)}")
    assert total.total >= CASES_MIN
    assert not [status for status in total.answers if status.startswith("5")]
