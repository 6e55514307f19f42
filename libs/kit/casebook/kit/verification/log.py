"""The log, matched with the events of the services: what both of its forms share, and the table.

On Kafka it is :mod:`casebook.kit.verification.topic`.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from casebook.events.catalog import SERVICES
from casebook.events.decoding import UnknownMajor, decode
from casebook.events.envelope import from_attributes
from casebook.events.kafka import partition
from casebook.kit.decider import Fact
from casebook.kit.log.event_log import PARTITIONS, LogRecord
from casebook.kit.verification.history import Stored
from casebook.kit.verification.progress import Progress
from casebook.kit.verification.report import Report
from casebook.kit.verification.snapshot import Feed, Snapshot

_RECORDS = 'SELECT * FROM log.records ORDER BY partition, "offset"'
_SOURCE_PREFIX = "/casebook/"


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of the log that is an event; without a fact when nobody knows its type."""

    offset: int
    key: str
    attributes: dict[str, Any]
    fact: Fact | None


@dataclass(slots=True)
class Order:
    """What a partition has shown so far; a cause that is missing may be in another partition."""

    versions: dict[str, int] = field(default_factory=dict[str, int])
    ids: set[str] = field(default_factory=set[str])
    effects: dict[str, str] = field(default_factory=dict[str, str])


class LogCheck(ABC):
    """Checks the log against what the services ``names`` have stored."""

    once: bool
    """Whether an event is in the log once, and leaves the outbox in the same transaction."""

    def __init__(self, names: Collection[str], report: Report) -> None:
        self._names = names
        self._report = report
        self._known: set[str] = set()

    @abstractmethod
    async def start(self) -> None:
        """Read how far the log goes."""

    @abstractmethod
    async def check(
        self, number: int | None, stored: Mapping[bytes, Stored]
    ) -> tuple[list[Entry], int]:
        """Check the records of a partition; return its events in order, and where it ends.

        ``None`` is what claims to be in a partition that does not exist.
        """

    def _add(self, place: str, column: str, reason: str) -> None:
        self._report.add("log", "records", place, column, reason)

    def _order(self, entry: Entry, place: str, order: Order) -> None:
        """Check that a stream is in version order, and that an effect comes after its cause."""
        attributes = entry.attributes
        stream, version = attributes["subject"], attributes["streamversion"]
        before = order.versions.get(stream, 0)
        if version != before + 1:
            self._add(place, "record", f"version {version} of its stream follows {before}")
        order.versions[stream] = version
        order.ids.add(attributes["id"])
        effect = order.effects.pop(attributes["id"], None)
        if effect is not None:
            self._add(effect, "record", f"stands before its cause at {place}")
        cause = attributes.get("causationid")
        if cause is not None and cause not in order.ids:
            order.effects[cause] = place

    def _unmatched(self, record: LogRecord, place: str, *, sound: bool) -> None:
        """Say which side is wrong about a record that carries no event as it was stored."""
        attributes = record.attributes() if sound else {}
        name = str(attributes.get("source")).removeprefix(_SOURCE_PREFIX)
        if name in SERVICES and name not in self._names:
            return  # its owner is not looked at
        key = f"{attributes.get('subject')}@{attributes.get('streamversion')}"
        if record.partition != partition(record.key):
            self._add(place, "partition", "is not the partition of the key")
        elif name in self._names and key not in self._known:
            self._report.add(name, "events", key, "", "the row is missing, the log has it")
        else:
            self._add(place, "hash", "no event has this hash")

    def _read(self, record: LogRecord, place: str) -> Entry | None:
        """Return the event that a record holds, when no service has it in hand."""
        event = None
        try:
            envelope = from_attributes(record.attributes())
            event = decode(envelope)
        except UnknownMajor as error:  # readers park it; it counts as what is parked does
            self._add(place, "record", f"cannot be read: {error}")
            return Entry(record.offset, record.key, record.attributes(), None)
        except Exception as error:  # noqa: BLE001 - whatever a hand put there is a difference
            self._add(place, "record", f"cannot be read: {error!r}")
            return None
        fact = None if event is None else Fact(envelope, event, record.offset)
        return Entry(record.offset, record.key, record.attributes(), fact)


