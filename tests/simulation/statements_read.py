"""The read side: checkpoints, cases, parked cases, projections, the load of dispatch's agents."""

from typing import Any
from uuid import UUID

import orjson

from casebook.dispatch import matcher
from casebook.dispatch.projections import agent_load
from casebook.dispatch.projections.team_queue import TeamQueue
from casebook.kit.bookkeeping import cases, checkpoints, parking
from casebook.kit.read_models import registry
from casebook.kit.read_models.projections import Projection, ProjectionTable, sql_type
from casebook.kit.service import Service
from casebook.monitoring.projections.kpi_facts import KpiFacts
from casebook.monitoring.projections.reopenings import Reopenings
from casebook.quality.projections.closure_control import ClosureControl
from tests.simulation.statements import Records, meaning, one, record
from tests.simulation.tables import Transaction, Waiting

# --- checkpoints ----------------------------------------------------------------------------

_CHECKPOINT = record("partition", "next_offset")


@meaning(checkpoints._INSERT)
def insert_checkpoints(tx: Transaction, subscription: str, partitions: list[int]) -> Waiting:
    for partition in partitions:
        if (yield from tx.claim("checkpoints", (subscription, partition))):
            tx.put("checkpoints", (subscription, partition), 0)


@meaning(checkpoints._LOCK)
def lock_checkpoints(tx: Transaction, subscription: str, partitions: list[int]) -> Any:
    places = [(subscription, partition) for partition in sorted(partitions)]
    found = [place for place in places if tx.get("checkpoints", place) is not None]
    for place in found:
        yield from tx.hold("checkpoints", place)
    return [_CHECKPOINT((place[1], tx.get("checkpoints", place))) for place in found]


@meaning(checkpoints._WRITE)
def write_checkpoints(
    tx: Transaction, subscription: str, partitions: list[int], offsets: list[int]
) -> Waiting:
    for partition, offset in zip(partitions, offsets, strict=True):
        place = (subscription, partition)
        if tx.get("checkpoints", place) is not None:
            yield from tx.hold("checkpoints", place)
            tx.put("checkpoints", place, offset)


@meaning("SELECT partition, next_offset FROM checkpoints WHERE subscription = $1")
def read_checkpoints(tx: Transaction, subscription: str) -> Records:
    return [
        _CHECKPOINT((place[1], offset))
        for place, offset in tx.rows("checkpoints").items()
        if place[0] == subscription
    ]


# --- cases ----------------------------------------------------------------------------------

_CASES = cases.CaseTable()
_CASE = record(
    "key", "versions", "source_sequence", "organisation", "requester", "team", "assignee", "origin"
)


@meaning(_CASES._select)
def select_cases(tx: Transaction, keys: list[str]) -> Records:
    return [_CASE(row) for key in keys if (row := tx.get("cases", key)) is not None]


@meaning(_CASES._upsert)
def upsert_cases(tx: Transaction, *columns: Any) -> Waiting:
    for row in zip(*columns, strict=True):
        yield from tx.hold("cases", row[0])
        tx.put("cases", row[0], row)


# --- parked ---------------------------------------------------------------------------------

_PARKED = record("partition", "offset", "key", "record", "hash")


@meaning(
    """SELECT DISTINCT key FROM parked WHERE subscription = $1 AND status = 'parked'
    AND ($2::text[] IS NULL OR key = ANY($2::text[]))"""
)
def parked_keys(tx: Transaction, subscription: str, keys: list[str] | None) -> Records:
    rows = tx.rows("parked")
    if not rows:
        return []
    found = {
        row["key"]
        for row in rows.values()
        if row["subscription"] == subscription
        and row["status"] == "parked"
        and (keys is None or row["key"] in keys)
    }
    return [_CASE((key,)) for key in found]


@meaning(parking._INSERT)
def park(
    tx: Transaction, subscription: str, error: str, attempts: int, now: Any, *columns: Any
) -> Records:
    for key, partition, offset, text, hash_ in zip(*columns, strict=True):
        sequence = tx.schema.next("parked")
        row = {
            "subscription": subscription,
            "key": key,
            "sequence": sequence,
            "partition": partition,
            "offset": offset,
            "record": text,
            "hash": hash_,
            "error": error,
            "attempts": attempts,
            "parked_at": now,
            "status": "parked",
        }
        tx.put("parked", (subscription, key, sequence), row)
    return []


@meaning(parking._TAKE)
def take_parked(tx: Transaction, subscription: str, keys: list[str]) -> Any:
    taken: Records = []
    for place, row in sorted(tx.rows("parked").items(), key=lambda pair: pair[1]["sequence"]):
        if place[0] == subscription and place[1] in keys and row["status"] == "parked":
            yield from tx.hold("parked", place)
            if (row := tx.get("parked", place)) is not None and row["status"] == "parked":
                tx.put("parked", place, None)
                values = (row["partition"], row["offset"], row["key"], row["record"])
                taken.append(_PARKED((*values, row["hash"])))
    return taken


