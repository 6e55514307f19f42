"""Promotes published events to facts, in the order of their source (decisions 3.6).

An event with a ``sourcesequence`` is promoted when its predecessor is in the log, or is promoted
in the same transaction; which one another service may have written, so the reader's ``cases``
row says what the log holds. What a source may not say, or the rules of a live source refuse, is
quarantined, and a skipped fact takes its place, so that later ones can follow.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from casebook.events.catalog import EVENTS
from casebook.events.request import IngressSkipped, RequestSubmitted
from casebook.events.values import LABEL_LENGTH_MAX
from casebook.kit.bookkeeping.quarantine import Quarantined, quarantine
from casebook.kit.clock import Clock
from casebook.kit.decider import Refused
from casebook.kit.ids import named_id
from casebook.kit.ingress.release import DISCARDED, from_inbox
from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS, Connection
from casebook.kit.store.store import Cause, Published, Store, UnitOfWork

# What may not speak for its source never waits, nor does a place that is taken already; of the
# others, only a run without gaps is ready. ``cases`` is a condition on ``w.case_key``.
_PLACES = """
SELECT *, sequence IS NULL OR publisher <> allowed_publisher OR base <= seen AS ready FROM (
    SELECT w.id, w.publisher, w.case_key, w.sequence, w.position, w.clock,
        o.publisher AS allowed_publisher, coalesce(c.source_sequence, 0) AS seen,
        w.sequence - dense_rank() OVER (
            PARTITION BY w.case_key, w.publisher = o.publisher,
                w.sequence > coalesce(c.source_sequence, 0)
            ORDER BY w.sequence) AS base
    FROM inbox w LEFT JOIN sources o ON o.source = w.source
    LEFT JOIN cases c ON c.key = w.case_key
    WHERE {cases}
) p
"""
# The case that waits longest comes first: by key, the last ones would never come under pressure.
# The rows are fetched one by one, by OFFSET 0: with statistics that call the inbox empty, a join
# would compute what is ready again for every row.
_READY = f"""
SELECT i.*, r.seen AS log_sequence, s.mode, s.publisher AS allowed_publisher, s.types,
    s.organisation
FROM (
    SELECT *, min(position) OVER (PARTITION BY case_key) AS oldest
    FROM ({_PLACES.format(cases="$1::text[] IS NULL OR w.case_key = ANY($1::text[])")}) b
    WHERE allowed_publisher IS NOT NULL AND ready
    ORDER BY oldest, case_key, sequence NULLS FIRST, position LIMIT $2
) r
CROSS JOIN LATERAL (
    SELECT * FROM inbox x WHERE x.id = r.id AND x.publisher = r.publisher OFFSET 0
) i
JOIN sources s ON s.source = i.source
ORDER BY r.oldest, i.case_key, i.sequence NULLS FIRST, i.position
"""
OVERDUE = f"""
DELETE FROM inbox i USING ({
    _PLACES.format(cases="w.case_key IN (SELECT case_key FROM inbox WHERE clock + $2 <= $1)")
}) p
WHERE i.id = p.id AND i.publisher = p.publisher AND p.clock + $2 <= $1
    AND (p.allowed_publisher IS NULL OR NOT p.ready)
