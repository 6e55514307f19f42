"""Judges what a deployment holds after faults, against what its clients were told (I1 to I7).

Pure functions over a loaded snapshot and a recorded history; cycles need not be looked for,
because versions make the order of writes recoverable. I4 is in :mod:`tests.chaos.folds`, I5 and
I6 are in :mod:`tests.chaos.readings`. The checks are proven by planted faults
(``kills/test_kills.py``).
"""

from collections.abc import Collection, Iterator, Sequence

from casebook.events.envelope import GENESIS, chain, timestamp
from casebook.events.kafka import PARTITIONS, partition
from tests.chaos import folds, readings
from tests.chaos.evidence import Evidence, Logged, Stored, Violation
from tests.chaos.history import Command, History
from tests.chaos.snapshot import Row, Snapshot

LIVE = "live"
RECOVERED = "casebook.risk.candidate-recovered.v1"


def check(snapshot: Snapshot, history: History) -> list[Violation]:
    """Return everything that does not hold; nothing, if all is well."""
    evidence = Evidence.of(snapshot, history)
    checks = (
        no_loss, no_phantom, order, folds.exactly_once, readings.real_time, readings.scope, quiet,
    )  # fmt: skip
    return [violation for judge in checks for violation in judge(evidence)]


# --- I1: nothing that was acknowledged is lost ----------------------------------------------------


def no_loss(evidence: Evidence) -> Iterator[Violation]:
    """I1: what was acknowledged is in the store, and everything in the store is in the topic."""
    for command in evidence.commands:
        if command.outcome == "ok":
            yield from _kept(evidence, command)
    for event in evidence.stored:
        if event.place not in evidence.first:
            yield Violation("I1", event.name, "is in the store, and not in the topic")
    quarantined = {
        (row["source"], row["source_event"]) for _, row in evidence.snapshot.rows("quarantine")
    }
    for op in evidence.history.publications():
        for source, id_, outcome in op.items if op.outcome == "ok" else ():
            place = f"{source}/{id_}"
            if outcome == "quarantined" and (source, id_) not in quarantined:
                yield Violation("I1", place, "was quarantined, and is not in quarantine")
            if outcome in {"accepted", "duplicate"} and (source, id_) not in evidence.by_origin:
                yield Violation("I1", place, "was accepted, and is not in the store")


def expected_versions(command: Command) -> range | None:
    """Return the versions that an acknowledged command wrote; ``None`` where it may be none.

    What names the version it saw wrote all up to the one it was told; a command that changes
    nothing is told the version it saw.
    """
    done = command.ok
    if done.seen is not None:
        return range(done.seen + 1, done.version + 1)
    if done.name == "submit":
        return range(1, done.version + 1)
    if done.name == "comment":
        return range(done.version, done.version + 1)
    return None


def _kept(evidence: Evidence, command: Command) -> Iterator[Violation]:
    done = command.ok
    place = f"{done.name} {done.stream}@{done.version}"
    answers = {(op.stream, op.version) for op in command.attempts if op.outcome == "ok"}
    if len(answers) > 1:
        yield Violation("I4", place, f"the same key was answered in two ways: {sorted(answers)}")
    if (done.stream, done.version) not in evidence.by_place:
        yield Violation("I1", place, "was acknowledged, and the store has no such version")
    wanted = expected_versions(command)
    if wanted is None:
        return
    written = sorted(e.row["version"] for e in evidence.of_command(command))
    for version in wanted:
        if version not in written:
            yield Violation("I1", place, f"was acknowledged, and version {version} is not its own")
    if len(written) > len(wanted):
        yield Violation("I4", place, f"wrote {written} where one effect is {list(wanted)}")


# --- I2: nothing is there that nobody asked for ---------------------------------------------------


def no_phantom(evidence: Evidence) -> Iterator[Violation]:
    """I2: every event comes from somebody who may have caused it; a refused command left none."""
    asked = {
        (command.first.trace, f"user:{command.first.person.subject}")
        for command in evidence.commands
        if command.outcome != "fail"
    }
    published = {
        (source, id_)
        for op in evidence.history.publications()
        if op.outcome != "fail"
        for source, id_, _ in op.items
    }
    for event in evidence.stored:
        reason = _unasked(evidence, event, asked, published)
        if reason:
            yield Violation("I2", event.name, reason)
    for logged in evidence.logged:
        if logged.place not in evidence.by_place:
            yield Violation("I2", logged.name, "is in the topic, and in no store")
    for record in evidence.snapshot.topic:
        if record.malformed:
            yield Violation("I2", f"{record.partition}/{record.offset}", "is no event")


def _unasked(
    evidence: Evidence,
    event: Stored,
    asked: Collection[tuple[str, str]],
    published: Collection[tuple[str, str]],
) -> str | None:
    """Return why nobody can have caused an event."""
    attributes = event.attributes
    actor = attributes["actor"]
    if "originid" in attributes:
        known = (attributes["originsource"], attributes["originid"]) in published
        return None if known else "nobody published this"
    if actor.startswith("user:"):
        known = (event.trace, actor) in asked
        return None if known else f"{actor} has no command that may have done this"
    if actor != f"service:{event.service}":
        return f"{actor} cannot act in {event.service}"
    # A policy that counts many facts has no single cause: it names them as its evidence.
    causes = [attributes.get("causationid")] if "causationid" in attributes else []
    causes += attributes["data"].get("evidence", [])
    if event.row["type"] == RECOVERED and event.row["version"] > 1:
        return None  # it takes back what stands before it, and order is I3
    if not causes or not evidence.ids.issuperset(causes):
        return "follows from nothing that happened"
    return None


