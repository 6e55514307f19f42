"""The import of a real log, by the command that people use, into platforms of real processes.

What it must come to is computed from the file by code that shares nothing with the product.
"""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import true

from casebook.events import kpi_definitions
from casebook.kit.postgres.database import compiled
from casebook.monitoring.projections import kpi_table
from tests.support.audit_log import SAMPLE, Request, read_requests
from tests.support.command import CommandLine, Done, Running, eventually
from tests.support.figures import Tell
from tests.support.imported import check_kpis, check_order, check_quiet, kpis
from tests.support.processes import servers_of

README = Path("README.md")
GUIDE = Path("docs/how-to/import-a-servicenow-audit-log.md")
NEW_KPI = Path("docs/how-to/add-a-kpi.md").read_text(encoding="utf-8")
KIND = "servicenow-audit"
SOURCE = "uci498"
SUMMARY = {"rows", "requests", "events", "duplicates", "quarantined", "seconds"}
SAMPLE_ROWS, SAMPLE_REQUESTS = 6_097, 900
KILL_AFTER_EVENTS = 3_000
COUNT = """
SELECT (SELECT count(*) FROM intake.events) + (SELECT count(*) FROM dispatch.events)
    + (SELECT count(*) FROM monitoring.events) + (SELECT count(*) FROM quality.events) AS count
"""


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    return read_requests(SAMPLE)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a platform that holds the sample and gets nothing else."""
    command = CommandLine(tmp_path_factory.mktemp("sample") / "home")
    with command.up() as running:
        yield running


@pytest.fixture(scope="module")
def imported(platform: Running) -> Done:
    return platform.command.ok("import", KIND, SAMPLE, "-o", "json")


@pytest.fixture(scope="module")
def summary(imported: Done) -> dict[str, Any]:
    return imported.document


async def stored(platform: Running) -> int:
    """Return how many events the services have stored."""
    return (await platform.fetch(COUNT))[0]["count"]


# --- the sample ---------------------------------------------------------------------------------


async def test_the_summary_says_what_was_read_and_what_became_of_it(
    platform: Running, summary: dict[str, Any], requests: list[Request]
) -> None:
    assert summary.keys() == SUMMARY
    assert (summary["rows"], summary["requests"]) == (SAMPLE_ROWS, SAMPLE_REQUESTS)
    assert summary["duplicates"] == summary["quarantined"] == 0
    assert summary["events"] == await check_order(platform, requests, SOURCE)
    await check_quiet(platform)


def test_the_kpis_are_those_of_the_second_opinion(
    platform: Running, summary: dict[str, Any], requests: list[Request]
) -> None:
    check_kpis(platform, requests)
    with platform.client("auditor") as client:
        answer = client.get("/monitoring/v1/kpis", params={"by": "team", "origin": "observed"})
    assert kpis(platform.command, "team", "observed") == answer.json()


async def test_the_guide_to_a_new_kpi_says_what_it_gives(
    platform: Running, summary: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry of the guide, measured over the sample; nobody has changed the definitions."""
    [code] = re.findall(r"```python\n(.*?)```", NEW_KPI, re.DOTALL)
    [told] = re.findall(r"gives ([\d.]+) %", NEW_KPI)
    entry = eval(dedent(code), dict(vars(kpi_definitions)))  # noqa: S307 - it is our own page
    monkeypatch.setattr(kpi_table, "KPIS", (*kpi_definitions.KPIS, *entry))
    table = kpi_table.KpiTable(None, "all")
    statement, arguments = compiled(table.statement(true()))
    connection = await asyncpg.connect(
        platform.database_url, server_settings={"search_path": "monitoring"}
    )
    try:
        rows = table.rows([dict(row) for row in await connection.fetch(statement, *arguments)])
    finally:
        await connection.close()
    [value] = [row.value for row in rows if row.kpi.id == entry[0].id]
    assert value is not None
    assert f"{100 * value:.2f}" == told


def test_importing_twice_adds_nothing(platform: Running, summary: dict[str, Any]) -> None:
    before = platform.command.ok("kpi", "--by", "team", "-o", "json").out
    again = platform.command.run("import", KIND, SAMPLE, "-o", "json")
    assert again.status == 0, again.err
    assert again.document["events"] == 0
    assert again.document["duplicates"] == summary["events"]
    assert again.document["quarantined"] == 0
    assert platform.command.ok("kpi", "--by", "team", "-o", "json").out == before


def test_progress_is_told_on_standard_error_with_rate_and_time_left(
    imported: Done,
) -> None:
    assert re.search(r"6,097 of 6,097 rows \([\d,]+/s\)", imported.err), imported.err
    assert re.search(r"\d+:\d\d left", imported.err), imported.err


