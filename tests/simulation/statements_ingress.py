"""Ingress: the inbox, what is ready to be promoted, the clock of waiting, the quarantine's door."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from casebook.kit.ingress import inbox, promoter, promotion, release
from tests.simulation.statements import Records, meaning, one, record
from tests.simulation.tables import Transaction, Waiting

_COLUMNS = (
    "id", "source", "source_event", "subject", "publisher", "sequence", "type", "stream",
    "case_key", "time", "data", "digest", "traceparent", "actor", "refusal",
)  # fmt: skip
_KNOWN = record("id", "digest", "place")
_TYPES = record("source", "types")
_ID = record("id")
_DIGEST = record("id", "digest")
_INBOX = ("position", *_COLUMNS, "clock", "seen")
_READY_NAMES = (*_INBOX, "log_sequence", "mode", "allowed_publisher", "types", "organisation")
_READY = record(*_READY_NAMES)
_OVERDUE_NAMES = (*_INBOX, "registered")
_OVERDUE = record(*_OVERDUE_NAMES)
_STANDING = record("waiting", "depth")


def _log_sequence(tx: Transaction, case_key: str) -> int:
    row = tx.get("cases", case_key)
    return 0 if row is None else row[2]


@meaning(inbox._KNOWN)
def known(tx: Transaction, ids: list[Any], publisher: str, row_ids: list[Any]) -> Records:
    found: Records = []
    for id_ in dict.fromkeys(ids):
        event = tx.get("events.id", id_)
        waiting = tx.get("inbox", (id_, publisher))
        if event is not None:
            found.append(_KNOWN((id_, event["digest"], "log")))
        if waiting is not None:
            found.append(_KNOWN((id_, waiting["digest"], "inbox")))
    for id_, row_id in zip(ids, row_ids, strict=True):
        bad = tx.get("quarantine", row_id)
        if bad is not None:
            found.append(_KNOWN((id_, bad["digest"], bad["reason"])))
    return found


@meaning(inbox._REGISTERED)
def registered(tx: Transaction, sources: list[str], publisher: str) -> Records:
    rows = [(name, tx.get("sources", name)) for name in sources]
    return [
        _TYPES((name, row["types"]))
        for name, row in rows
        if row is not None and row["publisher"] == publisher
    ]


@meaning(inbox._INSERT)
def insert(tx: Transaction, *columns: Any) -> Any:
    written: Records = []
    for values in zip(*columns, strict=True):
        row: dict[str, Any] = dict(zip(_COLUMNS, values, strict=True))
        if (yield from _put(tx, row)):
            written.append(_ID((row["id"],)))
    return written


def _put(tx: Transaction, row: dict[str, Any]) -> Any:
    place = (row["id"], row["publisher"])
    position = tx.schema.next("inbox")
    if not (yield from tx.claim("inbox", place)):
        return False
    clock = tx.get("ingress_clock", True)["active_seconds"]
    seen = _log_sequence(tx, row["case_key"])
    tx.put("inbox", place, {"position": position, **row, "clock": clock, "seen": seen})
    return True


@meaning("DELETE FROM quarantine WHERE id = ANY($1::uuid[]) AND reason = ANY($2::text[])")
def leave_quarantine(tx: Transaction, ids: list[Any], reasons: list[str]) -> Waiting:
    for id_ in set(ids):
        row = tx.get("quarantine", id_)
        if row is not None and row["reason"] in reasons:
            yield from tx.hold("quarantine", id_)
            if tx.get("quarantine", id_) is not None:
                tx.put("quarantine", id_, None)


@meaning("SELECT id, digest FROM events WHERE id = ANY($1::uuid[])")
def known_events(tx: Transaction, ids: list[Any]) -> Records:
    rows = [tx.get("events.id", id_) for id_ in dict.fromkeys(ids)]
    return [_DIGEST((row["id"], row["digest"])) for row in rows if row is not None]


@dataclass(slots=True)
class _Place:
    """An inbox row, what the log says of its case, and whether it may be promoted."""

    row: Any
    source: Any
    seen: int
    ready: bool = False


def _places(tx: Transaction, cases: Collection[str] | None) -> list[_Place]:
    """Return the rows of some cases, or of all, with whether each is ready."""
    sources = tx.rows("sources")
    places = [
        _Place(row, sources.get(row["source"]), _log_sequence(tx, row["case_key"]))
        for row in tx.values("inbox")
        if cases is None or row["case_key"] in cases
    ]
    taken: defaultdict[Any, set[int]] = defaultdict(set)
    for place in places:
        if place.row["sequence"] is not None:
            taken[_run(place)].add(place.row["sequence"])
    for place in places:
        sequence = place.row["sequence"]
        rank = sum(other <= sequence for other in taken[_run(place)]) if sequence else 0
        place.ready = sequence is None or _foreign(place) or sequence - rank <= place.seen
    return places


def _foreign(place: _Place) -> bool:
    """Say whether the publisher may not speak for the source."""
    return place.source is not None and place.row["publisher"] != place.source["publisher"]


def _run(place: _Place) -> tuple[Any, ...]:
    """Return the rows among which a place is counted."""
    mine = None if place.source is None else not _foreign(place)
    return (place.row["case_key"], mine, place.row["sequence"] > place.seen)


@meaning(promotion._READY)
def ready(tx: Transaction, cases: list[str] | None, limit: int) -> Records:
    places = [p for p in _places(tx, cases) if p.source is not None and p.ready]
    oldest: dict[str, int] = {}
    for place in places:
        key, position = place.row["case_key"], place.row["position"]
        oldest[key] = min(oldest.get(key, position), position)
    places.sort(key=lambda place: (oldest[place.row["case_key"]], *_order(place.row)))
    return [_ready_row(place) for place in places[:limit]]


def _order(row: Any) -> tuple[Any, ...]:
    return (row["case_key"], row["sequence"] is not None, row["sequence"] or 0, row["position"])


def _ready_row(place: _Place) -> Any:
    given, source = [place.row[name] for name in _INBOX], place.source
    allowed = (source["mode"], source["publisher"], source["types"], source["organisation"])
    return _READY((*given, place.seen, *allowed))


@meaning(promotion.OVERDUE)
def overdue(tx: Transaction, clock: float, limit: float) -> Any:
    late = {row["case_key"] for row in tx.values("inbox") if row["clock"] + limit <= clock}
    gone: Records = []
    for place in _places(tx, late):
        row = place.row
        if row["clock"] + limit > clock or (place.source is not None and place.ready):
            continue
        name = (row["id"], row["publisher"])
        yield from tx.hold("inbox", name)
        if tx.get("inbox", name) is not None:
            gone.append(_OVERDUE((*(row[n] for n in _INBOX), place.source is not None)))
            tx.put("inbox", name, None)
    return gone


@meaning(promotion._EMPTY)
def empty(tx: Transaction, ids: list[Any], publishers: list[str]) -> Waiting:
    for place in zip(ids, publishers, strict=True):
        if tx.get("inbox", place) is not None:
            yield from tx.hold("inbox", place)
            tx.put("inbox", place, None)


@meaning(promotion._DEVIATIONS)
def deviations(tx: Transaction, *columns: Any) -> Waiting:
    for source, rule, count in zip(*columns, strict=True):
        yield from tx.hold("deviations", (source, rule))
        before = tx.get("deviations", (source, rule)) or 0
        tx.put("deviations", (source, rule), before + count)


# --- the promoter ---------------------------------------------------------------------------


@meaning(promoter._STANDING)
def standing(tx: Transaction, limit: int) -> Records:
    waiting = bool(tx.rows("inbox")) or any_missing(tx)[0][0]
    return [_STANDING((waiting, min(limit, len(tx.rows("outbox")))))]


@meaning(promoter._TURN)
def turn(tx: Transaction) -> Records:
    return one(tx.try_hold("advisory", "promote"))


@meaning(promoter._TICK)
def tick(tx: Transaction, most: float) -> Any:
    yield from tx.hold("ingress_clock", True)
    row = tx.get("ingress_clock", True)
    passed = max((tx.now - row["swept_at"]).total_seconds(), 0)
    active = row["active_seconds"] + min(passed, most)
    tx.put("ingress_clock", True, {"active_seconds": active, "swept_at": tx.now})
    return one(active)


@meaning(promoter._PROGRESS)
def progress(tx: Transaction, clock: float, limit: float) -> Waiting:
    for place, row in list(tx.rows("inbox").items()):
        sequence = _log_sequence(tx, row["case_key"])
        if row["clock"] + limit <= clock and sequence > row["seen"]:
            yield from tx.hold("inbox", place)
            current = tx.get("inbox", place)
            if current is not None:
                tx.put("inbox", place, {**current, "clock": clock, "seen": sequence})


# --- release --------------------------------------------------------------------------------

_RELEASABLE = frozenset({"predecessor-missing", "discarded"})
_TAKEN = record("id", "body", "key_id")


@meaning(
    "SELECT EXISTS (SELECT FROM quarantine WHERE reason IN ('predecessor-missing', 'discarded'))"
)
def any_missing(tx: Transaction) -> Records:
    return one(any(row["reason"] in _RELEASABLE for row in tx.values("quarantine")))


def _has_key(tx: Transaction, key_id: str) -> bool:
    return any(row[0] == key_id for row in tx.values("data_keys"))


@meaning(release._WAITED_FOR)
def waited_for(tx: Transaction, cases: list[str] | None, limit: int) -> Records:
    places = {(row["case_key"], row["sequence"]) for row in tx.values("inbox")}
    found = {
        row["case_key"]
        for row in tx.values("quarantine")
        if row["reason"] in _RELEASABLE
        and (cases is None or row["case_key"] in cases)
        and _has_key(tx, row["key_id"])
        and tx.get("sources", row["source"]) is not None
        and (
            row["sequence"] <= _log_sequence(tx, row["case_key"]) + 1
            or (row["case_key"], row["sequence"] - 1) in places
        )
    }
    return [_ID((case,)) for case in sorted(found)[:limit]]


@meaning(release._TAKE)
def take(tx: Transaction, cases: list[str]) -> Any:
    taken: Records = []
    for id_, row in list(tx.rows("quarantine").items()):
        if (
            row["reason"] in _RELEASABLE
            and row["case_key"] in cases
            and _has_key(tx, row["key_id"])
        ):
            yield from tx.hold("quarantine", id_)
            if tx.get("quarantine", id_) is not None:
                tx.put("quarantine", id_, None)
                taken.append(_TAKEN((id_, row["body"], row["key_id"])))
    return taken


@meaning(release._PUT_BACK)
def put_back(tx: Transaction, bodies: list[dict[str, Any]]) -> Waiting:
    for body in bodies:
        yield from _put(tx, _typed(body))


def _typed(body: dict[str, Any]) -> dict[str, Any]:
    """Return a row as the types of its columns make it."""
    return {**body, "id": UUID(body["id"]), "time": datetime.fromisoformat(body["time"])}
