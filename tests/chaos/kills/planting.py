"""Faults to plant in a clean snapshot and its history: what each invariant must turn red for."""

import pickle
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from casebook.events.kafka import PARTITIONS
from tests.chaos.checker import expected_versions
from tests.chaos.evidence import Invariant
from tests.chaos.history import Command, History, Op
from tests.chaos.snapshot import Record, Row, Snapshot
from tests.chaos.workload import SOURCE

Plant = Callable[[Snapshot, History], None]
PLANTS: dict[str, tuple[Invariant, Plant]] = {}


def plant(invariant: Invariant) -> Callable[[Plant], Plant]:
    """Register a fault that ``invariant`` must find."""

    def register(function: Plant) -> Plant:
        PLANTS[function.__name__.replace("_", " ")] = (invariant, function)
        return function

    return register


# --- looking around -------------------------------------------------------------------------------


def command(history: History, name: str, *, writes: int = 1) -> Command:
    """Return an acknowledged command of this name that wrote so many events at least."""
    return next(
        found
        for found in history.commands()
        if found.first.name == name
        and found.outcome == "ok"
        and len(expected_versions(found) or ()) >= writes
    )


def event(snapshot: Snapshot, stream: str, version: int) -> tuple[list[Row], Row]:
    """Return the table and the row of an event."""
    for tables in snapshot.tables.values():
        for row in tables["events"]:
            if (row["stream"], row["version"]) == (stream, version):
                return tables["events"], row
    raise KeyError(stream)


def record(snapshot: Snapshot, row: Row) -> Record:
    """Return the first record of an event in the topic."""
    return next(found for found in snapshot.topic if found.hash == row["hash"])


def changed(text: str, **changes: Any) -> str:
    """Return a record with other attributes, in canonical form."""
    return orjson.dumps(orjson.loads(text) | changes, option=orjson.OPT_SORT_KEYS).decode()


def again(snapshot: Snapshot, found: Record, **changes: Any) -> Record:
    """Put a record, or a changed one, behind the end of its partition; all have read it."""
    end = snapshot.ends[found.partition]
    added = replace(found, **{"offset": end, **changes})
    snapshot.topic.append(added)
    snapshot.topic.sort(key=lambda record: (record.partition, record.offset))
    snapshot.ends[found.partition] = end + 1
    for _, row in snapshot.rows("checkpoints"):
        if row["partition"] == found.partition:
            row["next_offset"] = end + 1
    return added


def long_stream(snapshot: Snapshot, length: int = 3) -> str:
    """Return a stream of requests with so many events at least."""
    rows = snapshot.tables["intake"]["events"]
    return next(
        row["stream"]
        for row in rows
        if row["version"] == length and row["stream"].startswith("request/")
    )


def read(history: History, name: str, role: str = "", *, rows: int = 0) -> Op:
    """Return an answered read, of people with a role, with so many rows at least."""
    return next(
        op
        for op in history.reads()
        if op.name == name and op.person.role.startswith(role) and len(op.rows) >= rows
    )


# --- I1: loss -------------------------------------------------------------------------------------


@plant("I1")
def an_acknowledged_event_is_gone_everywhere(snapshot: Snapshot, history: History) -> None:
    done = command(history, "comment").ok
    table, row = event(snapshot, done.stream, done.version)
    snapshot.topic.remove(record(snapshot, row))
    table.remove(row)


@plant("I1")
def an_event_never_reached_the_topic(snapshot: Snapshot, history: History) -> None:
    done = command(history, "submit").ok
    _, row = event(snapshot, done.stream, 1)
    snapshot.topic.remove(record(snapshot, row))


@plant("I1")
def an_acknowledgement_was_a_lie(snapshot: Snapshot, history: History) -> None:
    done = command(history, "submit").ok
    key = str(uuid.uuid4())
    history.ops.append(
        replace(done, key=key, trace=uuid.uuid4().hex, stream=f"request/{uuid.uuid4()}")
    )


