"""`casebook verify` as people run it: on a running platform, on a stopped home, on neither."""

import json
from pathlib import Path
from typing import Any

import asyncpg

from casebook.kit.postgres import embedded as embedded_postgres
from tests.support.command import CommandLine, Running
from tests.support.filled import SAMPLE
from tests.support.processes import servers_of

CHANGE = "UPDATE monitoring.streams SET version = version {} 1 WHERE stream = '{}'"


async def checksums(dsn: str) -> dict[str, str]:
    """Return what all tables hold, in short, but for the clock that ticks."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            """SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
            WHERE schemaname <> ALL($1) AND tablename <> 'ingress_clock'""",
            ["pg_catalog", "information_schema"],
        )
        return {
            row[0]: await connection.fetchval(
                f"SELECT md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')) "
                f"FROM {row[0]} t"
            )
            for row in rows
        }
    finally:
        await connection.close()


async def tamper(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        assert await connection.execute(statement) == "UPDATE 1"
    finally:
        await connection.close()


async def test_the_command_says_it_on_a_running_and_on_a_stopped_home(tmp_path: Path) -> None:
    command = CommandLine(tmp_path / "home")
    with command.up() as running:
        stream = await _fill_and_find(command, running)
        before = await checksums(running.database_url)
        report = command.json("verify")
        assert report.keys() == {"ok", "events", "streams", "projections", "differences"}
        assert (report["ok"], report["differences"]) == (True, [])
        assert min(report["events"], report["streams"]) > 10
        await tamper(running.database_url, CHANGE.format("+", stream))
        done = command.run("verify", "-o", "json")
        assert done.status == 1, done
        _names_the_head(done.document, stream)
        await tamper(running.database_url, CHANGE.format("-", stream))
        assert await checksums(running.database_url) == before
    async with embedded_postgres.running(command.home) as postgres:
        before = await checksums(postgres.dsn)
    assert command.json("verify")["ok"] is True
    assert servers_of(command.home) == []
    async with embedded_postgres.running(command.home) as postgres:
        assert await checksums(postgres.dsn) == before
        await tamper(postgres.dsn, CHANGE.format("+", stream))
    done = command.run("verify", "-o", "json")
    assert done.status == 1, done
    _names_the_head(done.document, stream)
    assert servers_of(command.home) == []


async def _fill_and_find(command: CommandLine, running: Running) -> str:
    """Import some requests, verifying in the middle of it; return a stream of monitoring."""
    arguments = ("import", "servicenow-audit", SAMPLE, "--limit", "120", "-o", "json")
    with command.started(*arguments) as importing:
        report = command.json("verify")
        assert (report["ok"], report["differences"]) == (True, [])
        assert json.loads(importing.communicate()[0])["quarantined"] == 0
    command.ok("rebuild", "intake", "work", "--reason", "演练")
    rows = await running.fetch("SELECT stream FROM monitoring.streams ORDER BY stream LIMIT 1")
    return str(rows[0][0])


def _names_the_head(report: Any, stream: str) -> None:
    assert report["ok"] is False
    (difference,) = report["differences"]
    assert difference["reason"]
    assert difference | {"reason": ""} == {
        "service": "monitoring", "table": "streams", "key": stream, "column": "version",
        "reason": "",
    }  # fmt: skip


async def test_what_cannot_be_checked_is_not_called_clean(tmp_path: Path) -> None:
    command = CommandLine(tmp_path / "home")
    nothing = command.run("verify", "-o", "json")
    assert (nothing.status, nothing.out) == (2, ""), nothing
    async with embedded_postgres.running(command.home):
        pass  # a server whose database nobody has prepared
    (command.home / "signing.jwk").write_text("{}")
    unprepared = command.run("verify", "-o", "json")
    assert (unprepared.status, unprepared.out) == (2, ""), unprepared
    assert len(unprepared.err.splitlines()) == 1, unprepared.err
    assert servers_of(command.home) == []
    unreachable = command.run(
        "verify", "-o", "json", CASEBOOK_DATABASE_URL="postgresql://127.0.0.1:1/nowhere"
    )
    assert (unreachable.status, unreachable.out) == (2, ""), unreachable
