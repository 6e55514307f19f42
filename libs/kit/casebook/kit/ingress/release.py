"""Ends quarantine: by a predecessor's arrival, by an operator's retry, or by a discard.

An event that had been accepted was sealed as it stood in the inbox, and goes back there. One
that was refused at the door is offered to the door again, as its publisher sent it. What is
discarded and had a place goes back only to be skipped there, because later ones wait for it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from casebook.events.ingress import Published
from casebook.kit.bookkeeping.quarantine import Quarantined
from casebook.kit.decider import Refused
from casebook.kit.ids import named_id, source_id
from casebook.kit.keys import KeyRing, open_bytes
from casebook.kit.postgres.database import Connection

if TYPE_CHECKING:
    from casebook.kit.runtime import Runtime

INBOX = "inbox"
"""The channel of events that were accepted before they were quarantined."""
DISCARDED = "discarded"
"""Why an inbox row is only skipped; in quarantine, the reason of one that waits for its turn."""
CASES_MAX = 1_000
_COLUMNS = (
    "id", "source", "source_event", "subject", "publisher", "sequence", "type", "stream",
    "case_key", "time", "data", "digest", "traceparent", "actor", "refusal",
)  # fmt: skip
_AS_PUBLISHED = ("source", "subject", "publisher", "type", "time", "traceparent", "actor")
WAITS = "reason IN ('predecessor-missing', 'discarded')"
"""The condition on a row of the quarantine that its place in the source's history waits."""
_WAITED_FOR = f"""
SELECT DISTINCT q.case_key FROM quarantine q LEFT JOIN cases c ON c.key = q.case_key
JOIN data_keys k ON k.key_id = q.key_id JOIN sources s ON s.source = q.source
WHERE q.{WAITS}
    AND ($1::text[] IS NULL OR q.case_key = ANY($1::text[]))
    AND (q.sequence <= coalesce(c.source_sequence, 0) + 1 OR EXISTS (
        SELECT FROM inbox i WHERE i.case_key = q.case_key AND i.sequence = q.sequence - 1))
LIMIT $2
"""
_TAKE = f"""
DELETE FROM quarantine
WHERE {WAITS} AND case_key = ANY($1::text[])
    AND key_id IN (SELECT key_id FROM data_keys)
RETURNING id, body, key_id
"""
_HELD = """
DELETE FROM quarantine WHERE id = $1 AND reason <> 'discarded'
RETURNING id, body, key_id, channel, reason, source, source_event, case_key, sequence, digest
"""
_PLACE_IS_OPEN = """
SELECT $2 > coalesce((SELECT source_sequence FROM cases WHERE key = $1), 0) AND NOT EXISTS (
    SELECT FROM inbox WHERE case_key = $1 AND sequence = $2 AND publisher = $3)
"""
_MAKE_ROOM = """
DELETE FROM inbox WHERE id = $1 AND publisher = $2 AND digest = $3 AND refusal IS NOT NULL
"""
_PUT_BACK = """
INSERT INTO inbox (id, source, source_event, subject, publisher, sequence, type, stream, case_key,
    time, data, digest, traceparent, actor, refusal, clock, seen)
SELECT r.*, (SELECT active_seconds FROM ingress_clock),
    coalesce((SELECT source_sequence FROM cases c WHERE c.key = r.case_key), 0)
FROM jsonb_to_recordset($1::jsonb) AS r(id uuid, source text, source_event text, subject text,
    publisher text, sequence int, type text, stream text, case_key text, time timestamptz,
    data text, digest text, traceparent text, actor text, refusal text)
ON CONFLICT (id, publisher) DO NOTHING
"""


def of_publisher(fact_id: UUID, publisher: str) -> UUID:
    """Return the quarantine id of a publisher's event: nobody else's takes or changes its row."""
    return named_id(fact_id, publisher)


def from_inbox(row: Mapping[str, Any], reason: str, detail: str) -> Quarantined:
    """Return the quarantine row of an inbox row, which holds all that it takes to put it back.

    Its secret text is sealed already, and sealed once more with the rest.
    """
    body = {name: row[name] for name in _COLUMNS}
    return Quarantined(
        id=of_publisher(row["id"], row["publisher"]),
        reason=reason,
        detail=detail,
        channel=INBOX,
        body=orjson.dumps(body, default=str),  # the driver has a UUID type of its own
        source=row["source"],
        source_event=row["source_event"],
        case_key=row["case_key"],
        sequence=row["sequence"],
        type=row["type"],
        digest=row["digest"],
    )


