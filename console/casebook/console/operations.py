"""What operators do from the command line, over the services' public APIs."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from casebook.console.client import Client
from casebook.console.connection import administrator

SERVICES = ("intake", "dispatch", "monitoring", "quality", "risk")
PAGE = 1_000
"""How many rows of a list one call asks for; the command shows all of them."""


def known(service: str) -> str:
    """Return the name of a service.

    :raises LookupError: for one that does not exist.
    """
    if service not in SERVICES:
        raise LookupError(f"the services are {', '.join(SERVICES)}")
    return service


def named(text: str) -> str:
    """Return a name as one segment of a path, whatever it holds.

    :raises LookupError: for what can be none.
    """
    if text in {"", ".", ".."}:
        raise LookupError("that is no name")
    return quote(text, safe="", errors="surrogateescape")


async def fetch_lag(home: Path, url: str | None) -> list[dict[str, Any]]:
    """Return how far each service is behind."""
    async with administrator(home, url) as client:
        return [
            {"service": service} | await client.get(f"/{service}/v1/lag") for service in SERVICES
        ]


async def rebuild_projection(
    home: Path, url: str | None, service: str, projection: str, reason: str
) -> dict[str, Any]:
    """Rebuild one projection.

    :raises LookupError: for a service that does not exist.
    """
    path = f"/{known(service)}/v1/projections/{named(projection)}/rebuilds"
    return await _act(home, url, path, reason)


@dataclass(frozen=True, slots=True)
class Target:
    """What an operator acts on, and why; listing needs at most the service."""

    service: str | None
    key: str | None
    reason: str | None


async def parked(home: Path, url: str | None, action: str, target: Target) -> Any:
    """List parked cases of all services or one; retry or discard one case.

    :raises LookupError: when acting without service, key and reason.
    """
    verb = "retries" if action == "retry" else "discards"
    return await _operate(home, url, "parked", None if action == "list" else verb, target)


async def quarantine(home: Path, url: str | None, action: str, target: Target) -> Any:
    """List quarantined events of all services or one; retry or discard one.

    :raises LookupError: when acting without service, id and reason.
    """
    verb = "retries" if action == "retry" else "discards"
    return await _operate(home, url, "quarantine", None if action == "list" else verb, target)


async def _operate(home: Path, url: str | None, what: str, verb: str | None, target: Target) -> Any:
    """List what there is, or act on one of it.

    :raises LookupError: when acting without naming what, and why.
    """
    if verb is None:
        return await _list(home, url, what, target.service)
    if target.service is None or target.key is None or target.reason is None:
        raise LookupError("to act, name the service, what to act on, and the reason")
    path = f"/{known(target.service)}/v1/{what}/{named(target.key)}/{verb}"
    return await _act(home, url, path, target.reason)


async def _list(
    home: Path, url: str | None, what: str, service: str | None
) -> list[dict[str, Any]]:
    """Return all that is listed, page by page, with its service."""
    found: list[dict[str, Any]] = []
    async with administrator(home, url) as client:
        for name in SERVICES if service is None else (known(service),):
            found += [{"service": name} | row async for row in _pages(client, f"/{name}/v1/{what}")]
    return found


async def _pages(client: Client, path: str) -> AsyncGenerator[dict[str, Any]]:
    """Return the rows of all pages of a list."""
    cursor: str | None = None
    while True:
        page = await client.get(path, {"limit": PAGE, "cursor": cursor})
        for row in page["items"]:
            yield row
        cursor = page["next_cursor"]
        if cursor is None:
            return


async def _act(home: Path, url: str | None, path: str, reason: str) -> dict[str, Any]:
    """Post a reason."""
    async with administrator(home, url) as client:
        return await client.post(path, {"reason": reason})
