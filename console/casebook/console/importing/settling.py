"""The end of an import: what was published is a fact, in the log, and applied everywhere."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from casebook.events.catalog import SERVICES

SETTLE_SECONDS = 0.2
LONG_SETTLE_SECONDS = 2.0
MANY_EVENTS = 1_800
"""While so many wait, it is no use to look often."""

STALLED_SECONDS_MAX = 900.0
"""An import gives up when nothing at all has changed for so long; predecessors get 600."""

_REMAINS = {
    "types": "the registration of the source is not applied",
    "pending": "events wait for their predecessors",
    "outbox": "events are not in the log",
    "applied": "the log is not applied",
}

Status = Mapping[str, Any]
Statuses = Mapping[str, Status]
Look = Callable[[], Awaitable[Statuses]]


class NotCompleted(RuntimeError):
    """The import did not get to its end; the text says why. Run it again to complete it."""


async def registered(look: Look, types: Collection[str]) -> None:
    """Wait until every service has read that the source may publish ``types``.

    :raises NotCompleted: when that does not come about.
    """
    await _until(look, "types", lambda status: {*types} <= {*(status["types"] or ())})


async def settle(look: Look) -> Statuses:
    """Wait until all is promoted, then published, then applied by every reader.

    ``look`` returns how far each service is with the source. Each is awaited from a moment on when
    the one before had come true everywhere, and what the log held at such a moment is enough: so
    an import ends beside other work, too.

    :raises NotCompleted: when what is awaited no longer moves.
    """
    await _until(look, "pending", lambda status: status["pending"] == 0)
    await _until(look, "outbox", lambda status: status["outbox"] == 0)
    published = await look()
    heads: Counter[str] = Counter()
    for status in published.values():
        heads |= Counter(status["heads"])
    return await _until(
        look,
        "applied",
        lambda status: all(status["applied"].get(each, 0) >= heads[each] for each in heads),
    )


async def _until(look: Look, measure: str, done: Callable[[Status], bool]) -> Statuses:
    """Wait until every service has once got there.

    :raises NotCompleted: when it does not move any more where it is awaited, whatever else does.
    """
    behind = set(SERVICES)
    seen: dict[str, Any] = {}
    unchanged = 0.0
    while True:
        statuses = await look()
        behind = {service for service in behind if not done(statuses[service])}
        if not behind:
            return statuses
        waiting = sum(status["pending"] for status in statuses.values())
        delay = SETTLE_SECONDS if waiting < MANY_EVENTS else LONG_SETTLE_SECONDS
        before, seen = seen, {service: statuses[service][measure] for service in behind}
        unchanged = unchanged + delay if before == seen else 0.0
        if unchanged >= STALLED_SECONDS_MAX:
            names = ", ".join(sorted(behind))
            raise NotCompleted(f"nothing moves any more in {names}: {_REMAINS[measure]}")
        await asyncio.sleep(delay)