async def release_successors(
    connection: Connection, keys: KeyRing, cases: Sequence[str] | None
) -> int:
    """Put events back into the inbox whose predecessor has come; return how many.

    Looks at ``cases``, or at all.
    """
    if not await connection.fetchval(f"SELECT EXISTS (SELECT FROM quarantine WHERE {WAITS})"):
        return 0
    found = await connection.fetch(_WAITED_FOR, cases, CASES_MAX)
    rows = await connection.fetch(_TAKE, [row[0] for row in found]) if found else []
    await _put_back(connection, keys, rows)
    return len(rows)


async def retry(runtime: "Runtime", connection: Connection, row_id: UUID) -> str | None:
    """Offer a quarantined event again; return what became of it, ``None`` if there is none.

    :raises Refused: ``not-retryable`` for what never was an event.
    """
    row = await connection.fetchrow(_HELD, row_id)
    if row is None:
        return None
    if row["source"] is None:
        raise Refused("not-retryable", "this never was an event")
    if row["channel"] == INBOX:
        await _put_back(connection, runtime.keys, [row])
        return "accepted"
    return await _offer(runtime, connection, row)


async def discard(runtime: "Runtime", connection: Connection, row_id: UUID) -> bool:
    """Give up a quarantined event; say whether there was one.

    Where its place in the history of its subject is still open, it goes back into the inbox to
    be skipped; the promoter knows whether its publisher may take a place at all.
    """
    row = await connection.fetchrow(_HELD, row_id)
    if row is None:
        return False
    if row["source"] is not None and row["sequence"] is not None:
        try:
            (body,) = await _opened(connection, runtime.keys, [row])
        except Refused:
            return True  # its key is gone, and with it who had published it
        given_up = _given_up(row, orjson.loads(body), runtime.service.name)
        place = (row["case_key"], row["sequence"], given_up["publisher"])
        if await connection.fetchval(_PLACE_IS_OPEN, *place):
            await connection.execute(_PUT_BACK, [given_up])
    return True


def _given_up(row: Any, body: Mapping[str, Any], service: str) -> dict[str, Any]:
    """Return the inbox row that takes the place of a discarded event, without its content."""
    if row["channel"] == INBOX:
        return {**body, "data": "", "refusal": DISCARDED}
    # The id of what differs is that of another event, which is or will be a fact.
    differs = row["reason"] == "content-differs"
    return {
        "id": str(row["id"] if differs else source_id(row["source"], "fact", row["source_event"])),
        "source_event": row["source_event"],
        "sequence": row["sequence"],
        "stream": f"ingress-{service}/{row['case_key']}",
        "case_key": row["case_key"],
        "data": "",
        "digest": row["digest"],
        "refusal": DISCARDED,
        **{name: body[name] for name in _AS_PUBLISHED},
    }


async def _offer(runtime: "Runtime", connection: Connection, row: Any) -> str:
    """Let the inbox decide again about an event as it was published."""
    body = orjson.loads((await _opened(connection, runtime.keys, [row]))[0])
    publisher: str = body.pop("publisher")
    body["time"] = datetime.fromisoformat(body["time"])
    # What keeps its place to be skipped there makes room: the door may let it in now.
    fact_id = source_id(body["source"], "fact", body["id"])
    await connection.execute(_MAKE_ROOM, fact_id, publisher, row["digest"])
    results, _ = await runtime.inbox.accept(
        connection, [Published(**body)], publisher=publisher, channel=row["channel"]
    )
    return results[0].outcome


async def _put_back(connection: Connection, keys: KeyRing, rows: Sequence[Any]) -> None:
    """Put events back into the inbox; there, their time begins anew."""
    if rows:
        bodies = await _opened(connection, keys, rows)
        await connection.execute(_PUT_BACK, [orjson.loads(body) for body in bodies])


async def _opened(connection: Connection, keys: KeyRing, rows: Sequence[Any]) -> list[bytes]:
    """Return the bodies of quarantine rows.

    :raises Refused: ``erased`` when the key of one was destroyed.
    """
    by_id = await keys.fetch(connection, {row["key_id"] for row in rows})
    try:
        return [open_bytes(by_id[row["key_id"]], row["id"], row["body"]) for row in rows]
    except KeyError as error:
        raise Refused("erased", "its key was destroyed") from error
