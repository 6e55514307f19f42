"""Workers that follow a read model: what one fact does not carry, they find in rows that wait.

A reaction decides on one fact, inside the reader's transaction. What needs a whole history is
decided here, after the facts were applied; ids that derive from the row make it harmless twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Select

from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS, REBUILDING, fetch
from casebook.kit.signals import wait

if TYPE_CHECKING:
    from casebook.kit.runtime import Runtime

PAGE_ROWS = 200
IDLE_SECONDS = 60.0
"""How often to look when no fact was applied in this process: after a restored backup, say."""

Work = Callable[["Runtime"], Awaitable[int]]
Row = Mapping[str, Any]


async def keep_following(runtime: "Runtime", work: Work) -> None:
    """Work whenever facts were applied, until cancelled; what it appended is published.

    Errors of the infrastructure, and a read model that is being made anew, are waited out.
    """
    lines = get_logger(runtime.service.name)
    applied = runtime.signals.applied.subscribe()
    while True:
        try:
            if await work(runtime):
                runtime.signals.outbox.set()
        except (*INFRASTRUCTURE_ERRORS, *REBUILDING) as error:
            lines.warning("worker.retrying", error=repr(error))
            applied.set()
        await asyncio.sleep(runtime.settings.poll_seconds)
        await wait(applied, IDLE_SECONDS)


async def work_through(
    runtime: "Runtime",
    pending: Select[*tuple[Any, ...]],
    key: Column[Any],
    act: Callable[["Runtime", Row], Awaitable[int]],
) -> int:
    """Act on every row of ``pending``, page by page in the order of ``key``; add up the results.

    A row that cannot be worked on is reported, and holds nobody else up: the next look meets it
    again.
    """
    lines = get_logger(runtime.service.name)
    total = 0
    page = pending.order_by(key).limit(PAGE_ROWS)
    rest = page
    while True:
        async with runtime.database.background() as connection:
            rows = await fetch(connection, rest)
        for row in rows:
            try:
                total += await act(runtime, row)
            except (*INFRASTRUCTURE_ERRORS, *REBUILDING):
                raise
            except Exception as error:  # noqa: BLE001 - reported, and the others go on
                lines.error("worker.failed", row=str(row[key.name]), exc_info=error)
        if len(rows) < PAGE_ROWS:
            return total
        rest = page.where(key > rows[-1][key.name])
