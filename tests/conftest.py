"""Figures that tests measure or count, shown to people at the end of a run; profiles; the order.

The figures come with the report of their test, so it does not matter which process ran it.
"""

from collections.abc import Callable

import pytest

from tests.support import profiles
from tests.support.figures import FIGURE, Tell

LONGEST = (
    "recovery_walk", "import_whole", "kills", "fuzz", "fuzz_kafka", "production_walk", "production",
    "import", "read_models", "deadlines", "restore", "poison",
)  # fmt: skip
"""What begins first: a file that takes minutes must not be the last one running."""

profiles.register()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Return what takes a line for the end of the run, whether the test fails or not."""

    def keep(line: str) -> None:
        record_property(FIGURE, line)

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures."""
    lines = [
        (report.nodeid, value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == FIGURE
    ]
    if lines:
        terminalreporter.section("figures")
        for test, line in sorted(lines):
            terminalreporter.line(f"{test.partition('::')[0]}: {line}")
