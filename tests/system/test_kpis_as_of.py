"""The KPI table of a real log as of several moments, against the second opinion."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.support.audit_log import SAMPLE, Request, read_requests
from tests.support.command import CommandLine, Running
from tests.support.imported import check_kpis, kpis

MOMENTS = [
    datetime(2016, *rest, tzinfo=UTC) for rest in ((3, 1), (3, 4, 12), (3, 31), (5, 2), (12, 31))
]
"""Before most, while most are worked on, after most, and after everything."""


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    return read_requests(SAMPLE)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a platform that holds the sample."""
    command = CommandLine(tmp_path_factory.mktemp("as-of") / "home")
    with command.up() as running:
        command.ok("import", "servicenow-audit", SAMPLE, "-o", "json")
        yield running


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_the_kpis_as_of_a_moment_are_those_of_what_had_happened(
    platform: Running, requests: list[Request], moment: datetime
) -> None:
    check_kpis(platform, requests, moment=moment)


def test_the_command_prints_the_kpis_as_of_a_moment(platform: Running) -> None:
    moment = MOMENTS[1].isoformat()
    with platform.client("auditor") as client:
        answer = client.get("/monitoring/v1/kpis", params={"by": "month", "as_of": moment})
    asked = ("kpi", "--by", "month", "--as-of", moment)
    assert platform.command.json(*asked) == answer.json() != kpis(platform.command, "month")
    assert platform.command.run("kpi", "--as-of", "yesterday").status == 1
