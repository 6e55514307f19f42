"""The write side: heads, events, outbox, timers, keys, idempotent answers, quarantine."""

from collections.abc import Collection
from typing import Any

import orjson

from casebook.kit import keys
from casebook.kit.bookkeeping import history, quarantine
from casebook.kit.http import idempotency
from casebook.kit.log import outbox
from casebook.kit.reading import timers
from casebook.kit.store import deadlines, store
from tests.simulation.statements import Records, meaning, one, record
from tests.simulation.tables import Transaction, Waiting

_HEAD = record("stream", "version", "hash", "recordedtime", "case_key", "state")
_FETCHED = record("version", "case_key", "state")


@meaning(store._LOCK)
def lock_heads(tx: Transaction, names: list[str]) -> Any:
    found = [name for name in sorted(names) if tx.get("streams", name) is not None]
    for name in found:
        yield from tx.hold("streams", name)
    return [
        _HEAD(
            (
                row["stream"],
                row["version"],
                row["hash"],
                row["recordedtime"],
                row["case_key"],
                row["state"],
            )
        )
        for name in found
        if (row := tx.get("streams", name)) is not None
    ]


@meaning(store._APPEND)
def append(tx: Transaction, *columns: Any) -> Any:
    added: list[tuple[int, int]] = []
    for row in zip(*columns[:9], columns[15], strict=True):
        position = tx.schema.next("events")
        id_, stream, version, type_, case_key, partition, recorded, text, hash_, digest = row
        event = {
            "position": position,
            "id": id_,
            "stream": stream,
            "version": version,
            "type": type_,
            "case_key": case_key,
            "partition": partition,
            "recordedtime": recorded,
            "digest": digest,
            "record": text,
            "hash": hash_,
        }
        yield from tx.insert("events.id", id_, event, "events_id_key")
        yield from tx.insert(
            "events.version", (stream, version), event, "events_stream_version_key"
        )
        tx.put("events", position, event)
        added.append((position, partition))
    for stream, version, hash_, recorded, case_key, state in zip(*columns[9:15], strict=True):
        yield from tx.hold("streams", stream)
        before = tx.get("streams", stream)
        row = {
            "stream": stream,
            "version": version,
            "hash": hash_,
            "recordedtime": recorded,
            "case_key": case_key if before is None else before["case_key"],
            "state": state,
            "fields": orjson.loads(state) if stream.startswith("work-order/") else None,
        }
        tx.put("streams", stream, row)
    for position, partition in added:
        tx.put("outbox", position, {"position": position, "partition": partition})
    return []


@meaning("SELECT version, case_key, state::text FROM streams WHERE stream = $1")
def fetch_head(tx: Transaction, stream: str) -> Records:
    row = tx.get("streams", stream)
    return [] if row is None else [_FETCHED((row["version"], row["case_key"], row["state"]))]


_OWN = record("id", "hash")


@meaning(history._KNOWN)
def own_events(tx: Transaction, ids: list[Any]) -> Records:
    rows = [tx.get("events.id", id_) for id_ in set(ids)]
    return [_OWN((str(row["id"]), row["hash"])) for row in rows if row is not None]


@meaning("SELECT nextval('numbers')")
def next_number(tx: Transaction) -> Records:
    return one(tx.schema.next("numbers"))


# --- outbox ---------------------------------------------------------------------------------

_OUTBOX = record("position", "partition", "case_key", "type", "record", "hash")


@meaning(outbox._READ)
def read_outbox(tx: Transaction, limit: int) -> Records:
    events = tx.rows("events")
    names = ("position", "partition", "case_key", "type", "record", "hash")
    return [
        _OUTBOX([events[position][name] for name in names])
        for position in sorted(tx.rows("outbox"))[:limit]
    ]


@meaning("DELETE FROM outbox WHERE position = ANY($1::bigint[])")
def delete_published(tx: Transaction, positions: list[int]) -> Any:
    for position in positions:
        if tx.get("outbox", position) is not None:
            yield from tx.hold("outbox", position)
            tx.put("outbox", position, None)
    return []


# --- timers ---------------------------------------------------------------------------------

_TIMER = record("id", "stream", "kind", "due_at", "causationid", "traceparent")


@meaning(deadlines._CANCEL)
def cancel_timers(tx: Transaction, ids: list[Any]) -> Waiting:
    yield from _change(tx, ids, _LIVE, status="cancelled", fired_at=None)


@meaning(deadlines._WANT)
def want_timers(tx: Transaction, *columns: Any) -> Waiting:
    names = (
        "id",
        "stream",
        "case_key",
        "kind",
        "partition",
        "due_at",
        "causationid",
        "traceparent",
    )
    for values in zip(*columns, strict=True):
        row = dict(zip(names, values, strict=True))
        yield from tx.hold("timers", row["id"])
        before = tx.get("timers", row["id"])
        if before is None:
            tx.put("timers", row["id"], {**row, "status": "pending", "fired_at": None})
        elif before["status"] == "cancelled":
            changes = {name: row[name] for name in ("causationid", "traceparent")}
            tx.put("timers", row["id"], {**before, **changes, "status": "pending"})


