"""Accepts published events into the inbox of their owner, once each (decisions 3.6).

HTTP and Kafka both end here. An event is checked against its closed schema, its secret text is
sealed before it touches a table, and it waits in ``inbox`` until the promoter makes it a fact.
The fact id derives from (source, id), so the same event is known again for ever; the same id
with another content is quarantined. Whether the publisher may speak for the source is known
only once the source is, so publishers wait side by side, in the inbox and in quarantine, and
cannot take each other's ids.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import orjson

from casebook.events.catalog import owner, publishable
from casebook.events.decoding import CURRENT, base
from casebook.events.event import Event
from casebook.events.ingress import Published, event_of
from casebook.events.malformed import Malformed
from casebook.events.request import ImportRowRejected
from casebook.kit import metrics
from casebook.kit.bookkeeping.quarantine import Quarantined, quarantine
from casebook.kit.clock import Clock
from casebook.kit.decider import Refused
from casebook.kit.ids import named_id, source_id
from casebook.kit.ingress.release import of_publisher
from casebook.kit.keys import KeyRing, digest, seal
from casebook.kit.postgres.database import Connection

Outcome = Literal["accepted", "duplicate", "quarantined", "not-the-owner"]

_KNOWN = """
SELECT id, digest, 'log' AS place FROM events WHERE id = ANY($1::uuid[])
UNION ALL SELECT id, digest, 'inbox' FROM inbox WHERE id = ANY($1::uuid[]) AND publisher = $2
UNION ALL SELECT u.id, q.digest, q.reason
FROM unnest($1::uuid[], $3::uuid[]) AS u(id, row_id) JOIN quarantine q ON q.id = u.row_id
"""
_INSERT = """
INSERT INTO inbox (id, source, source_event, subject, publisher, sequence, type, stream, case_key,
    time, data, digest, traceparent, actor, refusal, clock, seen)
SELECT u.*, (SELECT active_seconds FROM ingress_clock),
    coalesce((SELECT source_sequence FROM cases c WHERE c.key = u.case_key), 0)
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[],
    $8::text[], $9::text[], $10::timestamptz[], $11::text[], $12::text[], $13::text[], $14::text[],
    $15::text[]) AS u(id, source, source_event, subject, publisher, sequence, type, stream,
        case_key, time, data, digest, traceparent, actor, refusal)
