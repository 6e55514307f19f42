"""What facts fold to: what the tables of a service must hold at rest.

Every seed begins with the same facts. They are folded and compared once; a seed folds what came
after them, and compares what is no longer the very row, and the very state, of the beginning.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import orjson

from casebook.events.envelope import GENESIS, Envelope, chain, timestamp
from casebook.kit.bookkeeping.cases import _ACCESS, Case, slot
from casebook.kit.decider import Fact
from casebook.kit.read_models.projections import Projection, sql_type
from casebook.kit.service import Appended, Service
from casebook.kit.store.store import Store
from tests.simulation.tables import Schema
from tests.simulation.violations import Violation, require

Rows = dict[Any, Any]
NOTHING = Schema("nothing")
"""The tables before anything happened: against them, everything is compared."""


@dataclass(slots=True)
class ReadFold:
    """What the facts of the log fold to: case rows and read models."""

    service: Service
    cases: dict[str, Case] = field(default_factory=dict[str, Case])
    rows: dict[str, Rows] = field(default_factory=dict[str, Rows])

    def after(self, facts: Iterable[Fact]) -> "ReadFold":
        """Return the fold of further facts, in log order and each once; this one stays."""
        cases, rows = dict(self.cases), {name: dict(kept) for name, kept in self.rows.items()}
        for key in {fact.case for fact in facts}:
            case = cases.get(key, Case(key))
            cases[key] = replace(case, versions=dict(case.versions))
        for fact in facts:
            _count(cases[fact.case], fact.envelope)
        for projection in self.service.projections:
            _project(projection, rows.setdefault(projection.name, {}), facts)
        return ReadFold(self.service, cases, rows)

    def check(self, schema: Schema, poisoned: set[str], base: "ReadFold", before: Schema) -> None:
        """Compare with the tables, but for what is as it was in ``base`` and ``before`` (I4).

        :raises Violation: where a row is not what the facts fold to.
        """
        name, rows, known = self.service.name, schema.table("cases"), before.table("cases")
        found = {key for key in rows if key not in poisoned}
        require(found == set(self.cases), f"I4 {name} cases: {sorted(found ^ set(self.cases))[:3]}")
        for key, case in self.cases.items():
            row = rows[key]
            if case is base.cases.get(key) and row is known.get(key):
                continue
            shown = Case(row[0], orjson.loads(row[1]), *row[2:])
            require(shown == case, f"I4 {name} case {shown} is not {case}")
        for projection in self.service.projections:
            table = projection.physical(projection.version, 1)
            self._compare(projection, schema.table(table), base, before.table(table))

    def _compare(self, projection: Projection, table: Rows, base: "ReadFold", before: Rows) -> None:
        name = f"{self.service.name} {projection.name}"
        expected, known = self.rows[projection.name], base.rows.get(projection.name, {})
        names, as_json = _columns(projection)
        for key in expected.keys() | table.keys():
            want, have = expected.get(key), table.get(key)
            if want is None or have is None:
                raise Violation(f"I4 {name} {key}: stored {have}, folded {want}")
            if want is known.get(key) and have is before.get(key):
                continue
            for column, value, in_json in zip(names, have, as_json, strict=True):
                shown, wanted = value, want[column]
                if in_json and value is not None and wanted is not None:
                    shown, wanted = orjson.loads(value), orjson.loads(orjson.dumps(wanted))
                if shown != wanted:
                    raise Violation(f"I4 {name}.{column} {key}: {shown!r}, not {wanted!r}")


def _count(case: Case, envelope: Envelope) -> None:
    """Count a fact as applied; it comes here once, and in order."""
    name = slot(envelope.subject, case.key)
    case.versions[name] = [envelope.streamversion, timestamp(envelope.recordedtime)]
    if envelope.sourcesequence == case.source_sequence + 1:
        case.source_sequence += 1
    if case.origin != "live":
        case.origin = envelope.origin
    change = _ACCESS.get(envelope.type)
    if change is not None:
        change(case, envelope.data)


def _project(projection: Projection, rows: Rows, facts: Iterable[Fact]) -> None:
    for fact in facts:
        if isinstance(fact.event, projection.handles):
            key = projection.key(fact)
            if key is not None:
                row = projection.fold(rows.get(key), fact)
                if row is None:
                    rows.pop(key, None)
                else:
                    rows[key] = row


@cache
def _columns(projection: Projection) -> tuple[list[str], list[bool]]:
    """Return the names of a read model's columns, and which hold JSON."""
    columns = list(projection.table.columns)
    return [c.name for c in columns], [sql_type(c) == "jsonb" for c in columns]


