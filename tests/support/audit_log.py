"""The incident audit log as it stands in the file, read with the standard library alone.

One row is one modification of a request: a snapshot of all its fields. Rows of a request stand
together and in order; their order is the file's, whatever the times say. Times are taken as UTC,
with minute resolution, and kept as they stand.
"""

import csv
import gzip
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "console/casebook/console/samples/servicenow-audit-900.csv.gz"
BESIDE = ROOT.parent / "shared/data/incident_event_log.dev.csv.gz"


def real_log() -> Path:
    """The largest real log at hand: the one named, else the one beside, else the sample."""
    if named := os.environ.get("CASEBOOK_UCI498"):
        return Path(named)
    return BESIDE if BESIDE.exists() else SAMPLE


@dataclass(frozen=True)
class Row:
    """What one modification of a request left behind; ``None`` where the source has ``?``."""

    at: datetime
    state: str
    priority: str | None
    team: str | None
    agent: str | None
    reopen_count: int
    made_sla: bool

    @property
    def waiting(self) -> bool:
        """Whether the work rests, for whatever reason."""
        return self.state.startswith("Awaiting")


@dataclass(frozen=True)
class Request:
    """One request of the log: when it was submitted, and its rows in file order.

    ``complete`` unless later rows were cut off.
    """

    number: str
    submitted: datetime
    rows: tuple[Row, ...]
    complete: bool = True

    @property
    def priority(self) -> str | None:
        """The last priority."""
        return self.rows[-1].priority if self.rows else None

    @property
    def last_resolution(self) -> Row | None:
        """The last row that says Resolved, whether it entered that state or amended it."""
        return next((row for row in reversed(self.rows) if row.state == "Resolved"), None)

    @property
    def team(self) -> str | None:
        """The team at the last resolution, else the last team."""
        last = self.last_resolution or (self.rows[-1] if self.rows else None)
        return last.team if last else None

    @property
    def last_closure(self) -> datetime | None:
        """The last time that the request entered Closed."""
        entered = [row.at for before, row in self.steps() if enters(before, row, "Closed")]
        return entered[-1] if entered else None

    def steps(self) -> Iterator[tuple[Row | None, Row]]:
        """Each row with the one before it, the first with nothing."""
        if self.rows:
            yield None, self.rows[0]
        yield from pairwise(self.rows)


def as_of(requests: Iterable[Request], moment: datetime) -> list[Request]:
    """What of these requests had happened by a moment.

    :raises ValueError: where the times of a request stand so that this is not a beginning of it.
    """
    cut: list[Request] = []
    for request in requests:
        happened = [row.at <= moment for row in request.rows]
        number = sum(happened)
        if any(happened[number:]) or (number and request.submitted > moment):
            raise ValueError(f"{request.number} has no beginning at {moment}")
        if request.submitted <= moment:
            rows = request.rows[:number]
            complete = number == len(request.rows)
            cut.append(replace(request, rows=rows, complete=complete))
    return cut


def enters(before: Row | None, row: Row, state: str) -> bool:
    """Whether this row is where the request comes into ``state``."""
    return row.state == state and (before is None or before.state != state)


def read_requests(path: Path, *, limit: int | None = None) -> list[Request]:
    """Read an audit log, plain or gzipped; ``limit`` keeps the first requests of the file."""
    opener = gzip.open if path.suffix == ".gz" else open
    grouped: dict[str, list[dict[str, str]]] = {}
    with opener(path, "rt", encoding="utf-8", newline="") as lines:
        for record in csv.DictReader(lines):
            if record["number"] not in grouped and limit is not None and len(grouped) == limit:
                continue
            grouped.setdefault(record["number"], []).append(record)
    return [
        Request(number, _time(records[0]["opened_at"]), tuple(_row(record) for record in records))
        for number, records in grouped.items()
    ]


def _row(record: dict[str, str]) -> Row:
    priority = _known(record["priority"])
    return Row(
        at=_time(record["sys_updated_at"]),
        state=record["incident_state"],
        priority=priority.split(" ", 1)[0] if priority else None,
        team=_known(record["assignment_group"]),
        agent=_known(record["assigned_to"]),
        reopen_count=int(record["reopen_count"]),
        made_sla=record["made_sla"] == "true",
    )


def _known(text: str) -> str | None:
    return None if text == "?" else text


def _time(text: str) -> datetime:
    day, month, rest = text.split("/")
    year, clock = rest.split(" ")
    hour, minute = clock.split(":")
    return datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=UTC)
