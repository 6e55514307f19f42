"""The quarantine: what was published and could not become a fact, with the reason, sealed.

Nothing is lost: the body is kept under a data key of its source, listed by
``casebook quarantine``, released (:mod:`casebook.kit.ingress.release`) or discarded by an operator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from casebook.kit.keys import KeyRing, seal_bytes
from casebook.kit.postgres.database import Connection

_INSERT = """
INSERT INTO quarantine (id, reason, detail, channel, source, source_event, case_key, sequence,
    type, digest, body, key_id, received_at)
SELECT u.*, $13 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
    $7::text[], $8::int[], $9::text[], $10::text[], $11::bytea[], $12::text[]) AS u
ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, detail = excluded.detail
"""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One event or record in quarantine; ``body`` is what was received."""

    id: UUID
    reason: str
    detail: str
    channel: str
    body: bytes
    source: str | None = None
    source_event: str | None = None
    case_key: str | None = None
    sequence: int | None = None
    type: str | None = None
    digest: str | None = None


async def quarantine(
    connection: Connection, keys: KeyRing, items: Sequence[Quarantined], now: datetime
) -> None:
    """Keep events that cannot become facts; the same one again only renews its reason."""
    if not items:
        return
    groups = {item.id: f"quarantine/{item.source or item.channel}" for item in items}
    by_group = await keys.ensure(connection, sorted(set(groups.values())))
    unique = {item.id: item for item in sorted(items, key=lambda item: item.id)}
    rows = [
        (
            item.id,
            item.reason,
            item.detail,
            item.channel,
            item.source,
            item.source_event,
            item.case_key,
            item.sequence,
            item.type,
            item.digest,
            seal_bytes(by_group[groups[item.id]], item.id, item.body),
            by_group[groups[item.id]].key_id,
        )
        for item in unique.values()
    ]
    await connection.execute(_INSERT, *map(list, zip(*rows, strict=True)), now)
