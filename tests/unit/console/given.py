"""Small audit logs, written by hand: what the tests of the import start from."""

import gzip
from pathlib import Path
from typing import Any

from casebook.console.importing.audit_file import AuditLog
from casebook.console.importing.servicenow import AuditMapping
from tests.support.audit_log import SAMPLE

HEADER = gzip.decompress(SAMPLE.read_bytes()).decode().split("\n", 1)[0].split(",")
SAMPLE_EVENTS = 12_553
FIRST = {
    "number": "INC0000001",
    "incident_state": "New",
    "active": "true",
    "reassignment_count": "0",
    "reopen_count": "0",
    "sys_mod_count": "0",
    "made_sla": "true",
    "caller_id": "Caller 1",
    "opened_by": "Opened by  2",
    "opened_at": "1/3/2016 09:05",
    "sys_updated_by": "Updated by 3",
    "sys_updated_at": "1/3/2016 09:10",
    "contact_type": "Phone",
    "location": "Location 4",
    "category": "Category 5",
    "subcategory": "Subcategory 6",
    "u_symptom": "?",
    "impact": "2 - Medium",
    "urgency": "2 - Medium",
    "priority": "3 - Moderate",
    "assignment_group": "?",
    "assigned_to": "?",
    "knowledge": "false",
    "u_priority_confirmation": "false",
    "notify": "Do Not Notify",
    "resolved_at": "31/12/2016 23:59",
    "resolved_by": "Resolved by 7",
    "closed_at": "31/12/2016 23:59",
    "closed_code": "code 8",
}
"""An open request that nobody has touched; columns that are not here hold ``?``."""


def line(**changes: str) -> str:
    """Return a row: the first one, with these columns changed."""
    values = FIRST | changes
    return ",".join(values.get(name, "?") for name in HEADER)


def rows(*changes: dict[str, str]) -> list[str]:
    """Return rows of one request, each with more of it changed than the one before."""
    values: dict[str, str] = {}
    found: list[str] = []
    for change in changes:
        values = values | change
        found.append(line(**values))
    return found


def write(path: Path, lines: list[str], header: list[str] = HEADER) -> Path:
    """Write a log; lone surrogates become the bytes that they stand for."""
    text = "\n".join([",".join(header), *lines]) + "\n"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def events_of(path: Path, **options: Any) -> list[dict[str, Any]]:
    """Return all events of a file, in order."""
    log = AuditLog(path, limit=options.pop("limit", None))
    return mapped(log, mapping_of(log, **options))


def mapping_of(log: AuditLog, source: str = "uci498", utc_offset: str = "+00:00") -> AuditMapping:
    """Return a mapping for a file."""
    return AuditMapping(log.columns, file=log.name, source=source, utc_offset=utc_offset)


def mapped(log: AuditLog, mapping: AuditMapping) -> list[dict[str, Any]]:
    """Return all events of a file by this mapping."""
    found: list[dict[str, Any]] = []
    for number, lines in log.requests():
        if number is None:
            found.extend(mapping.stray(row).event for row in lines)
        else:
            found.extend(addressed.event for addressed in mapping.request(number, lines))
    return found


def short(event: dict[str, Any]) -> str:
    """Return a type without its beginning and its version."""
    return event["type"].removeprefix("casebook.").removesuffix(".v1")