@plant("I1")
def an_acknowledged_command_was_written_by_somebody_else(
    snapshot: Snapshot, history: History
) -> None:
    command(history, "comment").ok.trace = uuid.uuid4().hex


@plant("I1")
def an_accepted_publication_vanished(snapshot: Snapshot, history: History) -> None:
    for op in history.publications():
        if any(outcome == "accepted" for _, _, outcome in op.items):
            op.items.append((SOURCE, "OLD-999999-1-request.submitted", "accepted"))
            return


# --- I2: phantoms ---------------------------------------------------------------------------------


@plant("I2")
def a_refused_command_left_an_event(snapshot: Snapshot, history: History) -> None:
    for attempt in command(history, "comment").attempts:
        attempt.outcome = "fail"


@plant("I2")
def a_record_stands_in_the_topic_alone(snapshot: Snapshot, history: History) -> None:
    found = snapshot.topic[0]
    text = changed(found.record, subject="request/nobody", streamversion=1, id=str(uuid.uuid4()))
    again(snapshot, found, record=text, hash=b"x" * 32)


@plant("I2")
def something_else_stands_in_the_topic(snapshot: Snapshot, history: History) -> None:
    again(snapshot, snapshot.topic[0], record="", hash=b"", key="", malformed=True)


@plant("I2")
def an_event_names_an_actor_who_did_nothing(snapshot: Snapshot, history: History) -> None:
    done = command(history, "comment").ok
    _, row = event(snapshot, done.stream, done.version)
    row["record"] = changed(row["record"], actor="user:nobody")


@plant("I2")
def an_effect_has_no_cause(snapshot: Snapshot, history: History) -> None:
    rows = snapshot.tables["monitoring"]["events"]
    row = next(row for row in rows if "causationid" in row["record"])
    row["record"] = changed(row["record"], causationid=str(uuid.uuid4()))


@plant("I2")
def a_promoted_event_was_never_published(snapshot: Snapshot, history: History) -> None:
    for op in history.publications():
        op.items.clear()


# --- I3: order ------------------------------------------------------------------------------------


@plant("I3")
def two_records_of_a_stream_changed_places(snapshot: Snapshot, history: History) -> None:
    stream = long_stream(snapshot)
    one, two = (record(snapshot, event(snapshot, stream, version)[1]) for version in (2, 3))
    one.offset, two.offset = two.offset, one.offset
    snapshot.topic.sort(key=lambda record: (record.partition, record.offset))


@plant("I3")
def a_record_went_to_another_partition(snapshot: Snapshot, history: History) -> None:
    found = snapshot.topic[-1]
    snapshot.topic.remove(found)
    again(snapshot, replace(found, partition=(found.partition + 1) % PARTITIONS))


@plant("I3")
def a_version_is_missing_in_the_middle(snapshot: Snapshot, history: History) -> None:
    table, row = event(snapshot, long_stream(snapshot), 2)
    table.remove(row)


@plant("I3")
def a_byte_of_a_stored_record_changed(snapshot: Snapshot, history: History) -> None:
    _, row = event(snapshot, long_stream(snapshot), 1)
    row["record"] = row["record"].replace('"number":"', '"number":"9', 1)


@plant("I3")
def a_column_differs_from_its_record(snapshot: Snapshot, history: History) -> None:
    _, row = event(snapshot, long_stream(snapshot), 1)
    row["type"] = "casebook.request.cancelled.v1"


@plant("I3")
def an_effect_stands_before_its_cause(snapshot: Snapshot, history: History) -> None:
    row = next(
        row for row in snapshot.tables["dispatch"]["events"]
        if row["type"] == "casebook.work-order.opened.v1"
    )  # fmt: skip
    effect = record(snapshot, row)
    effect.offset = -1
    snapshot.topic.sort(key=lambda record: (record.partition, record.offset))


# --- I4: exactly once -----------------------------------------------------------------------------


