"""The promoter: runs promotion whenever something may be ready (decisions 3.6).

Waiting never holds up another subject, and after ten minutes without progress an event goes to
the quarantine. Live work goes first: while the outbox is deep or the reader is behind, promotion
pauses, and the ten minutes with it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from casebook.kit import metrics
from casebook.kit.bookkeeping.quarantine import Quarantined, quarantine
from casebook.kit.clock import Clock
from casebook.kit.failpoints import reach
from casebook.kit.ingress.promotion import OVERDUE, Promotion
from casebook.kit.ingress.release import DISCARDED, WAITS, from_inbox, release_successors
from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS, Database
from casebook.kit.settings import Settings
from casebook.kit.signals import Signals, wait
from casebook.kit.store.store import Store

_TURN = "SELECT pg_try_advisory_xact_lock(hashtext('promote:' || current_schema()))"
# Time in which nobody swept (paused, or down) does not count.
_TICK = """
UPDATE ingress_clock SET swept_at = now(), active_seconds = active_seconds
    + least(greatest(extract(epoch FROM now() - swept_at), 0), $1) RETURNING active_seconds
"""
_PROGRESS = """
UPDATE inbox i SET clock = $1, seen = c.source_sequence FROM cases c
WHERE i.clock + $2 <= $1 AND c.key = i.case_key AND c.source_sequence > i.seen
"""
_STANDING = f"""
SELECT EXISTS (SELECT FROM inbox) OR EXISTS (SELECT FROM quarantine WHERE {WAITS}) AS waiting,
    (SELECT count(*) FROM (SELECT FROM outbox LIMIT $1) AS o) AS depth
"""
_WOKEN_CASES_MAX = 5_000
LOOK_SHARE = 10
"""A look at the whole inbox is followed by so many times its own length without one, …"""

LOOK_SECONDS_MAX = 10.0
"""… but not by more than this: what another process made ready is found by looking only."""

_LOG = get_logger("promoter")


class Promoter:
    """Promotes one service's inbox; ``lag`` says how many records its reader is behind."""

    def __init__(
        self,
        database: Database,
        store: Store,
        clock: Clock,
        signals: Signals,
        settings: Settings,
        *,
        lag: Callable[[], int],
    ) -> None:
        self._database = database
        self._keys = store.keys
        self._promotion = Promotion(store, clock)
        self._clock = clock
        self._signals = signals
        self._settings = settings
        self._lag = lag
        self._sweep_seconds = min(10.0, settings.predecessor_seconds_max / 4)
        self._swept = 0.0
        self._next_look = 0.0
        self.events_promoted = 0

    async def run(self) -> None:
        """Promote until cancelled."""
        woken = self._signals.inbox.subscribe()
        while True:
            try:
                waiting, live_first = await self._standing()
                if waiting and live_first:
                    await asyncio.sleep(0.05)
                    continue
                more = waiting and await self._round()
                await self._sweep()
                if not more and not self._signals.cases:
                    await wait(woken, self._settings.poll_seconds)
            except INFRASTRUCTURE_ERRORS as error:
                self._next_look = 0.0  # which cases were named is forgotten
                _LOG.warning("promoter.retrying", error=repr(error))
                await asyncio.sleep(0.2)

    async def _round(self) -> bool:
        """Promote one batch, of the cases that were named or of all; say whether more is ready.

        One batch only: whoever was named meanwhile, and the sweep, must not wait for the end of
        a stream that never ends.
        """
        time = asyncio.get_running_loop().time
        started = time()
        cases = self._signals.cases.take()
        everything = started >= self._next_look or len(cases) > _WOKEN_CASES_MAX
        if not everything and not cases:
            return False
        more = await self.promote(None if everything else cases)
        if more and everything:
            self._next_look = started
        elif more:
            self._signals.cases.add(cases)
        elif everything:
            # Looking through a full inbox must stay a small part of the work.
            pause = min(LOOK_SHARE * (time() - started), LOOK_SECONDS_MAX)
            self._next_look = time() + max(self._settings.poll_seconds, pause)
        return more

    def look(self) -> None:
        """Look at the whole inbox at once: something was put into it past the door."""
        self._next_look = 0.0
        self._signals.inbox.set()

    async def promote(self, cases: list[str] | None) -> bool:
        """Promote one batch; say whether there may be more."""
        limit = self._settings.promote_events_max
        async with self._database.transaction() as connection:
            if not await connection.fetchval(_TURN):
                return False
            await release_successors(connection, self._keys, cases)
            rows, more = await self._promotion.ready(connection, cases, limit)
            left = await self._promotion.promote(connection, rows) if rows else Counter[str]()
        if left:
            reach("after-promotion")
            self.events_promoted += left.total()
            metrics.count(metrics.INGRESS_RESULTS, self._database.schema, left)
            self._signals.outbox.set()
        return more and left.total() > 0

    async def _standing(self) -> tuple[bool, bool]:
        """Say whether anything waits here, and whether live work must go first.

        It must while the outbox is deep, or the reader is behind. Where nothing waits, what was
        named before is forgotten.
        """
        named = self._signals.cases.take()
        limit = self._settings.outbox_events_max
        async with self._database.background() as connection:
            [[waiting, depth]] = await connection.fetch(_STANDING, limit)
        if waiting:
            self._signals.cases.add(named)
        return bool(waiting), depth >= limit or self._lag() > self._settings.lag_records_max

    async def _sweep(self) -> None:
        """Count the time that events wait, and quarantine those that waited too long."""
        now = asyncio.get_running_loop().time()
        if now - self._swept < self._sweep_seconds:
            return
        self._swept = now
        limit = self._settings.predecessor_seconds_max
        async with self._database.transaction() as connection:
            clock = await connection.fetchval(_TICK, 2 * self._sweep_seconds)
            await connection.execute(_PROGRESS, clock, limit)
            rows = await connection.fetch(OVERDUE, clock, limit)
            bad = [_overdue(row) for row in rows]
            await quarantine(connection, self._keys, bad, self._clock.now())
        if bad:
            metrics.INGRESS_RESULTS.labels(self._database.schema, "quarantined").inc(len(bad))


def _overdue(row: Any) -> Quarantined:
    """Return the quarantine row of an event that waited too long."""
    if row["refusal"] == DISCARDED:  # out of sight, until its place can be skipped
        return from_inbox(row, DISCARDED, "waits for its predecessor")
    if row["registered"]:
        detail = f"nothing before place {row['sequence']} came"
        return from_inbox(row, "predecessor-missing", detail)
    return from_inbox(row, "unknown-source", "the source was not registered in time")
