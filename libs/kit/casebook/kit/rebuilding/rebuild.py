"""Rebuilding a projection: its own reader, a new table, and one swap (decisions 3.2).

The rebuild reads the log from its beginning into a new generation, with a ``cases`` table of its
own against repetitions, while queries and the live reader go on with the old one. It never goes
beyond the live reader. When it is close, it takes the live reader's lock, reads the rest, and
swaps in the same transaction: no read fails and none mixes two generations, and a busy log cannot
keep it from ending. Killed in the middle, it goes on where it had committed. Reactions never run
here. All of it is done by a process of its own (ADR 0069), where it never holds up the event loop.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from casebook.events.decoding import base
from casebook.kit import metrics
from casebook.kit.bookkeeping.cases import CaseTable
from casebook.kit.bookkeeping.checkpoints import (
    LIVE,
    fresh,
    lock_checkpoints,
    read_checkpoints,
    write_checkpoints,
)
from casebook.kit.bookkeeping.parking import left_out, park, parked_keys, take_parked
from casebook.kit.log.event_log import PARTITIONS, Batch, LogConsumer, LogRecord
from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS, RACES, Connection
from casebook.kit.read_models.projections import Projection, ProjectionTable
from casebook.kit.read_models.registry import (
    activate,
    create_generation,
    drop_leftovers,
    dropped,
    stale,
)
from casebook.kit.reading.applying import admit
from casebook.kit.rebuilding.process import Made, RebuildFailed, Tell, rebuild_in_process

if TYPE_CHECKING:
    from casebook.kit.runtime import Runtime

SWAP_SECONDS_MAX = 2.0
"""How long a swap may hold up the live reader, and wait for readers of the old table."""
RETRY_SECONDS = 0.5
FAILED_SECONDS = 30.0
LOOK_SECONDS = 2.0
TOLD_SECONDS = 1.0
_LOG = get_logger("rebuild")


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did."""

    projection: str
    generation: int
    records: int
    seconds: float


class Superseded(Exception):
    """Another process finished this rebuild, or began one of another version."""


async def rebuild_stale(runtime: "Runtime") -> None:
    """Finish rebuilds that were interrupted, and rebuild what is older than the code.

    One that fails is reported and tried again later; until then, its old table is read. From then
    on until cancelled, what somebody has dropped is made anew.
    """
    find = _unfinished
    while True:
        failed = False
        try:
            found = await find(runtime)
        except INFRASTRUCTURE_ERRORS as error:
            _LOG.warning("rebuild.retrying", error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)
            continue
        for projection in found:
            try:
                await rebuild(runtime, projection)
            except RebuildFailed:
                failed = True  # and logged, with its cause, by the process that failed
            except Exception as error:  # noqa: BLE001 - the others, and all reads, go on
                failed = True
                _LOG.critical("rebuild.failed", projection=projection.name, exc_info=error)
        find = find if failed else _dropped
        await asyncio.sleep(FAILED_SECONDS if failed else LOOK_SECONDS)


async def _unfinished(runtime: "Runtime") -> list[Projection]:
    """Return the projections whose rebuild was interrupted, or has to begin."""
    async with runtime.database.background() as connection:
        behind = list(await stale(connection, runtime.service.projections))
        rows = await connection.fetch("SELECT name FROM rebuilds")
    names = {row[0] for row in rows} | {projection.name for projection in behind}
    return [projection for projection in runtime.service.projections if projection.name in names]


async def _dropped(runtime: "Runtime") -> list[Projection]:
    """Return the projections whose table is gone; nobody but an operator does that.

    Versions are compared at the start only: while two releases run, each has its own.
    """
    async with runtime.database.background() as connection:
        return list(await dropped(connection, runtime.service.projections))


async def rebuild(runtime: "Runtime", projection: Projection) -> Rebuilt:
    """Rebuild one projection and swap it in; goes on with a rebuild that was interrupted.

    A process of its own does it if it can find the service, and this one if not.

    :raises RebuildFailed: when that process failed.
    """
    started = time.monotonic()
    tell = metrics.REBUILD_PROGRESS.labels(runtime.service.name, projection.name).set
    found_at = runtime.service.found_at
    async with runtime.rebuilding:  # one after the other: each wants a core and connections
        if found_at is None:
            made = await rebuild_here(runtime, projection, tell)
        else:
            made = await rebuild_in_process(runtime, found_at, projection.name, tell)
    _LOG.info("projection.rebuilt", projection=projection.name, records=made.records)
    return Rebuilt(projection.name, made.generation, made.records, time.monotonic() - started)


