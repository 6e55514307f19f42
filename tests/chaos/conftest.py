"""One walled deployment for the faults of this folder that leave it whole again; and their results.

``--write-results FILE`` writes what the tests of each file did: how many passed, in how many
seconds, from which seed, and the figures that they tell. `make faults` does so.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.deployment import new_deployment
from tests.chaos.ground import Ground
from tests.chaos.kills.results import commit
from tests.chaos.reports import SEEDED, by_file

OPTION = "--write-results"


@pytest.fixture(scope="package")
def ground() -> Iterator[Ground]:
    """Run five services whose doors to PostgreSQL and Kafka can be shut."""
    with new_deployment(doors=True) as deployment:
        yield Ground(deployment)


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Say which seed a test repeats."""
    if seed := getattr(request.module, "SEED", None):
        record_property(SEEDED, seed)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the file for the results."""
    parser.addoption(OPTION, metavar="FILE", help="what each file of faults did")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Write the results, if asked; they come with the reports, whichever process ran the test."""
    path: str | None = config.getoption(OPTION, None)
    if path is not None:
        reports = [
            report
            for reports in terminalreporter.stats.values()
            for report in reports
            if isinstance(report, pytest.TestReport)
        ]
        found = {"commit": commit(), "files": by_file(reports)}
        Path(path).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
