"""The event store: streams with heads, appended in one statement with the outbox (ADR 0003).

A :class:`UnitOfWork` locks the heads it will append to, in name order, collects events in
memory — sealing their secret text, chaining their hashes, folding their states — and writes
everything at once: events, heads and outbox in one statement, then the timers that the new
states want.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, cast
from uuid import UUID

import asyncpg
from pydantic import TypeAdapter

from casebook.events.catalog import family_of
from casebook.events.envelope import GENESIS, RECORD_BYTES_MAX, Envelope, Origin, chain
from casebook.events.event import Event
from casebook.events.kafka import partition
from casebook.kit.bookkeeping.history import History
from casebook.kit.clock import Clock
from casebook.kit.decider import Fact, Refused, StreamFamily
from casebook.kit.ids import derived_id, new_id
from casebook.kit.keys import KeyRing, seal
from casebook.kit.postgres.database import Connection, LostRace
from casebook.kit.service import Appended, Service
from casebook.kit.store.deadlines import write_deadlines

_TICK = timedelta(microseconds=1)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

_LOCK = """
SELECT stream, version, hash, recordedtime, case_key, state::text FROM streams
WHERE stream = ANY($1::text[]) ORDER BY stream FOR UPDATE
"""
_APPEND = """
WITH heads AS (
    INSERT INTO streams (stream, version, hash, recordedtime, case_key, state)
    SELECT u.stream, u.version, u.hash, u.recordedtime, u.case_key, u.state::jsonb
    FROM unnest($10::text[], $11::int[], $12::bytea[], $13::timestamptz[], $14::text[], $15::text[])
        AS u(stream, version, hash, recordedtime, case_key, state)
    ON CONFLICT (stream) DO UPDATE SET version = excluded.version, hash = excluded.hash,
        recordedtime = excluded.recordedtime, state = excluded.state
), appended AS (
    INSERT INTO events
        (id, stream, version, type, case_key, partition, recordedtime, record, hash, digest)
    SELECT u.id, u.stream, u.version, u.type, u.case_key, u.partition, u.recordedtime, u.record,
        u.hash, u.digest
    FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[], $6::smallint[],
        $7::timestamptz[], $8::text[], $9::bytea[], $16::text[])
        AS u(id, stream, version, type, case_key, partition, recordedtime, record, hash, digest)
    RETURNING position, partition
)
INSERT INTO outbox (position, partition) SELECT position, partition FROM appended
"""
_RACED = frozenset({"events_stream_version_key", "streams_pkey"})


@dataclass(slots=True)
class Head:
    """The current end of a stream, as it is in this unit of work.

    ``last`` is the newest event that this unit of work appended to it.
    """

    stream: str
    case_key: str
    version: int = 0
    hash: bytes = GENESIS
    recordedtime: datetime = _BEGINNING
    state: Any = None
    locked_state: Any = None
    last: Envelope | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """Where a promoted fact came from: the source, its id there, its digest, its place."""

    source: str
    id: str
    digest: str
    sequence: int | None


@dataclass(frozen=True, slots=True)
class Cause:
    """Why events are appended: by whom, following what.

    ``time`` is when it happened (now, if not given); ``after`` the recorded time of the fact
    that led to it; ``event_id`` gives the id of the n-th event.
    """

    actor: str
    origin: Origin = "live"
    causationid: UUID | None = None
    after: datetime = _BEGINNING
    time: datetime | None = None
    traceparent: str | None = None
    event_id: Callable[[int], UUID] = field(default=lambda index: new_id())
    published: Published | None = None

    @classmethod
    def of(cls, fact: Fact, *, actor: str, label: str) -> "Cause":
        """Return the cause of what ``actor`` decides about ``fact``, as ``label``.

        The ids derive from the fact, so that deciding twice can never act twice.
        """
        envelope = fact.envelope
        return cls(
            actor=actor,
            origin=envelope.origin,
            causationid=envelope.id,
            after=envelope.recordedtime,
            time=envelope.time,
            traceparent=envelope.traceparent,
            event_id=lambda index: derived_id(envelope.id, label, index),
        )


class Store:
    """The streams of one service."""

    def __init__(
        self, service: Service, clock: Clock, keys: KeyRing, history: History | None = None
    ) -> None:
        self.service = service
        self.clock = clock
        self.keys = keys
        self._history = history
        self._adapters = {
            family.name: _adapter(cast("type[Any]", type(family.initial)))
            for family in service.families
        }

    def begin(self, connection: Connection) -> "UnitOfWork":
        """Start a unit of work on a connection with an open transaction.

        :raises HistoryInDoubt: while this store must not go on with its history.
        """
        if self._history is not None:
            self._history.check()
        return UnitOfWork(self, connection)

    def family(self, stream: str) -> StreamFamily[Any]:
        """Return the family that folds a stream of this service, or of its refused events."""
        return _INGRESS if stream.startswith("ingress-") else self.service.family(stream)

    def load_state(self, stream: str, text: str) -> Any:
        """Return the state that a head row holds."""
        adapter = self._adapters.get(family_of(stream))
        return None if adapter is None else adapter.validate_json(text)

    def dump_state(self, stream: str, state: Any) -> str:
        """Return a state as the JSON text of a head row."""
        adapter = self._adapters.get(family_of(stream))
        return "{}" if adapter is None else adapter.dump_json(state).decode()


class UnitOfWork:
    """Appends to several streams in one transaction; nothing is written before ``flush``."""

    def __init__(self, store: Store, connection: Connection) -> None:
        self.connection = connection
        self.appended: list[Appended] = []
        self._store = store
        self._heads: dict[str, Head] = {}
        self._touched: set[str] = set()
        self._rows: list[tuple[Any, ...]] = []

    async def lock(self, streams: Iterable[str]) -> None:
        """Lock the heads of ``streams`` in name order; a stream that is new gets an empty head.

        All streams of a unit of work are locked in one call, so that two writers never wait for
        each other.
        """
        names = sorted(set(streams) - self._heads.keys())
        if not names:
            return
        for row in await self.connection.fetch(_LOCK, names):
            state = self._store.load_state(row[0], row[5])
            self._heads[row[0]] = Head(row[0], row[4], row[1], row[2], row[3], state, state)
        for name in names:
            if name not in self._heads:
                initial = self._store.family(name).initial
                self._heads[name] = Head(name, "", state=initial, locked_state=initial)

    def head(self, stream: str) -> Head:
        """Return the head of a locked stream.

        :raises KeyError: when the stream was not locked.
        """
        return self._heads[stream]

    async def append(
        self, stream: str, case_key: str, events: Sequence[Event], cause: Cause
    ) -> list[Fact]:
        """Add events to a locked stream, in memory; return them as facts with sealed text.

        :raises Refused: ``event-too-large`` for an event over 256 KiB.
        """
        head = self._heads[stream]
        head.case_key = head.case_key or case_key
        family = self._store.family(stream)
        facts: list[Fact] = []
        for index, event in enumerate(events):
            event_id = cause.event_id(index)
            sealed = await self._seal(event, event_id, head.case_key)
            envelope = self._envelope(head, sealed, event_id, cause)
            record = _record(envelope)
            before, head.state = head.state, family.evolve(head.state, sealed, envelope)
            self._advance(head, envelope, record)
            fact = Fact(envelope, sealed)
            self.appended.append(Appended(fact, before, head.state))
            facts.append(fact)
        return facts

    async def flush(self) -> None:
        """Write everything that was appended; call once, before the transaction commits.

        :raises LostRace: when another writer created a stream first; try again.
        """
        if not self._rows:
            return
        heads = [self._heads[stream] for stream in sorted(self._touched)]
        await self._write_all(heads)
        await write_deadlines(self.connection, self._store.family, heads)
        hook = self._store.service.on_append
        if hook is not None:
            await hook(self.connection, self.appended)
        self._rows.clear()
        self._touched.clear()

    async def _write_all(self, heads: Sequence[Head]) -> None:
        """Write events, heads and outbox in one statement.

        :raises LostRace: when another writer created a stream first.
        """
        dump = self._store.dump_state
        columns = list(zip(*self._rows, strict=True))
        try:
            await self.connection.execute(
                _APPEND,
                *columns[:9],
                [head.stream for head in heads],
                [head.version for head in heads],
                [head.hash for head in heads],
                [head.recordedtime for head in heads],
                [head.case_key for head in heads],
                [dump(head.stream, head.state) for head in heads],
                columns[9],
            )
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name in _RACED:  # what is new cannot be locked before
                raise LostRace("another writer created a stream first") from error
            raise

    async def _seal(self, event: Event, event_id: UUID, case_key: str) -> Event:
        """Return the event with its plain secret text sealed under the case's data key."""
        plain = {
            name: value
            for name in event.secret_fields
            if isinstance(value := getattr(event, name), str)
        }
        if not plain:
            return event
        key = (await self._store.keys.ensure(self.connection, [case_key]))[case_key]
        return event.model_copy(
            update={name: seal(key, event_id, name, text) for name, text in plain.items()}
        )

    def _envelope(self, head: Head, event: Event, event_id: UUID, cause: Cause) -> Envelope:
        """Return the envelope of the next event of a stream."""
        now = self._store.clock.now()
        recorded = max(now, head.recordedtime + _TICK, cause.after + _TICK)
        published = cause.published
        return Envelope(
            id=event_id,
            source=f"/casebook/{self._store.service.name}",
            type=event.type,
            subject=head.stream,
            streamversion=head.version + 1,
            partitionkey=head.case_key,
            time=cause.time or now,
            recordedtime=recorded,
            correlationid=head.case_key,
            actor=cause.actor,
            origin=cause.origin,
            audience=event.audience,
            data=event.payload(),
            causationid=cause.causationid,
            traceparent=cause.traceparent,
            originsource=None if published is None else published.source,
            originid=None if published is None else published.id,
            origindigest=None if published is None else published.digest,
            sourcesequence=None if published is None else published.sequence,
        )

    def _advance(self, head: Head, envelope: Envelope, record: str) -> None:
        """Move the head to an event, and remember the event's row."""
        head.version = envelope.streamversion
        head.hash = chain(head.hash, record)
        head.recordedtime = envelope.recordedtime
        head.last = envelope
        self._touched.add(head.stream)
        self._rows.append(
            (
                envelope.id,
                head.stream,
                head.version,
                envelope.type,
                head.case_key,
                partition(head.case_key),
                envelope.recordedtime,
                record,
                head.hash,
                envelope.origindigest,
            )
        )


@cache  # building one takes milliseconds
def _adapter(state: type[Any]) -> TypeAdapter[Any]:
    """Return what reads and writes the states of a family."""
    return TypeAdapter(state)


def _record(envelope: Envelope) -> str:
    """Return the canonical record of an event.

    :raises Refused: ``event-too-large`` for a record over 256 KiB.
    """
    record = envelope.record()
    if len(record) * 4 > RECORD_BYTES_MAX and len(record.encode()) > RECORD_BYTES_MAX:
        raise Refused("event-too-large", "an event may have at most 256 KiB")
    return record


_INGRESS: StreamFamily[Any] = StreamFamily("ingress", None, lambda state, event, envelope: state)