def test_the_guide_shows_the_deviations_that_the_sample_really_has(imported: Done) -> None:
    """Counted by the services while they took the history as it was."""
    shown = [line for line in GUIDE.read_text().splitlines() if line.startswith("import: ")]
    assert any("deviations from the process" in line for line in shown)
    said = imported.err.splitlines()
    measured = re.compile(r"\([\d,]+/s\)|\d+:\d\d left")
    assert {measured.sub("_", line) for line in shown} <= {measured.sub("_", line) for line in said}


async def test_a_projection_that_is_emptied_and_rebuilt_gives_the_identical_table(
    platform: Running, summary: dict[str, Any]
) -> None:
    command = platform.command
    before = [command.ok("kpi", "--by", by, "-o", "json").out for by in ("team", "month")]
    await platform.fetch("DELETE FROM monitoring.kpi_facts")
    assert all(row["n"] == 0 for row in kpis(command)["kpis"])
    command.ok("rebuild", "monitoring", "kpi_facts", "--reason", "it was emptied")
    assert [command.ok("kpi", "--by", by, "-o", "json").out for by in ("team", "month")] == before


async def test_an_event_of_the_import_sent_again_by_any_client_is_known(
    platform: Running, summary: dict[str, Any]
) -> None:
    (row,) = await platform.fetch(
        "SELECT record FROM dispatch.events WHERE type = $1 ORDER BY position LIMIT 1",
        "casebook.work-order.assigned-to-team.v1",
    )
    record = json.loads(row["record"])
    number, ordinal, type_ = record["originid"].removeprefix(f"{SOURCE}:").split(":")
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"{SOURCE}:{number}:{ordinal}:{type_}",
        "source": SOURCE,
        "type": type_,
        "subject": number,
        "time": record["time"],
        "sourcesequence": record["sourcesequence"],
        "data": record["data"],
    }
    before = await stored(platform)
    with platform.client("publisher", "--source", SOURCE) as client:
        assert publish(client, event)["duplicates"] == 1
        changed = event | {"data": event["data"] | {"team": "Group of somebody else"}}
        assert publish(client, changed)["quarantined"] == 1
        assert publish(client, event)["duplicates"] == 1
    assert await stored(platform) == before
    (quarantined,) = platform.command.json("quarantine", "list")
    assert quarantined["reason"] == "content-differs"


def publish(client: httpx.Client, event: dict[str, Any]) -> dict[str, Any]:
    """Publish one event as any program would."""
    answer = client.post(
        "/dispatch/v1/events",
        content=json.dumps(event),
        headers={"Content-Type": "application/cloudevents+json"},
    )
    assert answer.status_code == 202, answer.text
    return answer.json()


async def test_with_the_platform_down_nothing_is_imported(platform: Running) -> None:
    before = await stored(platform)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        done = platform.command.run("import", KIND, SAMPLE, "--url", url, "-o", "json")
    assert done.status == 1
    assert done.out == ""
    assert "Traceback" not in done.err
    assert done.err.splitlines()[-1].startswith(f"casebook: cannot reach {url}")
    assert await stored(platform) == before


# --- shown by the demonstration -----------------------------------------------------------------

STEPS = (
    ("li.na submits it", "work-order.assigned-to-agent"),
    ("wang.wei classifies it", "request.classified"),
    ("wang.wei accepts the work", "work-order.accepted"),
    ("wang.wei starts", "work-order.started"),
    ("wang.wei asks which printer it is", "work-order.waiting-started"),
    ("li.na says which", "request.commented"),
    ("wang.wei goes on", "work-order.resumed"),
    ("wang.wei resolves it", "request.resolution-proposed"),
    ("li.na confirms", "survey.sent"),
    ("li.na answers the survey", "survey.answered"),
)


