"""The end of an import: what was published is a fact, in the log, and applied everywhere."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from casebook.events.catalog import SERVICES

SETTLE_SECONDS = 0.2
LONG_SETTLE_SECONDS = 2.0
MANY_EVENTS = 1_800
"""While so many wait, it is no use to look often."""

STALLED_SECONDS_MAX = 900.0
"""An import gives up when nothing at all has changed for so long; predecessors get 600."""

MOMENTS = ("as_of", "applied_until")

Status = Mapping[str, Any]
Statuses = Mapping[str, Status]
Look = Callable[[], Awaitable[Statuses]]


class NotCompleted(RuntimeError):
    """The import did not get to its end; the text says why. Run it again to complete it."""


async def settle(look: Look) -> Statuses:
    """Wait until all is promoted, then published, then applied by every reader.

    ``look`` returns how far each service is with the source. Each is awaited from a moment on when
    the one before had come true everywhere, and what the log held at such a moment is enough: so
    an import ends beside other work, too.

    :raises NotCompleted: when nothing moves any more.
    """
    await _until(look, "pending", lambda _, status: status["pending"] == 0)
    await _until(look, "outbox", lambda _, status: status["outbox"] == 0)
    published = await look()
    moments = {service: _moment(published[service]["as_of"]) for service in SERVICES}

    def applied(service: str, status: Status) -> bool:
        until = status["applied_until"]
        return until is not None and _moment(until) >= moments[service]

    return await _until(look, "lag", applied)


async def _until(look: Look, measure: str, done: Callable[[str, Status], bool]) -> Statuses:
    """Wait until every service has once got there.

    :raises NotCompleted: when nothing moves any more.
    """
    behind = set(SERVICES)
    seen: dict[str, Any] = {}
    unchanged = 0.0
    while True:
        statuses = await look()
        behind = {service for service in behind if not done(service, statuses[service])}
        if not behind:
            return statuses
        waiting = sum(status["pending"] for status in statuses.values())
        delay = SETTLE_SECONDS if waiting < MANY_EVENTS else LONG_SETTLE_SECONDS
        before, seen = seen, {name: _amounts(status) for name, status in statuses.items()}
        unchanged = unchanged + delay if before == seen else 0.0
        if unchanged >= STALLED_SECONDS_MAX:
            names = ", ".join(sorted(behind))
            raise NotCompleted(f"nothing moves any more; {measure} remains in {names}")
        await asyncio.sleep(delay)


def _moment(text: str) -> datetime:
    """Return a moment that a service told."""
    return datetime.fromisoformat(text)


def _amounts(status: Status) -> dict[str, Any]:
    """Return what changes only when something moves."""
    return {name: value for name, value in status.items() if name not in MOMENTS}