RETURNING i.*, p.allowed_publisher IS NOT NULL AS registered
"""
"""Takes out what waited longer than ``$2`` seconds at ``$1``, and still cannot be promoted."""
_EMPTY = """
DELETE FROM inbox i USING unnest($1::uuid[], $2::text[]) AS u(id, publisher)
WHERE i.id = u.id AND i.publisher = u.publisher
"""
_DEVIATIONS = """
INSERT INTO deviations AS d (source, rule, count)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
ON CONFLICT (source, rule) DO UPDATE SET count = d.count + excluded.count
"""
_NOT_DEFECTS = (asyncpg.PostgresError, *INFRASTRUCTURE_ERRORS)
_LOG = get_logger("promotion")


@dataclass(slots=True)
class _Round:
    """What one transaction does beside the events that it appends."""

    work: UnitOfWork
    done: list[Any] = field(default_factory=list[Any])
    bad: list[Quarantined] = field(default_factory=list[Quarantined])
    results: Counter[str] = field(default_factory=Counter[str])
    deviations: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    stuck: set[str] = field(default_factory=set[str])
    """Cases of which an event could not be promoted, so that later ones have to wait."""


class Promotion:
    """Turns inbox rows of one service into facts."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def ready(
        self, connection: Connection, cases: Sequence[str] | None, events_max: int
    ) -> tuple[list[Any], bool]:
        """Return events of ``cases``, or of all, that can be promoted; and if there are more."""
        rows = await connection.fetch(_READY, cases, events_max)
        return _in_sequence(rows), len(rows) >= events_max

    async def promote(self, connection: Connection, rows: Sequence[Any]) -> Counter[str]:
        """Promote events inside a transaction; return what became of those that left the inbox."""
        try:
            async with connection.transaction():
                return await self._transact(connection, rows)
        except INFRASTRUCTURE_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - one bad event must not stop the others
            _LOG.warning("promotion.isolating", exc_info=error)
        return await self._one_by_one(connection, rows)

    async def _one_by_one(self, connection: Connection, rows: Sequence[Any]) -> Counter[str]:
        """Promote each event under a savepoint of its own; one that fails is quarantined."""
        left = Counter[str]()
        stuck: set[str] = set()
        for row in rows:
            if row["sequence"] is not None and row["case_key"] in stuck:
                continue
            try:
                async with connection.transaction():
                    left += await self._transact(connection, [row], stuck)
            except INFRASTRUCTURE_ERRORS:
                raise
            except Exception as error:  # noqa: BLE001 - it is quarantined
                _LOG.error("promotion.failed", event_id=str(row["id"]), exc_info=error)
                stuck.add(row["case_key"])
                bad = [_defect(row, error)]
                await quarantine(connection, self._store.keys, bad, self._clock.now())
                await connection.execute(_EMPTY, [row["id"]], [row["publisher"]])
                left["quarantined"] += 1
        return left

    async def _transact(
        self, connection: Connection, rows: Sequence[Any], stuck: set[str] | None = None
    ) -> Counter[str]:
        """Append what is accepted, skip what is refused, and empty the inbox of both."""
        current = _Round(self._store.begin(connection), stuck=set() if stuck is None else stuck)
        await current.work.lock(
            {row["stream"] for row in rows} | {self._skips(row) for row in rows}
        )
        known = {
            found[0]: found[1]
            for found in await connection.fetch(
                "SELECT id, digest FROM events WHERE id = ANY($1::uuid[])",
                [id_ for row in rows for id_ in (row["id"], _skip_id(row))],
            )
        }
        for row in rows:
            if row["case_key"] in current.stuck and row["sequence"] is not None:
                continue
            if row["id"] not in known:
                result = await self._one(current, row, skipped=_skip_id(row) in known)
            elif row["digest"] == known[row["id"]]:
                result = "duplicate"
            else:
                result = "quarantined"
                detail = "the same id was published before with another content"
                current.bad.append(from_inbox(row, "content-differs", detail))
            current.results[result] += 1
            current.done.append(row)
        await current.work.flush()
        await quarantine(connection, self._store.keys, current.bad, self._clock.now())
        if current.deviations:
            sources, rules = zip(*current.deviations, strict=True)
            counts = list(current.deviations.values())
            await connection.execute(_DEVIATIONS, sources, rules, counts)
        ids = [row["id"] for row in current.done]
        await connection.execute(_EMPTY, ids, [row["publisher"] for row in current.done])
        return current.results

    async def _one(self, current: _Round, row: Any, *, skipped: bool) -> str:
        """Promote one event, or refuse it, and say which.

        What is refused and had a place is skipped there; who may not speak for the source takes
        no place in its history.
        """
        if row["publisher"] != row["allowed_publisher"]:
            if row["refusal"] == DISCARDED:
                return "skipped"
            detail = "the publisher may not speak for this source"
            current.bad.append(from_inbox(row, "wrong-publisher", detail))
            return "quarantined"
        try:
            await self._append(current, row)
        except Refused as refused:
            if row["refusal"] is None:
                current.bad.append(from_inbox(row, refused.code, refused.detail))
            if row["sequence"] is not None and not skipped:
                event = IngressSkipped(skipped_type=_label(row["type"]), code=refused.code)
                cause = _cause(row, event_id=_skip_id(row))
                await current.work.append(self._skips(row), row["case_key"], [event], cause)
            return "quarantined" if row["refusal"] is None else "skipped"
        except _NOT_DEFECTS:
            raise
        except Exception as error:  # noqa: BLE001 - it is quarantined
            _LOG.error("promotion.failed", event_id=str(row["id"]), exc_info=error)
            current.bad.append(_defect(row, error))
            current.stuck.add(row["case_key"])
            return "quarantined"
        return "promoted"

    async def _append(self, current: _Round, row: Any) -> None:
        """Append one published event to its stream.

        :raises Refused: when the source may not publish it, or the rules of a live source say no.
        """
        if row["refusal"] is not None:
            raise Refused(row["refusal"], "refused at acceptance")
        if row["type"] not in row["types"]:
            raise Refused("type-not-allowed", "the source is not registered for this type")
        event = EVENTS[row["type"]].tolerant(orjson.loads(row["data"]))
        organisation = row["organisation"]
        if organisation is not None and isinstance(event, RequestSubmitted):
            if event.organisation not in {None, organisation}:
                raise Refused("foreign-organisation", "the source speaks for another organisation")
            event = event.model_copy(update={"organisation": organisation})
        head = current.work.head(row["stream"])
        if row["mode"] == "observed" and getattr(head.state, "origin", None) == "live":
            raise Refused("live-here", "people have worked on it here since it was reopened")
        try:
            self._store.family(row["stream"]).guard(head.state, event)
        except Refused as refused:
            if row["mode"] != "observed":
                raise
            current.deviations[row["source"], refused.code] += 1
        cause = _cause(row, event_id=row["id"])
        await current.work.append(row["stream"], row["case_key"], [event], cause)

    def _skips(self, row: Any) -> str:
        """Return the stream that holds what was skipped of a case."""
        return f"ingress-{self._store.service.name}/{row['case_key']}"