# --- I3: order ------------------------------------------------------------------------------------


def order(evidence: Evidence) -> Iterator[Violation]:
    """I3: streams are whole and chained; the topic has them in order, a case in one partition."""
    for events in evidence.by_stream.values():
        yield from _stream(events)
    last: dict[str, Logged] = {}
    for logged in evidence.first.values():
        stream, version = logged.place
        before = last.get(stream)
        if version != (before.place[1] + 1 if before else 1):
            yield Violation("I3", logged.name, "stands out of the order of its stream")
        last[stream] = logged
    for logged in evidence.logged:
        key = logged.attributes["partitionkey"]
        if (logged.record.key, logged.record.partition) != (key, partition(key)):
            yield Violation("I3", logged.name, "is not in the partition of its case")
    yield from _causes(evidence)


def _stream(events: list[Stored]) -> Iterator[Violation]:
    hash_, recorded, position = GENESIS, "", -1
    for version, event in enumerate(events, 1):
        row, attributes = event.row, event.attributes
        if row["version"] != version:
            yield Violation("I3", event.name, f"stands where version {version} belongs")
            return
        hash_ = chain(hash_, row["record"])
        if row["hash"] != hash_:
            yield Violation("I3", event.name, "the chain of hashes does not lead here")
            return
        if attributes["recordedtime"] <= recorded or row["position"] <= position:
            yield Violation("I3", event.name, "was recorded before its predecessor")
        recorded, position = attributes["recordedtime"], row["position"]
        columns = {
            "id": str(row["id"]), "subject": row["stream"], "streamversion": row["version"],
            "type": row["type"], "partitionkey": row["case_key"],
            "recordedtime": timestamp(row["recordedtime"]),
        }  # fmt: skip
        wrong = [name for name, value in columns.items() if attributes[name] != value]
        if wrong:
            yield Violation("I3", event.name, f"columns differ from the record: {wrong}")


def _causes(evidence: Evidence) -> Iterator[Violation]:
    """Check that an effect comes after its cause, where both are of one case."""
    by_id = {logged.attributes["id"]: logged for logged in evidence.first.values()}
    for logged in by_id.values():
        cause = by_id.get(logged.attributes.get("causationid", ""))
        if cause is None or cause.record.partition != logged.record.partition:
            continue
        if cause.record.offset > logged.record.offset:
            yield Violation("I3", logged.name, f"stands before its cause {cause.name}")
        if cause.attributes["recordedtime"] >= logged.attributes["recordedtime"]:
            yield Violation("I3", logged.name, f"was recorded before its cause {cause.name}")


# --- I7: rest -------------------------------------------------------------------------------------


def quiet(evidence: Evidence) -> Iterator[Violation]:
    """I7: nothing is left to do, and nothing lies aside but what was planted."""
    for name, tables in evidence.snapshot.tables.items():
        for table in ("outbox", "inbox", "parked", "rebuilds"):
            if tables[table]:
                yield Violation("I7", f"{name}.{table}", f"{len(tables[table])} rows are left")
        for row in tables["idempotency"]:
            if row["status"] is None:
                yield Violation("I7", f"{name}.idempotency {row['key']}", "holds no answer")
        yield from _read_to_the_end(evidence, name, tables["checkpoints"])
        yield from _timers(evidence, name, tables["timers"])
    yield from _aside(evidence)


def _read_to_the_end(
    evidence: Evidence, name: str, checkpoints: Sequence[Row]
) -> Iterator[Violation]:
    reached = {
        row["partition"]: row["next_offset"] for row in checkpoints if row["subscription"] == LIVE
    }
    for number in range(PARTITIONS):
        here, end = reached.get(number, 0), evidence.snapshot.ends.get(number, 0)
        if here != end:
            yield Violation("I7", f"{name} partition {number}", f"is read to {here} of {end}")


def _timers(evidence: Evidence, name: str, timers: Sequence[Row]) -> Iterator[Violation]:
    for row in timers:
        place = f"{name}.timers {row['stream']} {row['kind']}"
        if row["status"] == "pending" and row["due_at"] <= evidence.snapshot.now:
            yield Violation("I7", place, f"was due at {row['due_at']:%F %T}")
        if row["status"] == "failed":
            yield Violation("I7", place, "failed")


def _aside(evidence: Evidence) -> Iterator[Violation]:
    """Compare the quarantine with what was planted; what nobody knows of may be there."""
    found = {
        (row["source"], row["source_event"]) for _, row in evidence.snapshot.rows("quarantine")
    }
    for source, id_ in found - evidence.history.planted:
        yield Violation("I7", f"quarantine {source}/{id_}", "nobody planted this")
    known = {
        (source, id_)
        for op in evidence.history.publications()
        if op.outcome == "ok"
        for source, id_, _ in op.items
    }
    for source, id_ in (evidence.history.planted & known) - found:
        yield Violation("I7", f"quarantine {source}/{id_}", "was planted, and is not there")
