"""The fold of work orders as anybody would write it: what the limits and the peers compute.

A row is ``[status, team, agent, waiting reason, time]``, by the id of the request.
"""

from typing import Any

Row = list[str | None]

COLUMNS = ("status", "team", "agent", "waiting_reason", "updated_at")
NEW: Row = ["queued", None, None, None, None]
UPSERT = """
INSERT INTO {} (request, status, team, agent, waiting_reason, updated_at)
SELECT * FROM unnest({}) ON CONFLICT (request) DO UPDATE SET status = excluded.status,
    team = excluded.team, agent = excluded.agent, waiting_reason = excluded.waiting_reason,
    updated_at = excluded.updated_at
"""


def fold(row: Row | None, kind: str, data: dict[str, Any], time: str) -> Row:
    """Return the row after an event, whose kind is the word before its version."""
    status, team, agent, reason, _ = row or NEW
    match kind:
        case "assigned-to-team":
            team = data["team"]
        case "assigned-to-agent":
            status, agent = "assigned", data["agent"]
        case "accepted":
            status, agent = "accepted", data["agent"]
        case "started" | "waiting-ended":
            status, reason = "in-progress", None
        case "waiting-started":
            status, reason = "waiting", data["reason"]
        case "resolved":
            status, reason = "resolved", None
        case _:
            status = "queued"
    return [status, team, agent, reason, time]


def kind_of(type_: bytes) -> str:
    """Return ``started`` of ``casebook.work-order.started.v1``."""
    return type_.decode().split(".")[2]