ON CONFLICT (id, publisher) DO NOTHING RETURNING id
"""
_REGISTERED = """
SELECT source, types FROM sources WHERE source = ANY($1::text[]) AND publisher = $2
"""
TIME_AHEAD_MAX = timedelta(minutes=5)
"""How far the clock of a publisher may be ahead of this service's."""
RELEASED_BY_SENDING_AGAIN = frozenset({"predecessor-missing", "unknown-source", "wrong-publisher"})


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one published event; ``code`` says why it was not accepted."""

    id: str
    outcome: Outcome
    code: str | None = None
    detail: str | None = None


@dataclass(slots=True)
class _Item:
    """An event on its way into the inbox."""

    published: Published
    publisher: str
    fact_id: UUID
    case_key: str
    stream: str
    event: Event | None = None
    data: str = ""
    digest: str = ""
    refusal: str | None = None
    detail: str = ""

    @property
    def row_id(self) -> UUID:
        """Return the id that the event has in quarantine, which no other publisher can take."""
        return of_publisher(self.fact_id, self.publisher)


class Inbox:
    """The inbox of one service."""

    def __init__(self, service: str, keys: KeyRing, clock: Clock) -> None:
        self._service = service
        self._keys = keys
        self._clock = clock

    async def accept(
        self,
        connection: Connection,
        events: Sequence[Published],
        *,
        publisher: str,
        channel: str,
        traceparent: str | None = None,
    ) -> tuple[list[Result], set[str]]:
        """Take events inside a transaction; return a result for each, and the cases touched."""
        items = [self._prepare(event, publisher) for event in events]
        mine = [item for item in items if item.refusal != "not-the-owner"]
        await self._seal(connection, mine)
        await self._refuse(connection, mine)
        known = await self._known(connection, mine)
        fresh: dict[UUID, _Item] = {}
        bad: list[Quarantined] = []
        results = [self._sort(item, known, fresh, bad, channel) for item in items]
        inserted = await self._insert(connection, list(fresh.values()), traceparent)
        raced = [item for item in fresh.values() if item.fact_id not in inserted]
        if raced:  # somebody else was accepting the same events at the same time
            known = await self._known(connection, raced)
            for item in raced:
                found = self._sort(item, known, {}, bad, channel)
                results[items.index(item)] = found
        await quarantine(connection, self._keys, bad, self._clock.now())
        return results, {item.case_key for item in fresh.values()}

    def _prepare(self, published: Published, publisher: str) -> _Item:
        """Find the fact's id, case and stream, and validate the data."""
        fact_id = source_id(published.source, "fact", published.id)
        case_key = str(source_id(published.source, "request", published.subject))
        item = _Item(published, publisher, fact_id, case_key, f"ingress-{self._service}/{case_key}")
        belongs_to = owner_of_published(published.type)
        if belongs_to != self._service:
            item.refusal = "not-the-owner"
            item.detail = f"{published.type} belongs to {belongs_to}"
            return item
        try:
            event = event_of(published)
        except Malformed as error:
            item.refusal, item.detail = error.code, error.detail
            return item
        if isinstance(event, ImportRowRejected):
            item.refusal = "row-rejected"
            item.detail = f"{event.file} line {event.line}: {event.reason}"
        elif not publishable(type(event)):
            item.refusal, item.detail = "not-publishable", f"{published.type} is Casebook's own"
        else:
            item.event = event
            item.stream = f"{event.family}/{case_key}"
        return item

    async def _seal(self, connection: Connection, items: Sequence[_Item]) -> None:
        """Seal secret text and compute the digest of the content as it was sent."""
        secret = [item for item in items if item.event is not None and _plain(item.event)]
        keys = await self._keys.ensure(connection, [item.case_key for item in secret])
        for item in items:
            published = item.published
            content = orjson.dumps(
                [
                    published.type,
                    published.subject,
                    published.time.astimezone(UTC),  # the moment, however it was written
                    published.sourcesequence,
                    published.data,
                ],
                option=orjson.OPT_SORT_KEYS,
            )
            if item.event is None:
                item.digest = digest(None, content)
                continue
            plain = _plain(item.event)
            key = keys[item.case_key] if plain else None
            item.digest = digest(key, content)
            if key is not None:
                sealed = {name: seal(key, item.fact_id, name, text) for name, text in plain.items()}
                item.event = item.event.model_copy(update=sealed)
            item.data = orjson.dumps(item.event.payload()).decode()

    async def _refuse(self, connection: Connection, items: Sequence[_Item]) -> None:
        """Refuse what is dated ahead, and what a known source is not registered for.

        Of an unknown source, and of one that others speak for, the promoter judges the type.
        """
        sound = [item for item in items if item.event is not None]
        if not sound:
            return
        sources = sorted({item.published.source for item in sound})
        rows = await connection.fetch(_REGISTERED, sources, sound[0].publisher)
        allowed = {row[0]: row[1] for row in rows}
        now = self._clock.now()
        for item in sound:
            try:
                _ensure_happened(item.published.time, now)
                _ensure_allowed(item.published.type, allowed.get(item.published.source))
            except Refused as refused:
                item.refusal, item.detail = refused.code, refused.detail
                item.stream, item.data = f"ingress-{self._service}/{item.case_key}", ""

    async def _known(
        self, connection: Connection, items: Sequence[_Item]
    ) -> dict[UUID, tuple[str, str]]:
        """Return the digest and place of the events that were seen before."""
        if not items:
            return {}
        rows = await connection.fetch(
            _KNOWN,
            [item.fact_id for item in items],
            items[0].publisher,
            [item.row_id for item in items],
        )
        # What is in the log decides; of what was refused the reason tells more than the inbox.
        rows.sort(key=lambda row: (row[2] == "log", row[2] != "inbox"))
        return {row[0]: (row[1], row[2]) for row in rows}

    def _sort(
        self,
        item: _Item,
        known: dict[UUID, tuple[str, str]],
        fresh: dict[UUID, _Item],
        bad: list[Quarantined],
        channel: str,
    ) -> Result:
        """Decide what becomes of one event, and remember it for the rest of the batch."""
        name = item.published.id
        if item.refusal == "not-the-owner":
            return Result(name, "not-the-owner", item.refusal, item.detail)
        seen = known.get(item.fact_id)
        if seen is not None and seen[0] != item.digest:
            detail = "the same id was published before with another content"
            row_id = named_id(item.row_id, item.digest)
            bad.append(_quarantined(item, row_id, "content-differs", detail, channel))
            return Result(name, "quarantined", "content-differs", detail)
        if seen is not None and seen[1] in {"log", "inbox"}:
            return Result(name, "duplicate")
        if seen is not None and seen[1] not in RELEASED_BY_SENDING_AGAIN:
            return Result(name, "quarantined", seen[1], "quarantined before")
        known[item.fact_id] = (item.digest, item.refusal or "inbox")
        if item.refusal is not None:
            bad.append(_quarantined(item, item.row_id, item.refusal, item.detail, channel))
            if item.published.sourcesequence is not None:
                fresh[item.fact_id] = item
            return Result(name, "quarantined", item.refusal, item.detail)
        fresh[item.fact_id] = item
        return Result(name, "accepted")

    async def _insert(
        self,
        connection: Connection,
        items: Sequence[_Item],
        traceparent: str | None,
    ) -> set[UUID]:
        """Write the new events, and take those that were sent again out of the quarantine.

        Returns the ids of those that nobody else was writing at the same time.
        """
        if not items:
            return set()
        rows = [
            (
                item.fact_id,
                item.published.source,
                item.published.id,
                item.published.subject,
                item.publisher,
                item.published.sourcesequence,
                item.published.type,
                item.stream,
                item.case_key,
                item.published.time,
                item.data,
                item.digest,
                item.published.traceparent or traceparent,
                item.published.actor,
                item.refusal,
            )
            for item in items
        ]
        written = await connection.fetch(_INSERT, *map(list, zip(*rows, strict=True)))
        await connection.execute(
            "DELETE FROM quarantine WHERE id = ANY($1::uuid[]) AND reason = ANY($2::text[])",
            [item.row_id for item in items],
            list(RELEASED_BY_SENDING_AGAIN),
        )
        return {row[0] for row in written}


