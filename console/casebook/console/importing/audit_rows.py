"""Rows of an audit log: from the bytes of a line to named values, or the reason why not.

Columns are found by name, so their order does not matter and more of them do no harm. What the
columns hold that the source filled in later (``resolved_at`` and the like) is never looked at.
"""

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import NamedTuple, Self

from casebook.events.values import (
    EARLIEST,
    LABEL_LENGTH_MAX,
    LATEST,
    UNSAFE_LABEL,
    UNSAFE_TEXT,
)

LINE_BYTES_MAX = 64 * 1024
NUMBER = "number"
NUMBER_LENGTH_MAX = 100
"""So that source, number, ordinal and event type fit together into an event id."""

MISSING = frozenset({"?", ""})
"""How the source writes that there is no value."""

_TIME = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d{2})", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d{2}):(\d{2})", re.ASCII)
_OFFSET_HOURS_MAX = 14
_NO_TIME = "{} is no time of 2000 to 2099 written d/m/yyyy HH:MM"


class NotAnAuditLog(ValueError):
    """The file is no audit log, or not a whole one."""


class Unreadable(ValueError):
    """A row that cannot be read; the text says why, without repeating what it holds."""


class Row(NamedTuple):
    """What one modification left behind; ``None`` where the source has nothing.

    ``time`` is RFC 3339; the other values are as they stand in the file. ``last`` is set on the
    last readable row of a request.
    """

    number: str
    time: str
    opened_at: str | None
    actor: str | None
    state: str | None
    reopen_count: str | None
    made_sla: str | None
    requester: str | None
    opened_by: str | None
    channel: str | None
    location: str | None
    category: str | None
    subcategory: str | None
    symptom: str | None
    configuration_item: str | None
    impact: str | None
    urgency: str | None
    priority: str | None
    team: str | None
    agent: str | None
    knowledge: str | None
    priority_confirmed: str | None
    problem: str | None
    change: str | None
    vendor: str | None
    causing_change: str | None
    closed_code: str | None
    last: bool = False


COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "number": NUMBER,
        "time": "sys_updated_at",
        "opened_at": "opened_at",
        "actor": "sys_updated_by",
        "state": "incident_state",
        "reopen_count": "reopen_count",
        "made_sla": "made_sla",
        "requester": "caller_id",
        "opened_by": "opened_by",
        "channel": "contact_type",
        "location": "location",
        "category": "category",
        "subcategory": "subcategory",
        "symptom": "u_symptom",
        "configuration_item": "cmdb_ci",
        "impact": "impact",
        "urgency": "urgency",
        "priority": "priority",
        "team": "assignment_group",
        "agent": "assigned_to",
        "knowledge": "knowledge",
        "priority_confirmed": "u_priority_confirmation",
        "problem": "problem_id",
        "change": "rfc",
        "vendor": "vendor",
        "causing_change": "caused_by",
        "closed_code": "closed_code",
    }
)
"""Which column each value of a :class:`Row` comes from, in the order of its fields."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the columns stand: name → place, and how many there are in all."""

    places: Mapping[str, int]
    width: int

    @classmethod
    def of(cls, header: bytes) -> Self:
        """Return the places of the columns that a header names.

        :raises NotAnAuditLog: when one that is needed is not there.
        """
        try:
            names = next(csv.reader([header.decode("utf-8-sig")], strict=True), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise NotAnAuditLog("the header is not CSV in UTF-8") from error
        places = {name.strip(): place for place, name in enumerate(names)}
        missing = [name for name in COLUMNS.values() if name not in places]
        if missing:
            raise NotAnAuditLog(f"the header has no column {', '.join(missing)}")
        return cls(places, len(names))


class RowReader:
    """Reads the rows of one file; its times are local times of one fixed offset."""

    def __init__(self, columns: Columns, utc_offset: str) -> None:
        self._width = columns.width
        self._pick: Callable[[list[str]], tuple[str, ...]] = itemgetter(
            *(columns.places[name] for name in COLUMNS.values())
        )
        self._moment = _moments(offset(utc_offset))

    def read(self, raw: bytes) -> Row:
        """Return the row of a line.

        :raises Unreadable: when it cannot be read.
        """
        if len(raw) > LINE_BYTES_MAX:
            raise Unreadable(f"the line is longer than {LINE_BYTES_MAX} bytes")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise Unreadable("the line is not UTF-8") from None
        if not text.isprintable() and not _is_safe(text):
            raise Unreadable("the line holds a character that cannot be stored")
        cells = _quoted(text) if '"' in text else text.split(",")
        if len(cells) != self._width:
            raise Unreadable(f"the line has {len(cells)} columns, not {self._width}")
        picked = self._pick(cells)
        if len(max(picked, key=len)) > LABEL_LENGTH_MAX:
            raise Unreadable(f"a value is longer than {LABEL_LENGTH_MAX} characters")
        values = [None if cell in MISSING or cell.isspace() else cell for cell in picked]
        number, time = values[0], values[1]
        if number is None or len(number) > NUMBER_LENGTH_MAX:
            raise Unreadable(f"the number is missing, or longer than {NUMBER_LENGTH_MAX}")
        values[1] = self._moment(time)
        if values[1] is None:
            raise Unreadable(_NO_TIME.format("sys_updated_at"))
        return Row(*values)  # type: ignore[arg-type]

    def opened(self, row: Row) -> str:
        """Return when the request of a row was opened, as RFC 3339.

        :raises Unreadable: when the row does not say.
        """
        found = self._moment(row.opened_at)
        if found is None:
            raise Unreadable(_NO_TIME.format("opened_at"))
        return found


def offset(text: str) -> timezone:
    """Return the time zone of a fixed offset such as ``+08:00``.

    :raises ValueError: when it is not one.
    """
    match = _OFFSET.fullmatch(text)
    if match is None or int(match[2]) > _OFFSET_HOURS_MAX or int(match[3]) >= 60:  # noqa: PLR2004
        raise ValueError("an offset from UTC is written +HH:MM or -HH:MM")
    minutes = int(match[2]) * 60 + int(match[3])
    return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))


def is_number(text: str) -> bool:
    """Say whether a value can be the number of a request."""
    return (
        text not in MISSING
        and not text.isspace()
        and len(text) <= NUMBER_LENGTH_MAX
        and (text.isprintable() or _is_safe(text))
    )


def _is_safe(text: str) -> bool:
    return not UNSAFE_TEXT.search(text) and not UNSAFE_LABEL.search(text)


def _quoted(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error:
        raise Unreadable("the line has a quote that is not closed, or in a wrong place") from None


def _moments(zone: timezone) -> Callable[[str | None], str | None]:
    """Return a function from the source's way to write times to RFC 3339; ``None`` if it is none.

    Rows of a request share days and minutes, hence the cache.
    """

    @lru_cache(maxsize=2**14)
    def moment(text: str | None) -> str | None:
        match = _TIME.fullmatch(text or "")
        if match is None:
            return None
        day, month, year, hour, minute = map(int, match.groups())
        try:
            found = datetime(year, month, day, hour, minute, tzinfo=zone)
            return found.isoformat() if EARLIEST <= found < LATEST else None
        except ValueError:
            return None

    return moment
