"""The import of the whole real log, in a file of its own because it takes minutes."""

from pathlib import Path

from tests.support.audit_log import read_requests, real_log
from tests.support.command import CommandLine
from tests.support.figures import Tell
from tests.support.imported import check_kpis, check_order, check_quiet
from tests.support.processes import peak_megabytes

KIND, SOURCE = "servicenow-audit", "uci498"
MEGABYTES_MAX, SECONDS_MAX = 1024, 1_500.0


async def test_the_whole_real_log(tmp_path: Path, tell: Tell) -> None:
    path = real_log()
    requests = read_requests(path)
    with CommandLine(tmp_path / "home").up() as platform:
        summary = platform.command.json("import", KIND, path, seconds_max=SECONDS_MAX)
        megabytes = peak_megabytes(platform.pid)
        tell(
            f"{path.name}: {summary['events']:,} events in {summary['seconds']:.0f} s,"
            f" {summary['events'] / summary['seconds']:,.0f}/s, {megabytes:.0f} MB"
        )
        assert summary["rows"] == sum(len(request.rows) for request in requests)
        assert summary["requests"] == len(requests)
        assert summary["quarantined"] == 0
        # What is sent again, because a busy platform has not answered in time, is known already.
        assert summary["events"] + summary["duplicates"] == await check_order(
            platform, requests, SOURCE
        )
        await check_quiet(platform)
        check_kpis(platform, requests, origins=("all",))
        assert megabytes <= MEGABYTES_MAX
