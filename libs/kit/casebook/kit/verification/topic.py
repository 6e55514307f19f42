"""The log on Kafka, matched with the events of the services.

The snapshot was taken before the topic was asked for its ends: so what is stored and no longer in
an outbox is in the topic before them, and every checkpoint lies before them. What the topic has
and the snapshot has not was stored meanwhile, or by nobody: the tables of this moment tell.

A record may come again, because the relay repeats what was not acknowledged. What is no event
and does not say that it is one of ours is no difference: readers put it into quarantine.
"""

from collections.abc import Collection, Mapping

import asyncpg

from casebook.events.kafka import partition
from casebook.kit.log.event_log import LogRecord
from casebook.kit.log.kafka import READ_SECONDS_MAX, KafkaLog
from casebook.kit.verification.history import Stored
from casebook.kit.verification.log import Entry, LogCheck, Order, entry_of
from casebook.kit.verification.progress import Progress
from casebook.kit.verification.report import Report

STRANGERS_MAX = 1_000
_OURS = "casebook."
_NOW = """
SELECT e.hash, e.record FROM "{schema}".events e
JOIN unnest($1::text[], $2::int[]) AS u(stream, version) USING (stream, version)
"""


class Topic(LogCheck):
    """Checks the topic ``casebook.events``; ``dsn`` is where the tables of this moment are."""

    once = False

    def __init__(
        self, log: KafkaLog, dsn: str, names: Collection[str], report: Report, progress: Progress
    ) -> None:
        super().__init__(names, report)
        self._log = log
        self._dsn = dsn
        self._progress = progress
        self._heads: dict[int, int] = {}
        self._starts: dict[int, int] = {}
        self._strangers: list[tuple[LogRecord, str]] = []

    async def start(self) -> None:
        """Ask where each partition begins and ends.

        :raises LogUnavailable: when Kafka cannot be reached.
        """
        self._heads = await self._log.heads(READ_SECONDS_MAX)
        self._starts = await self._log.starts(READ_SECONDS_MAX)
        self._progress.expect(sum(self._heads.values()) - sum(self._starts.values()))

    async def check(
        self, number: int | None, stored: Mapping[bytes, Stored]
    ) -> tuple[list[Entry], int]:
        """Check the records of a partition; return its events in order, and where it ends.

        :raises LogUnavailable: when Kafka cannot be read.
        """
        if number is None:
            return [], 0
        self._known = {event.key for event in stored.values()}
        if self._starts[number]:
            reason = f"is missing, the topic begins at {self._starts[number]}"
            self._add(f"{number}/0", "offset", reason)
        found = _Partition()
        async for batch in self._log.read(number, self._starts[number], self._heads[number]):
            self._progress.done(len(batch))
            for record in batch:
                await self._record(record, stored.get(record.hash), found)
        await self._ask_about_strangers()
        return found.entries, self._heads[number]

    async def _record(self, record: LogRecord, stored: Stored | None, found: "_Partition") -> None:
        """Compare a record with the event that it carries, and keep it if it is new."""
        place = f"{record.partition}/{record.offset}"
        same = stored is not None and stored.record == record.record
        if stored is not None:
            stored.published |= same
            if not same:
                self._add(place, "record", "differs from the event")
        if stored is not None and same and stored.envelope is not None:
            entry = entry_of(record.offset, stored)
        elif record.parse():
            if stored is None:
                await self._stranger(record, place)
            entry = self._read(record, place)
        else:
            if record.type.startswith(_OURS):
                self._add(place, "record", "says that it is an event, and cannot be read")
            return
        if entry is not None and not found.repeats(entry):
            found.entries.append(entry)
            if not found.forks(entry):
                self._order(entry, place, found.order)
            found.admit(entry)

    async def _stranger(self, record: LogRecord, place: str) -> None:
        """Remember a record that no event of the snapshot goes with."""
        self._strangers.append((record, place))
        if len(self._strangers) >= STRANGERS_MAX:
            await self._ask_about_strangers()

    async def _ask_about_strangers(self) -> None:
        """Report what is not in the tables now either."""
        strangers, self._strangers = self._strangers, []
        if not strangers:
            return
        places = [_place(record) for record, _ in strangers]
        now: dict[bytes, str] = {}
        connection = await asyncpg.connect(self._dsn)
        try:
            for name in sorted(self._names):
                rows = await connection.fetch(_NOW.format(schema=name), *zip(*places, strict=True))
                now |= {row[0]: row[1] for row in rows}
        finally:
            await connection.close()
        for record, place in strangers:
            mine = record.partition == partition(record.key)
            if not mine or now.get(record.hash) != record.record:
                self._unmatched(record, place, sound=True)


def _place(record: LogRecord) -> tuple[str, int]:
    """Return the stream and the version that a record claims."""
    attributes = record.attributes()
    return attributes["subject"], attributes["streamversion"]


class _Partition:
    """The events of a partition as a reader takes them: each version of a stream once."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.order = Order()
        self._last: dict[str, tuple[int, str]] = {}

    def repeats(self, entry: Entry) -> bool:
        """Say whether a reader has had this, so that it drops it without a trace."""
        version, recorded = self._last.get(entry.attributes["subject"], (0, ""))
        return (
            entry.attributes["streamversion"] <= version
            and entry.attributes["recordedtime"] <= recorded
        )

    def forks(self, entry: Entry) -> bool:
        """Say whether this is another history of a version, which the fold reports."""
        version, _ = self._last.get(entry.attributes["subject"], (0, ""))
        return bool(entry.attributes["streamversion"] <= version)

    def admit(self, entry: Entry) -> None:
        """Go on, if this is the next version of its stream."""
        stream, version = entry.attributes["subject"], entry.attributes["streamversion"]
        if version == self._last.get(stream, (0, ""))[0] + 1:
            self._last[stream] = (version, entry.attributes["recordedtime"])