def count_results(service: str, results: Sequence[Result]) -> None:
    """Count what became of published events, once that is committed."""
    outcomes = Counter[str](result.outcome for result in results)
    del outcomes["not-the-owner"]
    metrics.count(metrics.INGRESS_RESULTS, service, outcomes)


def owner_of_published(type_: str) -> str:
    """Return the service that takes published events of a type: intake, if no service owns it."""
    known = CURRENT.get(base(type_))
    return "intake" if known is None else owner(known.type) or "intake"


def _ensure_happened(time: datetime, now: datetime) -> None:
    """Accept a time that clocks which differ a little may tell.

    :raises Refused: ``time-in-future``
    """
    if time > now + TIME_AHEAD_MAX:
        raise Refused("time-in-future", "time is more than 5 minutes ahead of the service's clock")


def _ensure_allowed(type_: str, types: Sequence[str] | None) -> None:
    """Accept a type that the source is registered for, or of a source that is not known.

    :raises Refused: ``type-not-allowed``
    """
    if types is not None and type_ not in types:
        raise Refused("type-not-allowed", "the source is not registered for this type")


def _plain(event: Event) -> dict[str, str]:
    """Return the secret fields of an event that still hold plain text."""
    return {
        name: value
        for name in event.secret_fields
        if isinstance(value := getattr(event, name), str)
    }


def _quarantined(item: _Item, row_id: UUID, reason: str, detail: str, channel: str) -> Quarantined:
    """Return the quarantine row of an event."""
    published = item.published
    body: dict[str, Any] = {
        "source": published.source,
        "id": published.id,
        "type": published.type,
        "subject": published.subject,
        "time": published.time,
        "sourcesequence": published.sourcesequence,
        "traceparent": published.traceparent,
        "actor": published.actor,
        "publisher": item.publisher,
        "data": published.data,
    }
    return Quarantined(
        id=row_id,
        reason=reason,
        detail=detail,
        channel=channel,
        body=orjson.dumps(body),
        source=published.source,
        source_event=published.id,
        case_key=item.case_key,
        sequence=published.sourcesequence,
        type=published.type,
        digest=item.digest,
    )
