"""The audit log of a ServiceNow platform as published events: rows in, CloudEvents out.

Pure: the same rows give the same events, so that importing a file again, or one that overlaps
with it, changes nothing. Events are the JSON form of structured CloudEvents 1.0. A request's
events carry its number as ``subject`` and count up in ``sourcesequence``, over all services.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from casebook.console.importing.audit_file import Line
from casebook.console.importing.audit_rows import (
    NUMBER_LENGTH_MAX,
    Columns,
    Row,
    RowReader,
    Unreadable,
)
from casebook.console.importing.rules import (
    NO,
    NOTHING,
    REJECTED,
    REJECTED_BY,
    STATES,
    SUBMITTED,
    YES,
    scale,
    told,
)

CHANNELS = frozenset({"Phone", "Email"})
CURIOSITIES_MAX = 200
BEGINNING = "2000-01-01T00:00:00+00:00"
"""When a row happened that cannot be read, and has no row before it that can."""

_GROUP = re.compile(r"Group \d+")
_SCALES = (("impact", 3), ("urgency", 3), ("priority", 4))
_FLAGS = ("made_sla", "knowledge", "priority_confirmed")
_FLAG_VALUES = frozenset({YES, NO, None})


class Addressed(NamedTuple):
    """A published event, as JSON values, and the service that takes it."""

    service: str
    event: dict[str, Any]


class AuditMapping:
    """Maps the requests of one file, and counts what it saw.

    ``rejected`` counts rows that cannot be read, ``curiosities`` what was taken although it is
    not as expected: unknown states, channels and groups, numbers that are none, times that go
    back.

    :raises ValueError: when ``utc_offset`` is not written ``+HH:MM``.
    """

    def __init__(self, columns: Columns, *, file: str, source: str, utc_offset: str) -> None:
        self.rows = 0
        self.requests = 0
        self.rejected = 0
        self.curiosities: Counter[str] = Counter()
        self._reader = RowReader(columns, utc_offset)
        self._source = source
        self._file = _label(file)

    def request(self, number: str, lines: Sequence[Line]) -> list[Addressed]:
        """Return the events of a request in order; ``lines`` are all its rows."""
        found: list[Addressed] = []
        before, time, sequence = NOTHING, BEGINNING, 0
        for ordinal, (line, row) in enumerate(zip(lines, self._read(lines), strict=True), start=1):
            if isinstance(row, Unreadable):
                found.append(self._rejection(number, ordinal, line, time, row))
                continue
            now = self._with_count(before, row)
            self._wonder(before, now)
            for type_, service, data in told(before, now):
                sequence += 1
                event = self._event(ordinal, type_, now, data)
                event["sourcesequence"] = sequence
                found.append(Addressed(service, event))
            before, time = now, now.time
        self.requests += sequence > 0
        return found

    def stray(self, line: Line) -> Addressed:
        """Return the event of a row whose number cannot be read."""
        (row,) = self._read([line])
        reason = row if isinstance(row, Unreadable) else Unreadable("the number cannot be read")
        return self._rejection(self._file, line.number, line, BEGINNING, reason)

    def _read(self, lines: Sequence[Line]) -> list[Row | Unreadable]:
        """Read the rows of a request; the first one that can be read needs ``opened_at`` too."""
        self.rows += len(lines)
        rows: list[Row | Unreadable] = []
        last: int | None = None
        for line in lines:
            try:
                row = self._reader.read(line.raw)
                if last is None:
                    row = row._replace(opened_at=self._reader.opened(row))
                last = len(rows)
                rows.append(row)
            except Unreadable as unreadable:
                rows.append(unreadable)
        if last is not None:
            rows[last] = rows[last]._replace(last=True)  # type: ignore[union-attr]
        return rows

    def _event(self, ordinal: int, type_: str, row: Row, data: dict[str, Any]) -> dict[str, Any]:
        """Return one event of a row."""
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"{self._source}:{row.number}:{ordinal}:{type_}",
            "source": self._source,
            "type": type_,
            "subject": row.number,
            "time": row.opened_at if type_ == SUBMITTED else row.time,
            "data": data,
        }
        if row.actor is not None:
            event["actor"] = row.actor
        return event

    def _rejection(
        self, subject: str, place: int, line: Line, time: str, reason: Unreadable
    ) -> Addressed:
        """Return what stands for a row that cannot be read; it has no place in the history."""
        self.rejected += 1
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"{self._source}:{subject}:{place}:{REJECTED}",
            "source": self._source,
            "type": REJECTED,
            "subject": subject,
            "time": time,
            "data": {"file": self._file, "line": line.number, "reason": str(reason)},
        }
        return Addressed(REJECTED_BY, event)

    def _with_count(self, before: Row, row: Row) -> Row:
        """Return the row with a ``reopen_count`` that is a number: if need be, the one before."""
        count = row.reopen_count
        if count is None or (count.isascii() and count.isdigit()):
            return row if count is not None else row._replace(reopen_count=before.reopen_count)
        self._count("unreadable reopen_count", count)
        return row._replace(reopen_count=before.reopen_count)

    def _wonder(self, before: Row, row: Row) -> None:
        """Count what is new in this row and not as expected."""
        if row.state != before.state and row.state not in STATES:
            self._count("unknown state", row.state)
        if row.channel != before.channel and row.channel not in CHANNELS:
            self._count("unknown channel", row.channel)
        if row.team != before.team and row.team and not _GROUP.fullmatch(row.team):
            self._count("unknown group", row.team)
        for name, top in _SCALES:
            value = getattr(row, name)
            if value is not None and value != getattr(before, name) and scale(value, top) is None:
                self._count(f"unreadable {name}", value)
        for name in _FLAGS:
            value = getattr(row, name)
            if value not in _FLAG_VALUES and value != getattr(before, name):
                self._count(f"unreadable {name}", value)
        earlier = row.opened_at if before is NOTHING else before.time
        if row.time < (earlier or ""):
            self._count("time goes back")

    def _count(self, what: str, value: str | None = None) -> None:
        """Count something odd, by name as long as there are not too many names."""
        name = what if value is None else f"{what}: {value}"
        if name not in self.curiosities and len(self.curiosities) >= CURIOSITIES_MAX:
            name = f"{what}: others"
        self.curiosities[name] += 1


def _label(name: str) -> str:
    """Return a file name that can stand in an event."""
    shown = "".join(character if character.isprintable() else "?" for character in name)
    return shown[-NUMBER_LENGTH_MAX:] if shown.strip() else "file"