# --- registry and standard tables -----------------------------------------------------------

_ACTIVE = record("name", "version", "generation")


@meaning(registry._PRESENT)
def active(tx: Transaction) -> Records:
    return [_ACTIVE(row) for row in tx.values("projections")]


@meaning(
    """INSERT INTO members VALUES ($1, $2)
    ON CONFLICT (agent) DO UPDATE SET team = excluded.team"""
)
def upsert_member(tx: Transaction, agent: str, team: str) -> Waiting:
    yield from tx.hold("members", agent)
    tx.put("members", agent, team)


@meaning("SELECT team FROM members WHERE agent = $1")
def teams_of(tx: Transaction, agent: str) -> Records:
    team = tx.get("members", agent)
    return [] if team is None else one(team)


@meaning(
    """INSERT INTO sources VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (source) DO UPDATE SET types = excluded.types,
        organisation = excluded.organisation, mode = excluded.mode,
        publisher = excluded.publisher"""
)
def upsert_source(
    tx: Transaction, source: str, types: list[str], organisation: str, mode: str, publisher: str
) -> Waiting:
    yield from tx.hold("sources", source)
    row = {"types": types, "organisation": organisation, "mode": mode, "publisher": publisher}
    tx.put("sources", source, row)


# --- projections ----------------------------------------------------------------------------


def projection_statements(service: Service) -> None:
    """Register the statements of the service's read models: all are built by the same class."""
    for projection in service.projections:
        table = projection.physical(projection.version, 1)
        _register_projection(ProjectionTable(projection, table), table)


def _register_projection(projected: ProjectionTable, table: str) -> None:
    names = projected._names
    as_json = [sql_type(column) == "jsonb" for column in projected.projection.table.columns]
    row_of = record(*names)

    def select(tx: Transaction, keys: list[Any]) -> Records:
        return [
            row_of([_load(v) if j else v for v, j in zip(row, as_json, strict=True)])
            for key in keys
            if (row := tx.get(table, key)) is not None
        ]

    def upsert(tx: Transaction, *columns: Any) -> Waiting:
        for row in zip(*columns, strict=True):
            yield from tx.hold(table, row[0])
            tx.put(table, row[0], row)

    def delete(tx: Transaction, keys: list[Any]) -> Waiting:
        for key in keys:
            if tx.get(table, key) is not None:
                yield from tx.hold(table, key)
                tx.put(table, key, None)

    meaning(projected._select)(select)
    meaning(projected._upsert)(upsert)
    meaning(projected._delete)(delete)


def _load(text: str | None) -> Any:
    """Return the value of a JSON column."""
    return None if text is None else orjson.loads(text)


# --- what workers look for ------------------------------------------------------------------

_FINDINGS = record("request_id", "findings")
_REOPENING = record("request_id", "pending", "reopening", "recordedtime", "traceparent")
_COURSE = record("course")


@meaning(
    "SELECT closure_control.request_id, closure_control.findings FROM closure_control"
    " WHERE closure_control.pending ORDER BY closure_control.request_id LIMIT $1::INTEGER"
)
def pending_findings(tx: Transaction, limit: int) -> Records:
    rows = [named for named in _named(tx, ClosureControl()) if named["pending"]]
    rows.sort(key=lambda row: row["request_id"])
    return [_FINDINGS((row["request_id"], _load(row["findings"]))) for row in rows[:limit]]


@meaning(
    "SELECT reopenings.request_id, reopenings.pending, reopenings.reopening,"
    " reopenings.recordedtime, reopenings.traceparent FROM reopenings"
    " WHERE reopenings.pending ORDER BY reopenings.request_id LIMIT $1::INTEGER"
)
def pending_reopenings(tx: Transaction, limit: int) -> Records:
    rows = [named for named in _named(tx, Reopenings()) if named["pending"]]
    rows.sort(key=lambda row: row["request_id"])
    return [_REOPENING(list(row.values())) for row in rows[:limit]]


@meaning("SELECT kpi_facts.course FROM kpi_facts WHERE kpi_facts.request_id = $1::UUID")
def course_of(tx: Transaction, request_id: UUID) -> Records:
    rows = _named(tx, KpiFacts())
    return [_COURSE((_load(row["course"]),)) for row in rows if row["request_id"] == request_id]


def _named(tx: Transaction, projection: Projection) -> list[dict[str, Any]]:
    """Return the rows of a read model by column."""
    names = [column.name for column in projection.table.columns]
    table = projection.physical(projection.version, 1)
    return [dict(zip(names, row, strict=True)) for row in tx.values(table)]


# --- dispatch -------------------------------------------------------------------------------