def test_the_demonstration_shows_each_fact_as_it_comes_and_where_to_go_on(
    platform: Running, summary: dict[str, Any]
) -> None:
    """The last one here, because it adds a live request to the platform."""
    out = platform.command.ok("demo", "--once").out
    known = f"{SAMPLE_ROWS:,} rows, {SAMPLE_REQUESTS} requests: 0 new events, {summary['events']:,}"
    assert f"  {known} known already, " in out
    lines = out.splitlines()
    marks = [what for step in STEPS for what in step]
    shown = [re.sub(r"^  (?:  \d\d:\S+  )?| +\S+:\S+$", "", line) for line in lines]
    assert [line for line in shown if line in marks] == marks, "a step follows what it rests on"
    heading = next(line for line in lines if "KPI  " in line)
    assert re.findall(r"\w+", heading) == ["KPI", "of", "observed", "n", "live", "n"]
    row = next(line for line in lines if "requests_opened" in line)
    assert re.findall(r"\d+", row) == ["900", "900", "1", "1"]
    assert f"start page and API docs   {platform.url}/ " in out
    (docs,) = re.findall(r"for example (\S+)\)", out)
    assert httpx.get(docs).status_code == 200
    (command,) = re.findall(r"  a token +(.+)", out)
    plain = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}
    token = subprocess.run(["sh", "-c", command], env=plain, capture_output=True, check=True).stdout
    headers = {"Authorization": f"Bearer {token.decode().strip()}"}
    assert httpx.get(f"{platform.url}/intake/v1/requests", headers=headers).status_code == 200


def test_the_demonstration_sets_up_a_new_home_and_prints_what_the_readme_shows(
    tmp_path: Path, tell: Tell
) -> None:
    command = CommandLine(tmp_path / "home")
    started = time.monotonic()
    out = command.ok("demo", "--once").out
    tell(f"a demonstration on a new home took {time.monotonic() - started:.0f} s")
    assert "12,553 new events, 0 known already" in out
    assert not servers_of(command.home)
    shown = README.read_text().partition("What `make demo` prints, shortened:")[2].split("```")[1]
    changing = re.compile(r"\d\d:\d\d:[\d.]+|[\d.]+ s\b|wang\.wei|chen\.jing")
    printed = {changing.sub("_", line) for line in out.splitlines()}
    assert {changing.sub("_", line) for line in shown.strip().splitlines()} - {"  …"} <= printed


# --- interrupted --------------------------------------------------------------------------------


async def until_half_way(platform: Running, process: "subprocess.Popen[str]") -> None:
    """Wait until an import has come some way."""
    while await stored(platform) < KILL_AFTER_EVENTS:
        assert process.poll() is None, process.communicate()


async def check_complete(platform: Running, requests: list[Request]) -> None:
    """Import the sample again, and check that all of it is there exactly once."""
    summary = platform.command.json("import", KIND, SAMPLE)
    total = await check_order(platform, requests, SOURCE)
    assert summary["events"] + summary["duplicates"] == total
    await check_quiet(platform)
    check_kpis(platform, requests)
    assert platform.command.json("verify")["ok"]


async def test_an_import_that_was_killed_is_completed_by_running_it_again(
    requests: list[Request], tmp_path: Path
) -> None:
    with CommandLine(tmp_path / "home").up() as platform:
        with platform.command.started("import", KIND, SAMPLE) as process:
            await until_half_way(platform, process)
            process.kill()
        assert await stored(platform) < 2 * SAMPLE_ROWS
        await check_complete(platform, requests)


async def test_an_import_goes_on_when_the_platform_was_killed_and_is_back(
    requests: list[Request], tmp_path: Path
) -> None:
    command = CommandLine(tmp_path / "home")
    with command.up() as platform:
        port = int(platform.url.rpartition(":")[2])
        with command.started("import", KIND, SAMPLE, "-o", "json") as process:
            await until_half_way(platform, process)
            platform.kill()
            with command.up(port) as back:
                out, err = process.communicate(timeout=120)
                assert process.returncode == 0, err
                assert json.loads(out)["quarantined"] == 0
                await check_complete(back, requests)


def is_registered(command: CommandLine, url: str) -> bool:
    """Say whether a platform knows the source of the import."""
    token = (command.home / "admin.token").read_text()
    headers = {"Authorization": f"Bearer {token.strip()}"}
    return SOURCE in httpx.get(f"{url}/intake/v1/sources", headers=headers).text


def test_an_import_whose_own_platform_was_killed_says_so_and_can_be_completed(
    requests: list[Request], tmp_path: Path
) -> None:
    command = CommandLine(tmp_path / "home")
    address = command.home / "address.json"
    with command.started("import", KIND, SAMPLE) as process:
        eventually(address.exists, "up")
        running = json.loads(address.read_text())
        # Its first step shows that the import knows of its platform; all of it takes seconds.
        eventually(lambda: is_registered(command, running["url"]), "registered")
        os.kill(running["pid"], signal.SIGKILL)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert err.splitlines()[-1] == "casebook: the platform ended: it was killed by signal 9"
    summary = command.json("import", KIND, SAMPLE)
    assert summary["rows"] == SAMPLE_ROWS
    assert summary["events"] > 0
    assert not servers_of(command.home)
    with command.up() as platform:
        check_kpis(platform, requests)
