"""Nasty values by the command line: in every column that an import reads, and in every free text.

A command ends with status 0, 1 or 2 (an import also with 3: something was quarantined), and where
it does not do it, it says so in one line: never a traceback. A row of a file becomes facts, or is
in quarantine with file, line and reason, and every row is counted.
"""

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from casebook.console.importing.audit_rows import COLUMNS, NUMBER
from casebook.kit.ids import source_id
from tests.fuzz.ground import Ground
from tests.fuzz.outcome import Outcome
from tests.fuzz.records import text_of
from tests.support.audit_log import SAMPLE
from tests.support.command import CommandLine, environment
from tests.support.nasties import NASTIES

KIND_ROWS, KIND_OPTIONS = "nasty values in a file to import", "nasty values in options"
IMPORT_SECONDS_MAX = 900.0
PROGRESS = "import: "
X = object()
"""Where the nasty stands."""

OPTIONS: tuple[tuple[object, ...], ...] = (
    ("token", "--role", X),
    ("token", "--role", "agent", "--subject", X),
    ("token", "--role", "requester", "--organisation", X),
    ("token", "--role", "publisher", "--source", X),
    ("token", "--role", "agent", "--ttl", X),
    ("kpi", "--as-of", X),
    ("events", "--case", X),
    ("events", "--type", X, "--limit", "1"),
    ("rebuild", X, "work", "--reason", "因为"),
    ("rebuild", "intake", X, "--reason", "因为"),
    ("rebuild", "intake", "nothing", "--reason", X),
    ("parked", "list", "--service", X),
    ("parked", "retry", "--service", X, "--key", "nothing", "--reason", "因为"),
    ("parked", "retry", "--service", "intake", "--key", X, "--reason", "因为"),
    ("parked", "retry", "--service", "intake", "--key", "nothing", "--reason", X),
    ("parked", "discard", "--service", "intake", "--key", "nothing", "--reason", X),
    ("parked", X),
    ("quarantine", "list", "--service", X),
    ("quarantine", "discard", "--service", "intake", "--id", X, "--reason", "因为"),
    ("quarantine", "discard", "--service", "risk", "--id", "nothing", "--reason", X),
    ("quarantine", "retry", "--service", "risk", "--id", "nothing", "--reason", X),
    ("quarantine", X),
    ("import", "servicenow-audit", X),
    ("import", "servicenow-audit", SAMPLE, "--limit", "1", "--source", X),
    ("import", "servicenow-audit", SAMPLE, "--limit", "1", "--utc-offset", X),
    ("import", "servicenow-audit", SAMPLE, "--limit", "1", "--url", X),
    ("import", X, SAMPLE),
    ("kpi", "--by", X),
    ("kpi", "--url", X),
    ("events", "--limit", X),
    ("lag", "--url", X),
    ("lag", "-o", X),
    ("bench", X),
    ("init", "--publisher", X),
    ("--home", X, "events", "--limit", "1"),
    (X,),
)


def in_options(ground: Ground, step: int, start: int) -> Outcome:
    """Run commands with every ``step``-th nasty in every place; NUL is in no argument."""
    outcome = Outcome()
    home, url = str(ground.cast.desk.home.path), ground.url
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.shell"], env=environment({"CASEBOOK_URL": url}),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as shell:  # fmt: skip
        assert shell.stdin is not None
        assert shell.stdout is not None
        for words in _commands(step, start):
            shell.stdin.write(json.dumps(["--home", home, *words]) + "\n")
            shell.stdin.flush()
            done = json.loads(shell.stdout.readline())
            outcome.cases[KIND_OPTIONS] += 1
            outcome.answers[f"status {done['status']}"] += 1
            if (wrong := _wrong(done)) is not None:
                outcome.fail(f"casebook {ascii(words)[:300]}: {wrong}")
        shell.stdin.close()
    return outcome


def _commands(step: int, start: int) -> Iterator[list[str]]:
    number = 0
    for words in OPTIONS:
        for nasty in NASTIES:
            number += 1
            text = text_of(nasty).decode("utf-8", "surrogateescape")
            if number % step == start % step and "\0" not in text:
                yield [text if word is X else str(word) for word in words]