async def rebuild_here(runtime: "Runtime", projection: Projection, tell: Tell) -> Made:
    """Rebuild one projection on this event loop; the runtime need not be started.

    Errors of the infrastructure are waited out.
    """
    job = _Rebuild(runtime, projection, tell)
    await _until_done(job)
    return Made(job.generation, job.records)


async def _until_done(job: "_Rebuild") -> None:
    """Run a rebuild to its end, again after an error of the infrastructure."""
    while True:
        try:
            return await job.run()
        except Superseded:
            return None
        except INFRASTRUCTURE_ERRORS as error:
            _LOG.warning("rebuild.retrying", error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)


class _Rebuild:
    """One generation in the making."""

    def __init__(self, runtime: "Runtime", projection: Projection, tell: Tell) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._projection = projection
        self._progress = tell
        self._told_at = 0.0
        self._handled = frozenset(base(event.type) for event in projection.handles)
        self._subscription = f"rebuild:{projection.name}"
        self._cases = f"rebuild_cases_{projection.name}"
        self._records_max = runtime.settings.batch_records_max
        self._analysed = False
        self.generation = 0
        self.records = 0

    @property
    def _table(self) -> str:
        """Return the name of the table in the making."""
        return self._projection.physical(self._projection.version, self.generation)

    async def run(self) -> None:
        """Read the log up to the live reader, and swap.

        :raises Superseded: when another process finished it.
        """
        await self._prepare()
        consumer = await self._runtime.log.consumer(None)
        try:
            while True:
                batch = await consumer.poll(self._records_max, 0.1)
                read = await self._step(consumer, batch) if batch else 0
                await self._tell()
                if read == 0:
                    if await self._swap(consumer):
                        self._progress(1.0)
                        return
                    await asyncio.sleep(0.05)
        finally:
            await consumer.close()

    async def _prepare(self) -> None:
        """Create the generation, or find the one that was begun for this version."""
        async with self._database.transaction() as connection:
            await connection.execute("LOCK TABLE rebuilds IN SHARE ROW EXCLUSIVE MODE")
            await drop_leftovers(connection, self._projection)
            row = await connection.fetchrow(
                "SELECT version, generation FROM rebuilds WHERE name = $1", self._projection.name
            )
            if row is not None and row[0] == self._projection.version:
                self.generation = row[1]
                return
            await self._forget(connection)
            if row is not None:
                await connection.execute(f'DROP TABLE "{self._projection.physical(*row)}"')
            active = await connection.fetchval(
                "SELECT generation FROM projections WHERE name = $1", self._projection.name
            )
            self.generation = max(active or 0, 0 if row is None else row[1]) + 1
            await create_generation(connection, self._projection, self.generation)
            await connection.execute(
                f'CREATE TABLE "{self._cases}" (LIKE cases INCLUDING DEFAULTS INCLUDING INDEXES)'
            )
            await connection.execute(
                """INSERT INTO rebuilds VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE
                SET version = excluded.version, generation = excluded.generation""",
                self._projection.name,
                self._projection.version,
                self.generation,
            )

    async def _step(self, consumer: LogConsumer, batch: Batch) -> int:
        """Fold a batch, as far as the live reader came; return how many records were new."""
        async with self._database.transaction() as connection:
            await self._claim(connection)
            limits = await read_checkpoints(connection, LIVE)
            read, seeks = await self._fold(connection, batch, limits)
        for partition, offset in seeks.items():
            consumer.seek(partition, offset)
        self.records += read
        return read

    async def _claim(self, connection: Connection) -> None:
        """Take turns with another process that rebuilds the same.

        :raises Superseded: when it has finished.
        """
        row = await connection.fetchrow(
            "SELECT version, generation FROM rebuilds WHERE name = $1 FOR UPDATE",
            self._projection.name,
        )
        if row is None or tuple(row) != (self._projection.version, self.generation):
            raise Superseded

    async def _fold(
        self, connection: Connection, batch: Batch, limits: Mapping[int, int]
    ) -> tuple[int, dict[int, int]]:
        """Fold what is before the limits; return how many records, and where to read again."""
        positions = await lock_checkpoints(connection, self._subscription, batch)
        allowed = {
            p: [record for record in records if record.offset < limits.get(p, 0)]
            for p, records in batch.items()
        }
        current = fresh({p: records for p, records in allowed.items() if records}, positions)
        seeks = current.seeks
        for partition, records in batch.items():
            if len(allowed[partition]) < len(records):
                seeks[partition] = current.reached.get(partition, positions[partition])
        await self._apply(connection, [record for record in current.records if record.parse()])
        await write_checkpoints(connection, self._subscription, current.reached, positions)
        return len(current.records), seeks

    async def _apply(self, connection: Connection, records: Sequence[LogRecord]) -> None:
        """Fold records as the live reader did: parked ones wait, discarded ones only count.

        What waits is kept under the rebuild's own subscription, with later events behind it,
        because an operator may release it before the swap.
        """
        keys = {record.key for record in records}
        parked, discarded = await left_out(connection, LIVE, keys)
        waiting = await parked_keys(connection, self._subscription, keys)
        held: list[LogRecord] = []
        ready: list[LogRecord] = []
        for record in records:
            if (record.partition, record.offset) in parked:
                waiting.add(record.key)
            (held if record.key in waiting else ready).append(record)
        now = self._runtime.clock.now()
        await park(connection, self._subscription, held, error="parked", attempts=0, now=now)
        if not ready:
            return
        table = CaseTable(self._cases)
        cases = await table.load(connection, {record.key for record in ready})
        _, facts = admit(ready, cases, self._handled, discarded)
        if facts:
            await ProjectionTable(self._projection, self._table).apply(connection, facts)
        await table.write(connection, cases.values())
        await self._analyse(connection)

    async def _release(self, connection: Connection) -> None:
        """Fold what waited and is not parked any more; the rest waits for the live reader."""
        keys = await parked_keys(connection, self._subscription)
        if keys:
            await self._apply(connection, await take_parked(connection, self._subscription, keys))

    async def _analyse(self, connection: Connection) -> None:
        """Let the planner know the tables, once they are no longer empty.

        Plans for a table that was empty a moment ago would be bad for its whole filling.
        """
        if not self._analysed:
            await connection.execute(f'ANALYZE "{self._table}", "{self._cases}"')
            self._analysed = True

    async def _swap(self, consumer: LogConsumer) -> bool:
        """Make the generation active, if it is close; say whether that was done."""
        try:
            async with self._database.transaction() as connection:
                await connection.execute(f"SET LOCAL lock_timeout = '{SWAP_SECONDS_MAX}s'")
                await self._claim(connection)
                live = await lock_checkpoints(connection, LIVE, range(PARTITIONS))
                read = await self._catch_up(connection, consumer, live)
                await self._release(connection)
                await activate(connection, self._projection, self.generation)
                await connection.execute(
                    "DELETE FROM rebuilds WHERE name = $1", self._projection.name
                )
                await self._forget(connection)
        except (TimeoutError, *RACES):
            return False
        self.records += read
        try:
            async with self._database.transaction() as connection:
                await connection.execute(f"SET LOCAL lock_timeout = '{SWAP_SECONDS_MAX}s'")
                await drop_leftovers(connection, self._projection)
        except asyncpg.LockNotAvailableError:
            _LOG.info("rebuild.old-table-kept", projection=self._projection.name)
        return True

    async def _catch_up(
        self, connection: Connection, consumer: LogConsumer, live: Mapping[int, int]
    ) -> int:
        """Read what is missing to where the live reader stands, while it is held there.

        :raises TimeoutError: when that takes too long; the swap is tried again later.
        """
        total = 0
        async with asyncio.timeout(SWAP_SECONDS_MAX):
            while True:
                mine = await read_checkpoints(connection, self._subscription)
                behind = {p for p, offset in live.items() if mine.get(p, 0) < offset}
                if not behind:
                    return total
                for partition in behind:
                    consumer.seek(partition, mine.get(partition, 0))
                batch = await consumer.poll(self._records_max, 0.1)
                missing = {p: records for p, records in batch.items() if p in behind}
                if missing:
                    read, _ = await self._fold(connection, missing, live)
                    total += read

    async def _tell(self) -> None:
        """Say, now and then, which share of the log was read."""
        if time.monotonic() - self._told_at < TOLD_SECONDS:
            return
        self._told_at = time.monotonic()
        heads = await self._runtime.log.heads()
        async with self._database.background() as connection:
            mine = await read_checkpoints(connection, self._subscription)
        self._progress(sum(mine.values()) / max(1, sum(heads.values())))

    async def _forget(self, connection: Connection) -> None:
        """Remove what only the rebuild needs."""
        await connection.execute(f'DROP TABLE IF EXISTS "{self._cases}"')
        await connection.execute(
            "DELETE FROM checkpoints WHERE subscription = $1", self._subscription
        )
        await connection.execute("DELETE FROM parked WHERE subscription = $1", self._subscription)
