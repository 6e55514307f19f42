"""``casebook events``: stored events of all services, merged in recorded order."""

import json
from pathlib import Path
from typing import Any

from casebook.console.client import Client
from casebook.console.connection import administrator

SERVICES = ("intake", "dispatch", "monitoring", "quality", "risk")
_PAGE = 1000


async def fetch_events(
    home: Path, url: str | None, *, case: str | None, type_: str | None, limit: int
) -> list[dict[str, Any]]:
    """Return the first ``limit`` events that match, in recorded order."""
    found: list[dict[str, Any]] = []
    async with administrator(home, url) as client:
        for service in SERVICES:
            found += await _of_service(client, service, case, type_, limit)
    found.sort(key=lambda event: (event["recordedtime"], event["subject"], event["streamversion"]))
    return found[:limit]


async def _of_service(
    client: Client, service: str, case: str | None, type_: str | None, limit: int
) -> list[dict[str, Any]]:
    """Return the first matching events of one service."""
    found: list[dict[str, Any]] = []
    after = 0
    while len(found) < limit:
        page = await client.get(f"/{service}/v1/events", {"after": after, "limit": _PAGE})
        if not page:
            break
        after = page[-1]["position"]
        for row in page:
            event = json.loads(row["record"])
            wanted = case in {None, event["partitionkey"]} and type_ in {None, event["type"]}
            if wanted:
                found.append(event | {"chainhash": row["hash"]})
    return found[:limit]


def event_lines(events: list[dict[str, Any]]) -> str:
    """Return events as lines: when, what, where, by whom."""
    return "\n".join(
        f"{event['recordedtime']}  {event['type']:<52} {event['subject']}@{event['streamversion']}"
        f"  {event['actor']}  {event['origin']}"
        for event in events
    )
