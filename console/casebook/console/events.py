"""``casebook events``: stored events of all services, merged in recorded order."""

import json
from collections.abc import AsyncGenerator, Set
from pathlib import Path
from typing import Any
from uuid import UUID

from casebook.console.client import Client
from casebook.console.connection import administrator
from casebook.events.request import RequestSubmitted

SERVICES = ("intake", "dispatch", "monitoring", "quality", "risk")
_PAGE = 1000


async def fetch_events(
    home: Path, url: str | None, *, case: str | None, type_: str | None, limit: int
) -> list[dict[str, Any]]:
    """Return the first ``limit`` events that match, in recorded order.

    :raises LookupError: when no event is about the case at all.
    """
    async with administrator(home, url) as client:
        return await matching_events(client, case=case, type_=type_, limit=limit)


async def matching_events(
    client: Client, *, case: str | None, type_: str | None, limit: int
) -> list[dict[str, Any]]:
    """Return the first ``limit`` events that match; ``case`` is its key or a request's number.

    :raises LookupError: when no event is about the case at all.
    """
    keys = None if case is None else await _keys(client, case)
    found: list[dict[str, Any]] = []
    for service in SERVICES:
        found += await _of_service(client, service, keys, None if keys else type_, limit)
    if keys and not found:
        raise LookupError(f"no case has this key, and no request this number: {case}")
    found.sort(key=lambda event: (event["recordedtime"], event["subject"], event["streamversion"]))
    return [event for event in found if type_ in {None, event["type"]}][:limit]


async def _keys(client: Client, case: str) -> Set[str]:
    """Return the keys that somebody may mean: of sources, several may use one number."""
    if _is_id(case):
        return {case}
    return {case} | {
        event["partitionkey"]
        async for event in _stored(client, "intake")
        if event["type"] == RequestSubmitted.type and event["data"].get("number") == case
    }


async def _of_service(
    client: Client, service: str, keys: Set[str] | None, type_: str | None, limit: int
) -> list[dict[str, Any]]:
    """Return all events of some cases, or the first of any case; of one type, or of all."""
    found: list[dict[str, Any]] = []
    async for event in _stored(client, service):
        if (keys is None or event["partitionkey"] in keys) and type_ in {None, event["type"]}:
            found.append(event)
            if keys is None and len(found) == limit:
                break
    return found


async def _stored(client: Client, service: str) -> AsyncGenerator[dict[str, Any]]:
    """Yield the events of one service with their chain hashes, in the order they were stored."""
    after = 0
    while page := await client.get(f"/{service}/v1/events", {"after": after, "limit": _PAGE}):
        after = page[-1]["position"]
        for row in page:
            yield json.loads(row["record"]) | {"chainhash": row["hash"]}


def _is_id(text: str) -> bool:
    """Say whether a text is an id, which is no request's number."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def event_lines(events: list[dict[str, Any]]) -> str:
    """Return events as lines: when, what, where, by whom."""
    return "\n".join(
        f"{event['recordedtime']}  {event['type']:<52} {event['subject']}@{event['streamversion']}"
        f"  {event['actor']}  {event['origin']}"
        for event in events
    )