@plant("I4")
def a_record_of_the_topic_was_altered(snapshot: Snapshot, history: History) -> None:
    _, row = event(snapshot, long_stream(snapshot), 1)
    found = record(snapshot, row)
    found.record = changed(found.record, time="2020-01-01T00:00:00.000000Z")


@plant("I4")
def a_version_came_again_with_other_content(snapshot: Snapshot, history: History) -> None:
    found = record(snapshot, event(snapshot, long_stream(snapshot), 1)[1])
    again(snapshot, found, record=changed(found.record, audience="staff"), hash=b"y" * 32)


@plant("I4")
def a_version_was_stored_twice(snapshot: Snapshot, history: History) -> None:
    table, row = event(snapshot, long_stream(snapshot), 2)
    table.append(row | {"id": uuid.uuid4(), "position": row["position"] + 10**6})


@plant("I4")
def a_command_was_done_twice(snapshot: Snapshot, history: History) -> None:
    done = command(history, "comment").ok
    table, row = event(snapshot, done.stream, done.version)
    version = 1 + max(found["version"] for found in table if found["stream"] == done.stream)
    table.append(
        row
        | {
            "version": version,
            "record": changed(row["record"], streamversion=version, id=str(uuid.uuid4())),
        }
    )


@plant("I4")
def an_effect_happened_twice(snapshot: Snapshot, history: History) -> None:
    table = snapshot.tables["monitoring"]["events"]
    row = next(row for row in table if row["version"] == 1)
    again_ = changed(row["record"], subject="service-level/other", id=str(uuid.uuid4()))
    table.append(row | {"record": again_})


@plant("I4")
def one_key_got_two_answers(snapshot: Snapshot, history: History) -> None:
    done = command(history, "comment").ok
    history.ops.append(replace(done, version=done.version + 1))


@plant("I4")
def a_promotion_happened_twice(snapshot: Snapshot, history: History) -> None:
    table = snapshot.tables["intake"]["events"]
    row = next(
        row for row in table
        if "originid" in row["record"] and row["stream"].startswith("request/")
    )  # fmt: skip
    table.append(row | {"stream": "request/other", "id": uuid.uuid4()})


def _model(service: str, name: str, change: Callable[[list[Row]], object], what: str) -> None:
    def alter(snapshot: Snapshot, history: History) -> None:
        holder = snapshot.models if name in snapshot.models[service] else snapshot.tables
        change(holder[service][name])

    PLANTS[f"{service} {name}: {what}"] = ("I4", alter)


def _set(column: str, value: object) -> Callable[[list[Row]], object]:
    return lambda rows: rows[0].__setitem__(column, value)


for _service, _name, _column, _value in (
    ("intake", "timeline", "position", 10**9),
    ("intake", "work", "status", "cancelled?"),
    ("dispatch", "team_queue", "priority", 9),
    ("dispatch", "agent_load", "open", 10**6),
    ("monitoring", "kpi_facts", "group_changes", 77),
    ("quality", "closure_control", "closings_live", 77),
    ("risk", "resolution_clocks", "service", "another"),
    ("risk", "cases", "team", "another"),
    ("quality", "cases", "versions", {}),
    ("dispatch", "streams", "state", {"status": "another"}),
    ("intake", "streams", "version", 10**6),
):
    _model(_service, _name, _set(_column, _value), f"another {_column}")
_model("intake", "timeline", lambda rows: rows.pop(), "a row is missing")
_model("monitoring", "kpi_facts", lambda rows: rows.pop(), "a row is missing")
_model("quality", "cases", lambda rows: rows.pop(), "a row is missing")
_model(
    "intake", "work", lambda rows: rows.append(rows[0] | {"request": str(uuid.uuid4())}),
    "a row too many",
)  # fmt: skip


def copy_of(snapshot: Snapshot, history: History) -> tuple[Snapshot, History]:
    """Return copies to plant a fault in."""
    return pickle.loads(pickle.dumps((snapshot, history)))  # noqa: S301 - five times faster
