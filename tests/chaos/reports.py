"""What the tests of faults did, added up by file from the reports of their runs."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.figures import FIGURE

SEEDED = "seed"


def by_file(reports: Iterable[pytest.TestReport]) -> dict[str, dict[str, Any]]:
    """Return by file what its tests did; the seconds are those of set-up too."""
    files: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"passed": 0, "failed": 0, "seconds": 0.0, "figures": []}
    )
    for report in sorted(reports, key=lambda report: report.nodeid):
        name, _, test = report.nodeid.partition("::")
        file, told = files[name], report.user_properties
        file["seconds"] = round(file["seconds"] + report.duration, 1)
        file["failed"] += report.failed
        if report.when == "call":
            file["passed"] += report.passed
            file["figures"] += [f"{test}: {line}" for key, line in told if key == FIGURE]
            file.update(each for each in told if each[0] == SEEDED)
    return dict(files)
