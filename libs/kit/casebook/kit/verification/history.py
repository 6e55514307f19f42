"""The history of one service: its events, their chains, the heads, and the outbox."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from casebook.events.decoding import decode
from casebook.events.envelope import GENESIS, Envelope, chain, from_attributes
from casebook.events.event import Event
from casebook.events.kafka import partition
from casebook.kit.clock import SystemClock
from casebook.kit.decider import Fact
from casebook.kit.keys import KeyRing
from casebook.kit.service import Appended, Service
from casebook.kit.store.store import Store
from casebook.kit.verification.progress import Progress
from casebook.kit.verification.report import Report
from casebook.kit.verification.snapshot import Feed, Snapshot, canonical

_COLUMNS = (
    "id", "stream", "version", "type", "case_key", "partition", "recordedtime", "digest",
)  # fmt: skip
_HEADS = """
SELECT stream, version, hash, recordedtime, case_key, state FROM "{schema}".streams
WHERE stream = ANY($1::text[])
"""
_WITHOUT_EVENTS = """
SELECT stream FROM "{schema}".streams s
WHERE NOT EXISTS (SELECT FROM "{schema}".events e WHERE e.stream = s.stream)
"""


@dataclass(slots=True)
class Stored:
    """An event as its owner stored it; ``envelope`` is missing where the record is no event."""

    service: str
    key: str
    position: int
    partition: int
    record: str
    attributes: dict[str, Any] | None = None
    envelope: Envelope | None = None
    event: Event | None = None
    published: bool = False


@dataclass(slots=True)
class _Stream:
    """A stream while its events are read."""

    name: str
    version: int = 0
    hash: bytes = GENESIS
    recordedtime: Any = None
    case_key: str = ""
    state: Any = None
    broken: bool = False


class History:
    """Checks what one service wrote."""

    def __init__(
        self, snapshot: Snapshot, service: Service, report: Report, progress: Progress
    ) -> None:
        self._snapshot = snapshot
        self._service = service
        self._report = report
        self._progress = progress
        self._store = Store(service, SystemClock(), KeyRing(service.name, None))
        self._feed = Feed(
            snapshot,
            f'SELECT * FROM "{service.name}".events ORDER BY partition, stream, version',
            progress,
        )
        self._outbox: dict[int, int] = {}
        self.inline: dict[str, dict[Any, Any]] = {table.name: {} for table in service.inline}
        """What the tables that appends keep must hold, as far as events were read."""

    async def start(self) -> None:
        """Read how many events there are, and what is not published yet."""
        count = await self._snapshot.fetchval(f'SELECT count(*) FROM "{self._service.name}".events')
        self._progress.expect(count)
        rows = await self._snapshot.fetch(
            f'SELECT position, partition FROM "{self._service.name}".outbox'
        )
        self._outbox = {row[0]: row[1] for row in rows}

    async def check(self, number: int | None) -> dict[bytes, Stored]:
        """Check chains and heads of a partition's streams; return its events by their hash."""
        stored: dict[bytes, Stored] = {}
        streams: list[_Stream] = []
        stream = _Stream("")
        rows = await self._feed.take(number)
        for row in rows:
            if row["stream"] != stream.name or not streams:
                stream = _Stream(row["stream"])
                streams.append(stream)
            stored[row["hash"]] = self._event(row, stream)
        statement = _HEADS.format(schema=self._service.name)
        names = [stream.name for stream in streams]
        heads = {row["stream"]: row for row in await self._snapshot.fetch(statement, names)}
        for stream in streams:
            self._head(stream, heads.get(stream.name))
        self._report.events += len(rows)
        self._report.streams += len(streams)
        return stored

    def check_published(self, stored: Mapping[bytes, Stored], *, once: bool) -> None:
        """Check that what is not in the log is in the outbox; ``once``: and what is, is not.

        Where the log is Kafka, an event stays in the outbox until it was acknowledged.
        """
        for event in stored.values():
            if event.service != self._service.name or (event.published and once):
                continue
            number = self._outbox.pop(event.position, None)
            if number is None:
                if not event.published:
                    reason = "is neither in the log nor in the outbox"
                    self._add("events", event.key, "position", reason)
            elif number != event.partition:
                self._add("outbox", event.position, "partition", "differs from the event")

    async def finish(self) -> None:
        """Check that no head and no row of the outbox is without its event."""
        statement = _WITHOUT_EVENTS.format(schema=self._service.name)
        for row in await self._snapshot.fetch(statement):
            self._add("streams", row[0], "stream", "there are no events of this stream")
        for position in self._outbox:
            self._add("outbox", position, "position", "the event is missing, or already published")

    def _add(self, table: str, key: object, column: str, reason: str) -> None:
        self._report.add(self._service.name, table, key, column, reason)

    def _event(self, row: Any, stream: _Stream) -> Stored:
        """Check one event against its record and its predecessor, and fold it."""
        key = f"{row['stream']}@{row['version']}"
        if row["version"] != stream.version + 1:
            self._add("events", key, "version", f"follows version {stream.version}")
        if chain(stream.hash, row["record"]) != row["hash"]:
            self._add("events", key, "hash", "the chain does not lead to this hash")
        stream.version, stream.hash = row["version"], row["hash"]
        stored = Stored(self._service.name, key, row["position"], row["partition"], row["record"])
        try:
            attributes = orjson.loads(row["record"])
            envelope = from_attributes(attributes)
            event = decode(envelope)
        except Exception as error:  # noqa: BLE001 - whatever a hand put there is a difference
            self._add("events", key, "record", f"cannot be read: {error!r}")
            stream.broken = True
            return stored
        stored.attributes, stored.envelope, stored.event = attributes, envelope, event
        self._columns(row, envelope, key)
        stream.recordedtime, stream.case_key = envelope.recordedtime, envelope.partitionkey
        if event is not None and not stream.broken:
            self._fold(stream, Fact(envelope, event), key)
        return stored

    def _columns(self, row: Any, envelope: Envelope, key: str) -> None:
        """Compare every column with the record."""
        right = (
            envelope.id,
            envelope.subject,
            envelope.streamversion,
            envelope.type,
            envelope.partitionkey,
            partition(envelope.partitionkey),
            envelope.recordedtime,
            envelope.origindigest,
        )
        for column, value in zip(_COLUMNS, right, strict=True):
            if row[column] != value:
                self._add("events", key, column, "differs from the record")

    def _fold(self, stream: _Stream, fact: Fact, key: str) -> None:
        """Fold an event into its stream, and into the tables that appends keep."""
        try:
            family = self._store.family(stream.name)
            before = family.initial if stream.version == 1 else stream.state
            stream.state = family.evolve(before, fact.event, fact.envelope)
            for table in self._service.inline:
                table.fold(self.inline[table.name], Appended(fact, before, stream.state))
        except Exception as error:  # noqa: BLE001 - as above
            self._add("events", key, "record", f"cannot be folded: {error!r}")
            stream.broken = True

    def _head(self, stream: _Stream, head: Any) -> None:
        """Compare the head of a stream with its last event and the fold of all."""
        if head is None:
            self._add("streams", stream.name, "stream", "the stream has no head")
            return
        for column in ("version", "hash", "recordedtime", "case_key"):
            if head[column] != getattr(stream, column):
                self._add("streams", stream.name, column, "differs from the last event")
        if stream.broken:
            return
        state = canonical(orjson.loads(self._store.dump_state(stream.name, stream.state)))
        if head["state"] != state:
            self._add("streams", stream.name, "state", "differs from the fold of the events")