class LogTable(LogCheck):
    """Checks the log table of the embedded mode."""

    once = True

    def __init__(
        self,
        snapshot: Snapshot,
        names: Collection[str],
        report: Report,
        progress: Progress,
    ) -> None:
        super().__init__(names, report)
        self._snapshot = snapshot
        self._progress = progress
        self._feed = Feed(snapshot, _RECORDS, progress)
        self._next_offsets: dict[int, int] = {}

    async def start(self) -> None:
        """Read where each partition goes on."""
        rows = await self._snapshot.fetch("SELECT partition, next_offset FROM log.partitions")
        self._next_offsets = {row[0]: row[1] for row in rows}
        self._progress.expect(sum(self._next_offsets.values()))
        for number in sorted(self._next_offsets.keys() ^ set(range(PARTITIONS))):
            self._report.add("log", "partitions", number, "partition", "there are 12 partitions")

    async def check(
        self, number: int | None, stored: Mapping[bytes, Stored]
    ) -> tuple[list[Entry], int]:
        """Check the records of a partition; return its events in order, and where it ends."""
        self._known = {event.key for event in stored.values()}
        entries: list[Entry] = []
        order = Order()
        end = 0
        for row in await self._feed.take(number):
            place = f"{row['partition']}/{row['offset']}"
            if row["partition"] != number:
                self._add(place, "partition", "there is no such partition")
            else:
                if row["offset"] != end:
                    self._add(f"{number}/{end}", "offset", f"is missing, {row['offset']} follows")
                end = row["offset"] + 1
            entry = self._record(row, place, stored.get(row["hash"]))
            if entry is not None:
                entries.append(entry)
                self._order(entry, place, order)
        if number is not None and self._next_offsets.get(number, end) != end:
            reason = f"is {self._next_offsets[number]}, but the records end at {end}"
            self._report.add("log", "partitions", number, "next_offset", reason)
        return entries, end

    def _record(self, row: Any, place: str, stored: Stored | None) -> Entry | None:
        """Compare a record with the event that it carries; return it if it is one."""
        if stored is not None and stored.record == row["record"] and stored.envelope is not None:
            self._match(row, place, stored)
            return entry_of(row["offset"], stored)
        record = LogRecord(*(row[name] for name in _LOG_COLUMNS))
        sound = record.parse()
        if stored is not None:
            self._match(row, place, stored)
        else:
            self._unmatched(record, place, sound=sound)
        return self._read(record, place) if sound else None

    def _match(self, row: Any, place: str, stored: Stored) -> None:
        """Compare the columns of a record with the stored event."""
        if stored.published:
            self._add(place, "offset", "the event is in the log already")
        stored.published = True
        if stored.record != row["record"]:
            self._add(place, "record", "differs from the event")
        if stored.position != row["position"]:  # nothing says which of the two was changed
            self._add(place, "position", "differs from the event")
            reason = f"differs from the record {place} of the log"
            self._report.add(stored.service, "events", stored.key, "position", reason)
        if stored.envelope is None:
            return
        key = stored.envelope.partitionkey
        right = {"key": key, "type": stored.envelope.type, "partition": partition(key)}
        for column, value in right.items():
            if row[column] != value:
                self._add(place, column, "differs from the event")


_LOG_COLUMNS = ("partition", "offset", "key", "type", "record", "hash")


def entry_of(offset: int, stored: Stored) -> Entry | None:
    """Return a stored event at its place in the log."""
    if stored.envelope is None or stored.attributes is None:
        return None
    fact = None if stored.event is None else Fact(stored.envelope, stored.event, offset)
    return Entry(offset, stored.envelope.partitionkey, stored.attributes, fact)
