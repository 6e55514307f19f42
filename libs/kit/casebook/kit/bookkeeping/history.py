"""Whether a service's store holds what the service has published (decisions 3.2, ADR 0050).

A store that was restored from an older backup does not. What it wrote now would be a second
history, for a version that the log has already. The log remembers how far the service's reader
came; where that is beyond the checkpoints, the store is older than it was, and the log is read
through before anything is written. The last of it may not be remembered, so what is little is
read through in any case. An event of ours that only the log holds is a fork: nothing
is written or published any more, until a person has restored the other half and started anew.
"""

import asyncio
from collections.abc import Iterable, Mapping
from uuid import UUID

from casebook.kit.bookkeeping.cases import LogForked
from casebook.kit.bookkeeping.checkpoints import LIVE, read_checkpoints
from casebook.kit.log.event_log import PARTITIONS, EventLog, LogRecord
from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import Connection, Database

SCAN_RECORDS = 2_000
"""What is read through without a doubt, and at once."""
SCAN_POLL_SECONDS = 0.1
SCAN_SECONDS_MAX = 10.0
_KNOWN = "SELECT id::text, hash FROM events WHERE id = ANY($1::uuid[])"


class HistoryInDoubt(OSError):
    """Nothing may be written now; ``code`` is ``history-unproven`` or ``history-forked``."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class StoreBehind(LogForked):
    """The log holds an event of this service that its store does not."""


class History:
    """What is known of one service's history; consulted before every write."""

    def __init__(self, service: str, database: Database, log: EventLog) -> None:
        self._service = service
        self._database = database
        self._log = log
        self._lines = get_logger(service)
        self._proving = asyncio.Lock()
        self._proved = False
        self._unproven = False
        self.fork: str | None = None
        """Why store and log are two histories, once that is known."""
        self.remembered: Mapping[int, int] = {}
        """How far the reader had come at the start, as the log remembers it."""

    def check(self) -> None:
        """Let a write pass, or not.

        :raises HistoryInDoubt: while the history is doubted, and for good after a fork.
        """
        if self.fork is not None:
            raise HistoryInDoubt(
                "history-forked",
                "the log holds events of this service that its store has lost; an operator decides",
            )
        if self._unproven:
            raise HistoryInDoubt(
                "history-unproven", "the store is older than it was; the log is being read through"
            )

    async def prove(self) -> None:
        """Find out, once in the life of the process, whether the store is behind the log.

        :raises OSError: when log or database cannot be asked now.
        """
        async with self._proving:
            if self._proved:
                return
            self.remembered = await self._log.remembered(self._service)
            async with self._database.background() as connection:
                positions = await read_checkpoints(connection, LIVE)
            heads = await self._log.heads()
            behind = sum(max(0, head - positions.get(p, 0)) for p, head in heads.items())
            if any(offset > positions.get(p, 0) for p, offset in self.remembered.items()):
                self._unproven = True
                self._lines.warning("history.doubted", behind=behind)
            if self._unproven or 0 < behind <= SCAN_RECORDS:
                try:
                    await self._read_through(positions, heads)
                except StoreBehind as error:
                    self.forked(str(error))
                except TimeoutError:
                    if self._unproven:
                        raise
                    self._lines.warning("history.not-shown", behind=behind)
                self._unproven = False
            self._proved = True

    def forked(self, reason: str) -> None:
        """Stop all writing."""
        if self.fork is not None:
            return
        self.fork = reason
        self._lines.critical("history.forked", reason=reason)

    def unless_older(self, positions: Mapping[int, int]) -> dict[int, int]:
        """Return the positions that may replace what the log remembers.

        Those before it would wipe out, for the next start, that this store is older than it was.
        """
        return {p: at for p, at in positions.items() if at >= self.remembered.get(p, 0)}

    async def _read_through(self, positions: Mapping[int, int], heads: Mapping[int, int]) -> None:
        """Look for our own events from the checkpoints to ``heads``.

        :raises StoreBehind: for one that the store does not hold.
        :raises TimeoutError: when the log does not show what it says it has.
        """
        shown_at = asyncio.get_running_loop().time()
        place = {partition: positions.get(partition, 0) for partition in range(PARTITIONS)}
        consumer = await self._log.consumer(None)
        try:
            for partition, offset in place.items():
                consumer.seek(partition, offset)
            while any(place[partition] < head for partition, head in heads.items()):
                batch = await consumer.poll(SCAN_RECORDS, SCAN_POLL_SECONDS)
                if not batch:
                    if asyncio.get_running_loop().time() - shown_at > SCAN_SECONDS_MAX:
                        raise TimeoutError("the log does not show what it has")
                    await asyncio.sleep(SCAN_POLL_SECONDS)  # not every log waits in a poll
                    continue
                shown_at = asyncio.get_running_loop().time()
                records = [record for part in batch.values() for record in part if record.parse()]
                async with self._database.background() as connection:
                    await check_own(connection, self._service, records)
                place |= {partition: part[-1].offset + 1 for partition, part in batch.items()}
        finally:
            await consumer.close()


async def check_own(connection: Connection, service: str, records: Iterable[LogRecord]) -> None:
    """Check that the store of ``service`` holds those of its events that are among ``records``.

    :raises StoreBehind: for one that it does not hold, or holds as another.
    """
    source = f"/casebook/{service}"
    own = [record for record in records if record.attributes().get("source") == source]
    if not own:
        return
    ids = [id_ for record in own if (id_ := _uuid(record.attributes()["id"])) is not None]
    known = {row[0]: row[1] for row in await connection.fetch(_KNOWN, ids)}
    for record in own:
        attributes = record.attributes()
        if known.get(attributes["id"]) != record.hash:
            raise StoreBehind(
                f"{attributes['subject']} version {attributes['streamversion']} is in the log "
                "and not in this store: a restored backup"
            )


def _uuid(text: str) -> UUID | None:
    """Return the id of an event; ``None`` for what cannot be one of ours."""
    try:
        return UUID(text)
    except ValueError:
        return None