def _skip_id(row: Any) -> UUID:
    """Return the id of the fact that stands in the place of a refused event."""
    return named_id(row["id"], "skipped")


def _in_sequence(rows: Sequence[Any]) -> list[Any]:
    """Return the rows whose predecessors are in the log or before them here."""
    ready: list[Any] = []
    reached: dict[str, int] = {}
    for row in rows:
        sequence: int | None = row["sequence"]
        if sequence is not None and row["publisher"] == row["allowed_publisher"]:
            last = reached.setdefault(row["case_key"], row["log_sequence"])
            if sequence > last + 1:
                continue
            reached[row["case_key"]] = max(last, sequence)
        ready.append(row)
    return ready


def _cause(row: Any, *, event_id: Any) -> Cause:
    """Return the cause of a promoted fact: the source, with its own id, time and place."""
    source = f"source:{row['source']}"
    return Cause(
        actor=source if row["actor"] is None else f"{source}:{row['actor']}",
        origin="observed" if row["mode"] == "observed" else "live",
        time=row["time"],
        traceparent=row["traceparent"],
        event_id=lambda index: event_id,
        published=Published(row["source"], row["source_event"], row["digest"], row["sequence"]),
    )


def _label(type_: str) -> str:
    """Return a published type as it can stand in a skipped fact."""
    return type_ if type_.isascii() and len(type_) <= LABEL_LENGTH_MAX else "unknown"


def _defect(row: Any, error: Exception) -> Quarantined:
    """Return the quarantine row of an event that this code cannot take; later ones wait."""
    detail = f"this version of the code cannot take it: {type(error).__name__}"
    return from_inbox(row, "internal-error", detail)
