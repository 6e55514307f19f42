"""Durable timers that follow from states: what a state wants is what the table holds.

A family derives its deadlines from a state. Around every append the wish before and the wish
after are compared, and the difference is written in the same transaction. The id of a timer
derives from stream, kind and due time, and the ids of the events it leads to derive from it, so
firing twice is impossible.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from casebook.events.envelope import Envelope, timestamp
from casebook.events.kafka import partition
from casebook.kit.decider import StreamFamily
from casebook.kit.ids import named_id
from casebook.kit.postgres.database import Connection

_NAMESPACE = UUID("5b0c7a4e-6f63-4d2a-9d0e-2f1f0a7b6c11")

_CANCEL = """
UPDATE timers SET status = 'cancelled', fired_at = NULL
WHERE id = ANY($1::uuid[]) AND status IN ('pending', 'failed')
"""
_WANT = """
INSERT INTO timers (id, stream, case_key, kind, partition, due_at, causationid, traceparent)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::smallint[],
    $6::timestamptz[], $7::uuid[], $8::text[])
ON CONFLICT (id) DO UPDATE SET status = 'pending', causationid = excluded.causationid,
    traceparent = excluded.traceparent
WHERE timers.status = 'cancelled'
"""


class Timed(Protocol):
    """A stream's end with the state it had when it was locked."""

    stream: str
    case_key: str
    state: Any
    locked_state: Any
    last: Envelope | None


def timer_id(stream: str, kind: str, due: datetime) -> UUID:
    """Return the id of the timer that a stream wants for ``kind`` at ``due``."""
    return named_id(_NAMESPACE, f"{stream}|{kind}|{timestamp(due)}")


async def write_deadlines(
    connection: Connection,
    family: Callable[[str], StreamFamily[Any]],
    heads: Sequence[Timed],
) -> None:
    """Make the timers of ``heads`` equal to what their states want."""
    cancelled: list[UUID] = []
    wanted: list[tuple[Any, ...]] = []
    for head in heads:
        deadlines = family(head.stream).deadlines
        before, after = deadlines(head.locked_state), deadlines(head.state)
        if before == after:
            continue
        cancelled.extend(
            timer_id(head.stream, kind, due) for kind, due in _only(before, after).items()
        )
        wanted.extend(_row(head, kind, due) for kind, due in _only(after, before).items())
    if cancelled:
        await connection.execute(_CANCEL, cancelled)
    if wanted:
        await connection.execute(_WANT, *map(list, zip(*wanted, strict=True)))


def _row(head: Timed, kind: str, due: datetime) -> tuple[Any, ...]:
    """Return the row of a timer; it remembers which event wanted it, and in which trace."""
    return (
        timer_id(head.stream, kind, due),
        head.stream,
        head.case_key,
        kind,
        partition(head.case_key),
        due,
        None if head.last is None else head.last.id,
        None if head.last is None else head.last.traceparent,
    )


def _only(these: Mapping[str, datetime], those: Mapping[str, datetime]) -> dict[str, datetime]:
    """Return the deadlines of ``these`` that ``those`` does not have at the same time."""
    return {kind: due for kind, due in these.items() if those.get(kind) != due}