@meaning(timers._DUE)
def due_timers(
    tx: Transaction, partitions: list[int], until: list[Any], latest: Any, live: str, limit: int
) -> Records:
    read = dict(zip(partitions, until, strict=True))
    parked = {
        row["key"]
        for row in tx.values("parked")
        if row["subscription"] == live and row["status"] == "parked"
    }
    due = [
        row
        for row in tx.values("timers")
        if row["status"] == "pending"
        and row["due_at"] <= latest
        and row["partition"] in read
        and row["due_at"] <= read[row["partition"]]
        and row["case_key"] not in parked
    ]
    due.sort(key=lambda row: row["due_at"])
    names = ("id", "stream", "kind", "due_at", "causationid", "traceparent")
    return [_TIMER([row[name] for name in names]) for row in due[:limit]]


_ID = record("id")
_PENDING, _LIVE = frozenset({"pending"}), frozenset({"pending", "failed"})
_ANY = _LIVE | {"fired", "cancelled"}


@meaning(timers._REVIVE)
def revive_timers(tx: Transaction) -> Any:
    failed = [id_ for id_, row in tx.rows("timers").items() if row["status"] == "failed"]
    changed = yield from _change(tx, failed, {"failed"}, status="pending", fired_at=None)
    return [_ID((id_,)) for id_ in changed]


@meaning(timers._FIRE)
def fire(tx: Transaction, ids: list[Any], now: Any, status: str) -> Any:
    changed = yield from _change(tx, ids, _PENDING, status=status, fired_at=now)
    return [_ID((id_,)) for id_ in changed]


@meaning(timers._UNWANTED)
def unwanted(tx: Transaction, ids: list[Any]) -> Waiting:
    yield from _change(tx, ids, _ANY, status="cancelled", fired_at=None)


def _change(tx: Transaction, ids: list[Any], only: Collection[str], **changes: Any) -> Any:
    changed: list[Any] = []
    for id_ in ids:
        row = tx.get("timers", id_)
        if row is None or row["status"] not in only:
            continue
        yield from tx.hold("timers", id_)
        row = tx.get("timers", id_)
        if row is not None and row["status"] in only:
            tx.put("timers", id_, {**row, **changes})
            changed.append(id_)
    return changed


# --- keys, answers, quarantine --------------------------------------------------------------

_KEY = record("key_id", "case_key", "wrapped")
_KEY_BY_ID = record("key_id", "wrapped")


@meaning(keys._SELECT_BY_CASE)
def keys_by_case(tx: Transaction, cases: list[str]) -> Records:
    return [_KEY(row) for case in cases if (row := tx.get("data_keys", case)) is not None]


@meaning(keys._SELECT_BY_ID)
def keys_by_id(tx: Transaction, ids: list[str]) -> Records:
    wanted = set(ids)
    return [_KEY_BY_ID((row[0], row[2])) for row in tx.values("data_keys") if row[0] in wanted]


@meaning(keys._ENSURE)
def ensure_keys(tx: Transaction, ids: list[str], cases: list[str], wrapped: list[bytes]) -> Any:
    found = {case: row for case in cases if (row := tx.get("data_keys", case)) is not None}
    for row in zip(ids, cases, wrapped, strict=True):
        if row[1] not in found and (yield from tx.claim("data_keys", row[1])):
            tx.put("data_keys", row[1], row)
            found[row[1]] = row
    return [_KEY(row) for row in found.values()]


_ANSWER = record("fingerprint", "status", "headers", "body")


_CLAIMED = record("claimed", "key_id", "wrapped")


@meaning(idempotency._CLAIM)
def claim_answer(
    tx: Transaction, principal: str, route: str, key: str, fingerprint: bytes, now: Any, group: str
) -> Any:
    sealing = tx.get("data_keys", group)  # as it stood when the statement began
    name = (principal, route, key)
    claimed = yield from tx.claim("idempotency", name)
    if claimed:
        row = {"fingerprint": fingerprint, "status": None, "headers": None, "body": None, "at": now}
        tx.put("idempotency", name, row)
    id_, wrapped = (None, None) if sealing is None else (sealing[0], sealing[2])
    return [_CLAIMED((claimed or None, id_, wrapped))]


@meaning(idempotency._SELECT)
def select_answer(tx: Transaction, *name: str) -> Records:
    row = tx.get("idempotency", name)
    names = ("fingerprint", "status", "headers", "body")
    return [] if row is None else [_ANSWER([row[name] for name in names])]


@meaning(idempotency._COMPLETE)
def complete_answer(
    tx: Transaction,
    principal: str,
    route: str,
    key: str,
    status: int,
    headers: Any,
    body: bytes,
) -> Waiting:
    name = (principal, route, key)
    yield from tx.hold("idempotency", name)
    row = tx.get("idempotency", name)
    tx.put("idempotency", name, {**row, "status": status, "headers": headers, "body": body})


_QUARANTINE = (
    "id", "reason", "detail", "channel", "source", "source_event", "case_key", "sequence", "type",
    "digest", "body", "key_id",
)  # fmt: skip


@meaning(quarantine._INSERT)
def insert_quarantine(tx: Transaction, *columns: Any) -> Waiting:
    for values in zip(*columns[:12], strict=True):
        row = dict(zip(_QUARANTINE, values, strict=True))
        yield from tx.hold("quarantine", row["id"])
        before = tx.get("quarantine", row["id"])
        if before is None:
            tx.put("quarantine", row["id"], {**row, "received_at": columns[12]})
        else:
            changes = {name: row[name] for name in ("reason", "detail")}
            tx.put("quarantine", row["id"], {**before, **changes})