@dataclass(slots=True)
class StoreFold:
    """What the stored facts of a service fold to: heads, hashes, inline tables."""

    store: Store
    appended: list[Appended] = field(default_factory=list[Appended])
    states: dict[str, Any] = field(default_factory=dict[str, Any])
    hashes: dict[str, bytes] = field(default_factory=dict[str, bytes])
    versions: Counter[str] = field(default_factory=Counter[str])
    inline: dict[str, Rows] = field(default_factory=dict[str, Rows])

    def after(self, facts: Iterable[Fact], events: Mapping[int, Any]) -> "StoreFold":
        """Return the fold of further facts in the order they were appended; this one stays.

        :raises Violation: where a stream has a gap, or its chain of hashes is broken (I3).
        """
        inline = {
            name: {key: dict(row) for key, row in rows.items()}
            for name, rows in self.inline.items()
        }
        fold = StoreFold(
            self.store,
            list(self.appended),
            dict(self.states),
            dict(self.hashes),
            self.versions.copy(),
            inline,
        )
        for fact in facts:
            fold._add(fact, events[fact.offset])
        return fold

    def _add(self, fact: Fact, row: Any) -> None:
        stream = fact.envelope.subject
        family = self.store.family(stream)
        self.versions[stream] += 1
        require(fact.envelope.streamversion == self.versions[stream], f"I3 {stream} has a gap")
        self.hashes[stream] = chain(self.hashes.get(stream, GENESIS), row["record"])
        require(self.hashes[stream] == row["hash"], f"I3 {stream}: the chain of hashes is broken")
        before = self.states.get(stream, family.initial)
        after = self.states[stream] = family.evolve(before, fact.event, fact.envelope)
        self.appended.append(Appended(fact, before, after))
        for table in self.store.service.inline:
            table.fold(self.inline.setdefault(table.name, {}), self.appended[-1])

    def check(self, schema: Schema, base: "StoreFold", before: Schema) -> None:
        """Compare with the tables, but for what is as it was in ``base`` and ``before``.

        :raises Violation: where a head, an inline table (I3, I4) or a timer (I7) is wrong.
        """
        events = schema.table("events")
        kept = all(events.get(place) is row for place, row in before.table("events").items())
        require(kept, f"I1 {schema.name}: events of the beginning are no longer what they were")
        heads, known = schema.table("streams"), before.table("streams")
        wrong = heads.keys() ^ self.states.keys()
        require(not wrong, f"I3 {schema.name} heads {wrong}")
        pending = _pending_timers(schema)
        for stream, state in self.states.items():
            wanted = dict(self.store.family(stream).deadlines(state))
            have = pending.get(stream, {})
            require(have == wanted, f"I7 {stream}: timers {have} are not the wanted {wanted}")
            head = heads[stream]
            if state is base.states.get(stream) and head is known.get(stream):
                continue
            shown = self.store.load_state(stream, head["state"])
            require(shown == state, f"I4 {stream}: head {shown} is not {state}")
            version = self.versions[stream]
            require(head["version"] == version, f"I3 {stream}: head at {head['version']}")
        for name, rows in self.inline.items():
            shown, folded = _keyless(schema.table(name)), _keyless(rows)
            require(shown == folded, f"I4 {name}: {shown} is not {folded}")


def _keyless(rows: Rows) -> Rows:
    """Return rows without the agent, who is their key."""
    return {k: {n: v for n, v in row.items() if n != "agent"} for k, row in rows.items()}


def _pending_timers(schema: Schema) -> dict[str, dict[str, Any]]:
    pending: dict[str, dict[str, Any]] = {}
    for row in schema.table("timers").values():
        if row["status"] == "pending":
            pending.setdefault(row["stream"], {})[row["kind"]] = row["due_at"]
    return pending


@dataclass(frozen=True, slots=True)
class Begun:
    """What a service holds when a seed begins: tables, stored facts, and what they fold to."""

    schema: Schema
    facts: list[Fact]
    read: ReadFold
    stored: StoreFold


def begun(store: Store, schema: Schema, facts: list[Fact], logged: Iterable[Fact]) -> Begun:
    """Fold the facts that a seed begins with, and compare them with all tables of a service."""
    nothing_read, nothing_stored = ReadFold(store.service), StoreFold(store)
    read = nothing_read.after(logged)
    read.check(schema, set(), nothing_read, NOTHING)
    stored = nothing_stored.after(facts, schema.table("events"))
    stored.check(schema, nothing_stored, NOTHING)
    return Begun(schema, facts, read, stored)
