"""The log in memory, with faults on demand: for tests and simulations (decisions 3.3)."""

import asyncio
from collections.abc import Callable, Mapping

from casebook.kit.log.event_log import PARTITIONS, Batch, LogRecord
from casebook.kit.log.outbox import delete_published, read_outbox
from casebook.kit.postgres.database import Connection

Fault = Callable[[str], None]
"""Called with the name of a step; raises to make it fail.

Steps: ``send`` (before the batch of each partition), ``ack``, ``poll``, ``heads``.
"""


def _no_fault(step: str) -> None:
    """Let every step succeed."""


class MemoryLog:
    """A log that lives as long as the process."""

    def __init__(self, fault: Fault = _no_fault) -> None:
        self.fault = fault
        self.records: dict[int, list[LogRecord]] = {p: [] for p in range(PARTITIONS)}
        self.hints: dict[str, dict[int, int]] = {}
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Do nothing."""

    async def step(self, name: str) -> None:
        """Come to a step; a simulation overrides this, to let others go first or to end here."""
        self.fault(name)

    async def relay(self, connection: Connection, events_max: int) -> int:
        """Move events from the outbox to memory; a failed ``ack`` publishes them twice."""
        rows = await read_outbox(connection, events_max)
        if not rows:
            return 0
        for partition in sorted({row.partition for row in rows}):
            await self.step("send")
            for row in rows:
                if row.partition == partition:
                    self.add(partition, row.case_key, row.type, row.record, row.hash)
        await self.step("ack")
        await delete_published(connection, [row.position for row in rows])
        return len(rows)

    def add(self, partition: int, key: str, type_: str, record: str, hash_: bytes) -> None:
        """Append one record."""
        records = self.records[partition]
        records.append(LogRecord(partition, len(records), key, type_, record, hash_))
        self._changed.set()

    async def consumer(self, group: str | None) -> "_Consumer":
        """Return a consumer of all partitions."""
        return _Consumer(self, group)

    async def heads(self) -> dict[int, int]:
        """Return the next offset of every partition."""
        await self.step("heads")
        return {partition: len(records) for partition, records in self.records.items()}

    async def starts(self) -> dict[int, int]:
        """Return 0 for every partition: nothing is ever removed."""
        return dict.fromkeys(self.records, 0)

    async def remembered(self, group: str) -> dict[int, int]:
        """Return the last positions that a reader of the group has hinted at."""
        return dict(self.hints.get(group, {}))

    def wakes(self) -> bool:
        """Say yes: ``poll`` waits for records."""
        return True

    async def close(self) -> None:
        """Do nothing."""

    async def wait(self, seconds: float) -> None:
        """Wait until a record was added, for at most ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()


class _Consumer:
    """Reads the memory log from its positions on."""

    def __init__(self, log: MemoryLog, group: str | None) -> None:
        self._log = log
        self._group = group
        self._positions = dict.fromkeys(range(PARTITIONS), 0)

    async def poll(self, records_max: int, timeout_seconds: float) -> Batch:
        """Return the next records by partition."""
        await self._log.step("poll")
        batch = self._take(records_max)
        if not batch:
            await self._log.wait(timeout_seconds)
            batch = self._take(records_max)
        return batch

    def _take(self, records_max: int) -> Batch:
        """Return what is there, and move on."""
        share = max(1, records_max // PARTITIONS)
        batch: dict[int, list[LogRecord]] = {}
        for partition, position in self._positions.items():
            records = self._log.records[partition][position : position + share]
            if records:
                batch[partition] = records
                self._positions[partition] = records[-1].offset + 1
        return batch

    def assigned(self) -> frozenset[int]:
        """Return all partitions."""
        return frozenset(self._positions)

    def seek(self, partition: int, offset: int) -> None:
        """Read a partition from ``offset`` on."""
        self._positions[partition] = offset

    async def hint(self, positions: Mapping[int, int]) -> None:
        """Remember the positions, for the group."""
        if self._group is not None:
            self._log.hints.setdefault(self._group, {}).update(positions)

    async def close(self) -> None:
        """Do nothing."""