def _wrong(done: dict[str, Any]) -> str | None:
    """Return what is wrong with how a command ended."""
    if done["trace"] is not None:
        return str(done["trace"])[-700:]
    lines = [one for one in done["err"].splitlines() if not one.startswith(PROGRESS)]
    if done["status"] == 1 and (len(lines) != 1 or not lines[0].startswith("casebook: ")):
        return f"not one line: {done['err'][-500:]!r}"
    if done["status"] == 2 and "Usage:" not in done["err"]:
        return f"a wrong use without the right one: {done['err'][-500:]!r}"
    return None if done["status"] in {0, 1, 2, 3} else f"status {done['status']}"


# --- a file --------------------------------------------------------------------------------------


def in_rows(ground: Ground, folder: Path, step: int, start: int) -> Outcome:
    """Import a file with every ``step``-th nasty in every column."""
    outcome, source = Outcome(), f"fuzz-rows-{start}"
    file = folder / f"rows-{start}.csv"
    cells = list(_rows(step, start))
    file.write_bytes(b"\n".join([b",".join(map(_quoted, row)) for row in cells]) + b"\n")
    done = CommandLine(ground.cast.desk.home.path).run(
        "import", "servicenow-audit", file, "--source", source, "--url", ground.url,
        "-o", "json", seconds_max=IMPORT_SECONDS_MAX,
    )  # fmt: skip
    outcome.cases[KIND_ROWS] = len(cells) - 1
    if done.status not in {0, 3}:
        outcome.fail(f"status {done.status}: {done.err[-900:]}")
        return outcome
    for wrong in ground.do(_unaccounted(ground, source, file, done.document, outcome)):
        outcome.fail(wrong)
    return outcome


async def _unaccounted(
    ground: Ground, source: str, file: Path, summary: Any, outcome: Outcome
) -> list[str]:
    """Return what is wrong with what an import said, and with what became of the lines."""
    await ground.quiet()
    lines = _lines(file)
    rejected: dict[int, str] = {}
    quarantined: set[str] = set()
    total = 0
    for service in ("intake", "dispatch", "quality"):
        for kind, detail, key in await ground.rows(
            f"SELECT reason, detail, case_key FROM {service}.quarantine WHERE source = '{source}'"
        ):
            total += 1
            quarantined.add(key)
            if kind == "row-rejected":
                place, _, reason = detail.removeprefix(f"{file.name} line ").partition(": ")
                rejected[int(place)] = reason
    cases = set(await ground.column("SELECT key FROM intake.cases WHERE origin = 'observed'"))
    wrong = [f"line {at} has no reason" for at, reason in rejected.items() if not reason]
    for at, raw in lines.items():
        number = _number(raw)
        key = "" if number is None else str(source_id(source, "request", number))
        if at in rejected:
            outcome.answers["row-rejected"] += 1
        elif key in cases:
            outcome.answers["facts"] += 1
        elif key in quarantined:
            outcome.answers["quarantined"] += 1
        else:
            wrong.append(f"line {at} is lost: {raw[:300]!r}")
    if summary["rows"] != len(lines) or summary["quarantined"] != total:
        wrong.append(f"{len(lines)} lines, {total} quarantined, and it said {summary}")
    return wrong


def _rows(step: int, start: int) -> Iterator[list[bytes]]:
    """Yield the header, and a row for each nasty in each column that is read."""
    with gzip.open(SAMPLE, "rt", encoding="utf-8", newline="") as file:
        first = next(csv.DictReader(file))
    yield [name.encode() for name in first]
    number = 0
    for column in COLUMNS.values():
        for nasty in NASTIES:
            number += 1
            if number % step == start % step:
                row = {name: value.encode() for name, value in first.items()}
                row[NUMBER] = f"INC-{number}".encode()
                row[column] = text_of(nasty)
                yield list(row.values())


def _quoted(cell: bytes) -> bytes:
    return b'"' + cell.replace(b'"', b'""') + b'"' if set(cell) & set(b'",\r\n') else cell


def _lines(file: Path) -> dict[int, bytes]:
    """Return the lines that are not empty, by their number, without the header."""
    found = enumerate(file.read_bytes().split(b"\n"), 1)
    lines = {at: raw.rstrip(b"\r") for at, raw in found if raw.strip()}
    del lines[1]
    return lines


def _number(raw: bytes) -> str | None:
    """Return the number of a row, if the row is CSV."""
    try:
        return next(csv.reader([raw.decode()], strict=True))[0]
    except (UnicodeDecodeError, csv.Error, StopIteration, IndexError):
        return None
