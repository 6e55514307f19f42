"""Imports of files of all sorts: parts, copies, rows that nobody can read, values never seen."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.audit_log import SAMPLE, Request, read_requests
from tests.support.command import CommandLine, Running
from tests.support.imported import AuditFile, check_order

KIND = "servicenow-audit"
EVENTS = """
SELECT record::json->>'originid' AS id, record::json->>'type' AS type,
    record::json->>'time' AS time, record::json->'data' AS data
FROM log.records WHERE record::json->>'originsource' = $1 ORDER BY partition, "offset"
"""


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    return read_requests(SAMPLE)


@pytest.fixture(scope="module")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a platform on which each test has a source of its own."""
    command = CommandLine(tmp_path_factory.mktemp("workbench") / "home")
    with command.up() as running:
        yield running


@pytest.fixture(scope="module")
def audit_file() -> AuditFile:
    return AuditFile(SAMPLE)


async def told(platform: Running, source: str) -> list[dict[str, Any]]:
    """Return what the log holds of a source."""
    rows = await platform.fetch(EVENTS, source)
    return [{**row, "data": json.loads(row["data"])} for row in rows]


async def test_a_limit_takes_the_first_requests_whole(
    workbench: Running, requests: list[Request]
) -> None:
    options = ("--source", "limited", "--limit", "7")
    summary = workbench.command.json("import", KIND, SAMPLE, *options)
    assert summary["requests"] == 7
    assert summary["rows"] == sum(len(request.rows) for request in requests[:7])
    assert summary["events"] == await check_order(workbench, requests[:7], "limited")


async def test_an_offset_shifts_every_time(workbench: Running) -> None:
    times: dict[str, dict[str, datetime]] = {}
    for source, offset in (("greenwich", "+00:00"), ("shanghai", "+08:00")):
        options = ("--source", source, "--limit", "5", "--utc-offset", offset)
        workbench.command.ok("import", KIND, SAMPLE, *options)
        times[source] = {
            event["id"].removeprefix(source): datetime.fromisoformat(event["time"])
            for event in await told(workbench, source)
        }
    assert times["greenwich"]
    assert times["shanghai"] == {
        id_: time - timedelta(hours=8) for id_, time in times["greenwich"].items()
    }
    wrong = workbench.command.run("import", KIND, SAMPLE, "--utc-offset", "Asia/Shanghai")
    assert wrong.status == 1
    assert "offset" in wrong.line


async def test_files_that_share_whole_requests_are_harmless(
    workbench: Running, audit_file: AuditFile, requests: list[Request], tmp_path: Path
) -> None:
    command = workbench.command
    first = audit_file.write(tmp_path / "first.csv", audit_file.lines(0, 60))
    second = audit_file.write(tmp_path / "second.csv", audit_file.lines(30, 90))
    one = command.json("import", KIND, first, "--source", "overlap")
    two = command.json("import", KIND, second, "--source", "overlap")
    assert one["duplicates"] == 0
    assert 0 < two["duplicates"] < one["events"]
    total = await check_order(workbench, requests[:90], "overlap")
    assert one["events"] + two["events"] == total


async def test_rows_that_cannot_be_read_are_quarantined_and_the_request_goes_on(
    workbench: Running, audit_file: AuditFile, tmp_path: Path
) -> None:
    number, lines = next((n, rows) for n, rows in audit_file.requests.items() if len(rows) >= 10)
    with_value = audit_file.with_value
    bad = {
        2: lines[1] + b",one more",
        4: with_value(lines[3], "sys_updated_at", b"31/31/2016 10:00"),
        6: with_value(lines[5], "category", b"Category\x00 7"),
        8: with_value(lines[7], "location", b"Location \xff"),
    }
    rows = [bad.get(place, line) for place, line in enumerate(lines, 1)]
    stray = with_value(lines[0], "number", b"?")
    file = audit_file.write(tmp_path / "坏.csv", [*rows, stray])
    done = workbench.command.run("import", KIND, file, "--source", "broken", "-o", "json")
    assert done.status == 3, done.err
    summary = done.document
    assert (summary["rows"], summary["requests"]) == (len(rows) + 1, 1)
    assert (summary["quarantined"], summary["duplicates"]) == (5, 0)
    kept = [
        row["detail"]
        for row in workbench.command.json("quarantine", "list", "--service", "intake")
        if row["source"] == "broken"
    ]
    places = sorted([*(place + 1 for place in bad), len(rows) + 2])
    assert len(kept) == 5
    for line in places:
        (detail,) = (found for found in kept if found.startswith(f"坏.csv line {line}: "))
        assert len(detail) > len(f"坏.csv line {line}: "), detail
    events = await told(workbench, "broken")
    assert len(events) == summary["events"]
    ordinals = [int(event["id"].split(":")[2]) for event in events]
    assert {event["id"].split(":")[1] for event in events} == {number}
    assert set(ordinals) == set(range(1, len(rows) + 1)) - bad.keys()
    assert ordinals == sorted(ordinals)
    again = workbench.command.run("import", KIND, file, "--source", "broken", "-o", "json")
    assert again.status == 3
    assert again.document["events"] == 0
    assert again.document["duplicates"] == summary["events"]


async def test_what_nobody_has_seen_before_is_kept_and_counted(
    workbench: Running, audit_file: AuditFile, tmp_path: Path
) -> None:
    lines = next(rows for rows in audit_file.requests.values() if len(rows) >= 3)[:3]
    changes = {
        "incident_state": "Frozen 冻结",
        "contact_type": "Pigeon",
        "assignment_group": "班组 7",
        "priority": "7 - Whenever",
    }
    for column, value in changes.items():
        lines = [audit_file.with_value(line, column, value.encode()) for line in lines]
    lines[2] = audit_file.with_value(lines[2], "incident_state", b"Awaiting Moonlight")
    file = audit_file.write(tmp_path / "odd.csv", lines)
    done = workbench.command.run("import", KIND, file, "--source", "odd", "-o", "json")
    assert done.status == 0, done.err
    assert done.document["quarantined"] == 0
    for name in ("state", "channel", "group"):
        assert f"unknown {name}: " in done.err, done.err
    assert "unreadable priority: 7 - Whenever (1)" in done.err
    events = await told(workbench, "odd")
    expected = {
        "request.submitted.v1": ("channel", "Pigeon"),
        "work-order.assigned-to-team.v1": ("team", "班组 7"),
        "work-order.noted.v1": ("state", "Frozen 冻结"),
        "work-order.waiting-started.v1": ("reason", "moonlight"),
    }
    for type_, (field, value) in expected.items():
        assert value in [
            event["data"].get(field) for event in events if event["type"] == f"casebook.{type_}"
        ], type_
