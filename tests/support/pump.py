"""Another system that publishes: registers its source, sends events, and looks what became."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from casebook.events.event import Event
from casebook.events.ingress import Published
from casebook.kit.ids import source_id
from casebook.kit.ingress.inbox import Result
from casebook.kit.ingress.release import discard, of_publisher, retry
from casebook.kit.runtime import Runtime
from casebook.kit.store.store import Cause
from tests.support.service import START, Bench, append, settled
from tests.support.toy import source

SOURCE = "crm"


def event(
    subject: str,
    data: Event | dict[str, Any],
    sequence: int | None = None,
    *,
    id_: str | None = None,
    type_: str | None = None,
    source: str = SOURCE,
    time: datetime | None = None,
    actor: str | None = None,
) -> Published:
    """Return an event of the source; its id follows from subject and place, if not given."""
    payload = data.payload() if isinstance(data, Event) else data
    given = type_ or (data.type if isinstance(data, Event) else "casebook.unknown.v1")
    return Published(
        source=source,
        id=id_ or f"{subject}-{sequence}-{given}",
        type=given,
        subject=subject,
        time=time or START - timedelta(days=30) + timedelta(minutes=sequence or 0),
        data=payload,
        sourcesequence=sequence,
        actor=actor,
    )


async def register(
    runtime: Runtime, *others: Runtime, name: str = SOURCE, mode: str = "observed", **changes: Any
) -> None:
    """Register a source, and wait until every service knows it."""
    fact = source(name, mode, **changes)
    cause = Cause(actor="user:admin")
    await append(runtime, f"definition/source/{name}", fact, cause=cause)
    await settled(runtime, *others)


async def feed(
    runtime: Runtime, *events: Published, publisher: str = "pump", channel: str = "http"
) -> list[Result]:
    """Offer events to a service's inbox."""
    async with runtime.database.transaction() as connection:
        results, cases = await runtime.inbox.accept(
            connection, events, publisher=publisher, channel=channel
        )
    runtime.signals.cases.add(cases)
    runtime.signals.inbox.set()
    return results


def outcomes(results: Sequence[Result]) -> list[str]:
    """Return what became of events."""
    return [result.code or result.outcome for result in results]


def key_of(subject: str, source: str = SOURCE) -> str:
    """Return the case of a subject."""
    return str(source_id(source, "request", subject))


def fact_id(published: Published) -> UUID:
    """Return the id of the fact that an event becomes."""
    return source_id(published.source, "fact", published.id)


def row_id(published: Published, publisher: str = "pump") -> UUID:
    """Return the id that a publisher's event has in quarantine."""
    return of_publisher(fact_id(published), publisher)


async def retried(runtime: Runtime, id_: UUID) -> str | None:
    """Offer a quarantined event again, and say what became of it."""
    async with runtime.database.transaction() as connection:
        outcome = await retry(runtime, connection, id_)
    runtime.signals.inbox.set()
    return outcome


async def discarded(runtime: Runtime, id_: UUID) -> bool:
    """Discard a quarantined event, and say whether there was one."""
    async with runtime.database.transaction() as connection:
        found = await discard(runtime, connection, id_)
    runtime.signals.inbox.set()
    return found


async def log_of(bench: Bench, subject: str) -> list[dict[str, Any]]:
    """Return the attributes of a subject's facts, in the order of the log."""
    rows = await bench.fetch(
        'SELECT record FROM records WHERE key = $1 ORDER BY "offset"', key_of(subject), schema="log"
    )
    return [orjson.loads(row[0]) for row in rows]


async def inbox_size(bench: Bench, schema: str = "intake") -> int:
    """Return how many events wait."""
    return await bench.value("SELECT count(*) FROM inbox", schema=schema)


async def quarantined(bench: Bench, schema: str = "intake") -> list[tuple[str, str]]:
    """Return the reasons and ids of what is in quarantine."""
    rows = await bench.fetch(
        "SELECT reason, source_event FROM quarantine ORDER BY source_event, reason", schema=schema
    )
    return [(row[0], row[1]) for row in rows]