_HEAD = record("stream", "state")
_LOAD = record("agent", "team", "capacity", "available", "open", "skills", "last_assigned")
_COUNTED = record("agent", "team", "open", "capacity")
_PRIORITY = [column.name for column in TeamQueue.table.columns].index("priority")
_NEW_LOAD = {
    "team": None,
    "open": 0,
    "capacity": 0,
    "available": True,
    "skills": {},
    "last_assigned": None,
}


@meaning(matcher._UNASSIGNED)
def unassigned(tx: Transaction, limit: int) -> Records:
    queue = tx.rows("team_queue_v2_1")
    found: list[tuple[Any, ...]] = []
    for stream, row in tx.rows("streams").items():
        fields = row["fields"]
        if fields is None or fields["status"] != "queued" or fields["origin"] != "live":
            continue
        if fields["team"] is None:
            continue
        queued = queue.get(UUID(row["case_key"]))
        priority = None if queued is None else queued[_PRIORITY]
        hopeless = fields.get("excluded") is not None and not _possible(tx, fields)
        opened = fields["opened_at"]
        order = (hopeless, priority is None, priority or 0, opened is None, opened or "", stream)
        found.append((*order, row["state"]))
    found.sort()
    return [_HEAD(row[-2:]) for row in found[:limit]]


def _possible(tx: Transaction, fields: dict[str, Any]) -> bool:
    """Say whether somebody of the team could take a work order now."""
    skill, level = fields.get("skill") or "", fields.get("skill_level") or 1
    return any(
        row["team"] == fields["team"]
        and row["available"]
        and row["open"] < row["capacity"]
        and (not skill or row["skills"].get(skill, 0) >= level)
        for row in tx.values("agent_load")
    )


@meaning(matcher._CLAIM)
def claim_orders(tx: Transaction, streams: list[str]) -> Records:
    return [
        _CASE((stream,))
        for stream in sorted(streams)
        if tx.get("streams", stream) is not None and tx.try_hold("streams", stream)
    ]


@meaning(matcher._LAST)
def last_events(tx: Transaction, streams: list[str], versions: list[int]) -> Records:
    places = zip(streams, versions, strict=True)
    return [
        _HEAD((place[0], row["record"]))
        for place in places
        if (row := tx.get("events.version", place)) is not None
    ]


@meaning(agent_load._READ)
def read_load(tx: Transaction, teams: list[str]) -> Records:
    rows = [row for row in tx.values("agent_load") if row["team"] in teams]
    rows.sort(key=lambda row: row["agent"])
    return [_LOAD(_load_values(row)) for row in rows]


@meaning(agent_load._READ + " FOR UPDATE")
def lock_load(tx: Transaction, teams: list[str]) -> Any:
    found = sorted(row["agent"] for row in tx.values("agent_load") if row["team"] in teams)
    for agent in found:
        yield from tx.hold("agent_load", agent)
    rows = [tx.get("agent_load", agent) for agent in found]
    return [_LOAD(_load_values(row)) for row in rows if row["team"] in teams]


@meaning(agent_load._REGISTER)
def register_agents(tx: Transaction, *columns: Any) -> Waiting:
    names = ("agent", "team", "capacity", "available", "skills")
    for values in sorted(zip(*columns, strict=True), key=lambda row: row[0]):
        yield from tx.hold("agent_load", values[0])
        before = tx.get("agent_load", values[0]) or _NEW_LOAD
        tx.put("agent_load", values[0], {**before, **dict(zip(names, values, strict=True))})


@meaning(agent_load._COUNT)
def count_open(tx: Transaction, agents: list[str], deltas: list[int], times: list[Any]) -> Any:
    counted: Records = []
    for agent, delta, time in sorted(zip(agents, deltas, times, strict=True), key=lambda r: r[0]):
        yield from tx.hold("agent_load", agent)
        before = tx.get("agent_load", agent) or {**_NEW_LOAD, "agent": agent}
        last = before["last_assigned"]
        later = max((t for t in (last, time) if t is not None), default=None)
        row = {**before, "open": before["open"] + delta, "last_assigned": later}
        tx.put("agent_load", agent, row)
        counted.append(_COUNTED((agent, row["team"], row["open"], row["capacity"])))
    return counted


@meaning("SELECT count(*) FROM streams WHERE stream = ANY($1::text[])")
def count_streams(tx: Transaction, streams: list[str]) -> Records:
    return one(sum(tx.get("streams", stream) is not None for stream in set(streams)))


@meaning("SELECT count(*) FROM agent_load WHERE agent = ANY($1::text[]) AND open > 0")
def count_busy(tx: Transaction, agents: list[str]) -> Records:
    rows = [tx.get("agent_load", agent) for agent in set(agents)]
    return one(sum(row is not None and row["open"] > 0 for row in rows))


def _load_values(row: Any) -> list[Any]:
    names = ("agent", "team", "capacity", "available", "open", "skills", "last_assigned")
    return [row[name] for name in names]
