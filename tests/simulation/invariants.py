"""What must hold when everything is healed and at rest (I1 to I7), whatever the schedule was.

The checks fold the facts again, in their own words where the product's would hide a defect: what is
new in the log is decided here by a set of versions, not by the product's case rows.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from casebook.events.kafka import partition
from casebook.kit.bookkeeping.checkpoints import LIVE
from casebook.kit.decider import Fact
from casebook.kit.read_models.projections import Projection
from casebook.kit.service import Appended
from tests.simulation import domain_invariants
from tests.simulation.stage import facts_of
from tests.simulation.tables import Schema
from tests.simulation.violations import Violation, require

if TYPE_CHECKING:
    from casebook.events.envelope import Envelope
    from tests.simulation.simulation import Play


@dataclass(slots=True)
class Facts:
    """The facts of a seed: of each store in append order, and of the log on first occurrence.

    ``later`` are those that the seed did not begin with.
    """

    stored: dict[str, list[Fact]] = field(default_factory=dict[str, list[Fact]])
    stored_later: dict[str, list[Fact]] = field(default_factory=dict[str, list[Fact]])
    appended: dict[str, list[Appended]] = field(default_factory=dict[str, list[Appended]])
    later: list[Fact] = field(default_factory=list[Fact])
    known: dict[UUID, Fact] = field(default_factory=dict[UUID, Fact])
    logged: list[Fact] = field(default_factory=list[Fact])
    places: dict[UUID, tuple[int, int]] = field(default_factory=dict[UUID, tuple[int, int]])

    def all(self) -> Iterator[Fact]:
        """Return the stored facts of all services."""
        for facts in self.stored.values():
            yield from facts


def check(play: "Play", alarms: Sequence[Any]) -> str | None:
    """Return which invariant does not hold, and where; ``None`` when all do."""
    world = play.world
    try:
        require(not alarms, f"I7 alarms {alarms[:2]}")
        facts = Facts()
        _stored(play, facts)
        _read_log(play, facts)
        _no_loss(play, facts)
        _order(play, facts)
        for name, schema in world.schemas.items():
            _tables(play, name, schema, facts)
            _rest(play, name, schema)
        domain_invariants.check(play, facts)
    except Violation as violation:
        return str(violation)
    return None


def _stored(play: "Play", facts: Facts) -> None:
    """Collect the facts of all stores; those from before the seed are known to the stage."""
    world = play.world
    for name, before in world.stage.begun.items():
        schema = world.schemas.get(name)
        stored = before.facts
        if schema is not None:
            later = facts_of(schema, stored[-1].offset if stored else 0)
            stored = [*stored, *later]
            facts.stored[name], facts.stored_later[name] = stored, later
        for fact in stored:
            require(fact.envelope.id not in facts.known, f"I3 {fact.envelope.id} is in two stores")
            facts.known[fact.envelope.id] = fact


def _read_log(play: "Play", facts: Facts) -> None:
    """Read the log, dropping repetitions; everything in it is in a store, as it is there."""
    seen: set[tuple[str, int]] = set()
    begun = play.world.stage.log
    for number, records in play.world.log.items():
        for record in records:
            if record.key in play.poisoned:
                continue
            fact = facts.known.get(_id(record.record))
            if fact is None:
                raise Violation(f"I2 {record.record[:200]} is in the log and in no store")
            place = (fact.envelope.subject, fact.envelope.streamversion)
            if place in seen:
                continue
            seen.add(place)
            facts.places[fact.envelope.id] = (number, record.offset)
            logged = Fact(fact.envelope, fact.event, record.offset)
            facts.logged.append(logged)
            if record.offset >= len(begun[number]):
                facts.later.append(logged)
            require(partition(record.key) == number, f"I3 {place} is in partition {number}")
    missing = len(facts.known) - len(seen)
    require(not missing, f"I1 {missing} stored events are not in the log")


@lru_cache(maxsize=4096)
def _id(record: str) -> UUID:
    """Return the id of a record of the log."""
    return UUID(orjson.loads(record)["id"])


def _no_loss(play: "Play", facts: Facts) -> None:
    """Check what was answered against what is stored: no loss, no phantom, nothing twice."""
    by_trace: defaultdict[str, list[Envelope]] = defaultdict(list)
    versions: dict[str, int] = {}
    for fact in facts.all():
        envelope = fact.envelope
        versions[envelope.subject] = max(versions.get(envelope.subject, 0), envelope.streamversion)
        if envelope.actor.startswith("user:") and envelope.traceparent is not None:
            by_trace[envelope.traceparent[3:35]].append(envelope)
    asked = {call.trace_id for call in play.calls}
    before = {f.envelope.id for begun in play.world.stage.begun.values() for f in begun.facts}
    for call in play.calls:
        events = by_trace.get(call.trace_id, [])
        if call.outcome == "ok":
            stored = versions.get(call.stream, 0)
            require(stored >= call.version, f"I1 {call.stream}@{call.version} is lost")
            require(len(call.answers) == 1, f"I4 call {call.number} has answers {call.answers}")
        if call.outcome == "fail":
            require(not events, f"I2 call {call.number} failed and is stored")
        spans = {envelope.traceparent for envelope in events}
        require(len(spans) <= 1, f"I4 {call.operation} {call.number} has its effect twice")
        if events and call.outcome == "ok":
            last = max(envelope.streamversion for envelope in events)
            require(last == call.version, f"I1 {call.stream}@{call.version} is not what is stored")
            first = f'"{min(envelope.streamversion for envelope in events) - 1}"'
            require(
                call.if_match in {None, first},
                f"I5 {call.operation} on {first} was asked for on {call.if_match}",
            )
    for trace_id, events in by_trace.items():
        require(
            trace_id in asked or events[0].id in before,
            f"I2 {events[0].subject} was asked for by nobody",
        )
    _linear(play)


def _linear(play: "Play") -> None:
    """Check that what was answered before another call began has the smaller version (I5)."""
    by_stream: defaultdict[str, list[Any]] = defaultdict(list)
    for call in play.calls:
        if call.outcome == "ok":
            by_stream[call.stream].append(call)
    for calls in by_stream.values():
        for first in calls:
            for second in calls:
                if first.answered < second.invoked:
                    require(
                        first.version <= second.version,
                        f"I5 {first.stream}: {second.version} was answered after {first.version}",
                    )


def _order(play: "Play", facts: Facts) -> None:
    """Check the order in each stream, in the log, and of causes and effects (I3)."""
    last: dict[str, Envelope] = {}
    for fact in facts.logged:
        envelope = fact.envelope
        before = last.get(envelope.subject)
        version = 0 if before is None else before.streamversion
        require(
            envelope.streamversion == version + 1,
            f"I3 {envelope.subject}: {envelope.streamversion} follows {version} in the log",
        )
        require(
            before is None or envelope.recordedtime > before.recordedtime,
            f"I3 {envelope.subject}@{envelope.streamversion} is not later than its predecessor",
        )
        last[envelope.subject] = envelope
        if envelope.causationid is None:
            continue
        known = facts.known.get(envelope.causationid)
        if known is None:
            raise Violation(f"I3 {envelope.subject} has an unknown cause")
        cause = known.envelope
        require(
            envelope.recordedtime > cause.recordedtime,
            f"I3 {envelope.type} is recorded before its cause {cause.type}",
        )
        here, there = facts.places[envelope.id], facts.places[cause.id]
        require(
            here[0] != there[0] or here[1] > there[1],
            f"I3 {envelope.subject}@{envelope.streamversion} is in the log before its cause",
        )


# --- what one service shows -----------------------------------------------------------------


def _tables(play: "Play", name: str, schema: Schema, facts: Facts) -> None:
    """Check that all tables are the fold of the facts: of the log, and of the store (I3, I4)."""
    begun = play.world.stage.begun[name]
    begun.read.after(facts.later).check(schema, play.poisoned, begun.read, begun.schema)
    fold = begun.stored.after(facts.stored_later[name], schema.table("events"))
    fold.check(schema, begun.stored, begun.schema)
    facts.appended[name] = fold.appended


def _rest(play: "Play", name: str, schema: Schema) -> None:
    """Check that nothing is left over: only what was planted is parked or in quarantine (I7)."""
    world = play.world
    require(not schema.table("outbox"), f"I7 {name}: the outbox is not empty")
    require(not schema.locks, f"I7 {name}: locks are left {list(schema.locks)[:3]}")
    ends = {p: len(records) for p, records in world.log.items()}
    have = {place[1]: o for place, o in schema.table("checkpoints").items() if place[0] == LIVE}
    require(have == ends, f"I7 {name}: checkpoints {have} are not at the end {ends}")
    parked = {row["key"] for row in schema.table("parked").values()}
    service = world.services[name]
    handles = any(
        event.type.startswith("casebook.request.submitted.")
        for owner in (*service.projections, *service.reactions)
        for event in (owner.handles if isinstance(owner, Projection) else owner.on)
    )
    require(parked == (play.poisoned if handles else set()), f"I7 {name}: parked {parked}")
    bad = {(row["source_event"], row["reason"]) for row in schema.table("quarantine").values()}
    refused = {pair for pair in play.publisher.refused if name == "intake"}
    require(bad == refused, f"I7 {name}: quarantine {bad} is not {refused}")
    if name not in {"intake", "dispatch"}:
        return
    stored = schema.table("events.id")
    lost = [
        id_
        for id_, owner in play.publisher.fact_ids().items()
        if owner == name and UUID(id_) not in stored
    ]
    require(not lost, f"I1 {name}: published facts {lost[:3]} are lost")
