"""Proves that what is stored is what happened: chains, heads, log, and every fold of the log.

One read-only snapshot sees all tables at one position. For every service the chains of its
streams are recomputed from the canonical records and every column is compared with them; heads
are compared with a fold; the log is matched with the events; ``cases``, the projections and all
other tables that follow from events are compared with a fold up to exactly the checkpoint.
Nothing is written.

The work goes partition by partition of the log, because a case never leaves its partition: so
each event is read and decoded once for all services, and memory holds a twelfth at a time.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import asyncpg

from casebook.kit.log.event_log import PARTITIONS
from casebook.kit.log.kafka import KafkaLog
from casebook.kit.service import Service
from casebook.kit.verification.history import History, Stored
from casebook.kit.verification.log import LogCheck, LogTable
from casebook.kit.verification.progress import Progress, Say
from casebook.kit.verification.report import Difference, Report
from casebook.kit.verification.snapshot import Snapshot, prepare
from casebook.kit.verification.tables import Folds, Tables
from casebook.kit.verification.topic import Topic

__all__ = ["Difference", "Place", "Report", "check", "prepare", "verify"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything is: the database of all services, and the topic; none for the log table."""

    dsn: str
    bootstrap: str = ""
    topic: str = ""

    def log(self) -> KafkaLog | None:
        """Return the log, unless it is a table."""
        return KafkaLog(self.bootstrap, self.topic) if self.bootstrap else None


async def verify(
    place: Place,
    services: Sequence[Service],
    *,
    snapshot_id: str | None = None,
    say: Say | None = None,
) -> Report:
    """Check services in one database, and the log.

    ``snapshot_id`` is a snapshot that another session has exported.

    :raises asyncpg.PostgresError: when the tables cannot be read.
    :raises OSError: when Kafka cannot be read.
    """
    connection = await asyncpg.connect(place.dsn, server_settings={"timezone": "UTC"})
    progress = Progress(say, "verify " + ", ".join(service.name for service in services))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(connection.close)
        await prepare(connection)
        transaction = connection.transaction(isolation="repeatable_read", readonly=True)
        await stack.enter_async_context(transaction)
        if snapshot_id is not None:
            await connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot_id}'")
        kafka = place.log()
        if kafka is None:
            return await check(connection, services, progress=progress)
        stack.push_async_callback(kafka.close)
        await connection.execute("SELECT")  # takes the snapshot, before the topic is asked
        report = Report()
        names = {service.name for service in services}
        topic = Topic(kafka, place.dsn, names, report, progress)
        return await _Check(connection, services, report, topic, progress).run()


async def check(
    snapshot: Snapshot, services: Sequence[Service], *, progress: Progress | None = None
) -> Report:
    """Check what a prepared connection sees in its open transaction, with the log table."""
    told = progress or Progress()
    report = Report()
    log = LogTable(snapshot, {service.name for service in services}, report, told)
    return await _Check(snapshot, services, report, log, told).run()


class _Check:
    """The check of one database, in one snapshot."""

    def __init__(
        self,
        snapshot: Snapshot,
        services: Sequence[Service],
        report: Report,
        log: LogCheck,
        progress: Progress,
    ) -> None:
        self._report = report
        self._histories = [History(snapshot, service, report, progress) for service in services]
        self._log = log
        self._tables = [Tables(snapshot, service, report) for service in services]

    async def run(self) -> Report:
        """Check partition by partition, then what is left over."""
        for history in self._histories:
            await history.start()
        await self._log.start()
        for tables in self._tables:
            await tables.start()
        for number in (*range(PARTITIONS), None):
            await self._partition(number)
        for history, tables in zip(self._histories, self._tables, strict=True):
            await history.finish()
            await tables.finish(history.inline)
        return self._report

    async def _partition(self, number: int | None) -> None:
        """Check one partition; ``None`` is what claims to be in one that does not exist."""
        stored: dict[bytes, Stored] = {}
        for history in self._histories:
            stored |= await history.check(number)
        entries, end = await self._log.check(number, stored)
        for history in self._histories:
            history.check_published(stored, once=self._log.once)
        if number is not None:
            folds = Folds(entries, end)
            for tables in self._tables:
                await tables.check(number, folds)
