"""I4: every fact has its effect once, whatever was delivered twice.

Each read model is compared, row for row and column for column, with a fold of the topic without
repetitions and with a fold of the stores. The folds of single facts are the product's own pure
functions; what is folded, in which order and how often, is decided here. Beside them, counts are
added up in plain Python, which shares nothing with the product but names.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from casebook.events.decoding import decode
from casebook.events.envelope import from_attributes
from casebook.kit.clock import SystemClock
from casebook.kit.decider import Fact
from casebook.kit.keys import KeyRing
from casebook.kit.service import Appended, Service
from casebook.kit.store.store import Store
from tests.chaos.evidence import Evidence, Logged, Stored, Violation
from tests.chaos.snapshot import SERVICES, Row

_TEAM = frozenset(
    f"casebook.work-order.{name}.v1"
    for name in ("assigned-to-team", "reassigned-to-team", "returned-to-queue")
)
_AGENT = frozenset(
    f"casebook.work-order.{name}.v1"
    for name in ("assigned-to-agent", "reassigned-to-agent", "released", "reopened")
)
_ON_TIMELINE = (
    "request/", "work-order/", "service-level/", "survey/", "request-link/", "nonconformity/",
    "ingress-",
)  # fmt: skip


def exactly_once(evidence: Evidence) -> Iterator[Violation]:
    """I4: nothing was done twice, and every read model is what its facts say."""
    yield from _doubled(evidence)
    topic = list(evidence.first.values())
    logged, stored = _facts(topic), _facts(topic, evidence)
    for service in SERVICES:
        yield from _models(evidence, service, logged, "the topic")
        yield from _models(evidence, service, stored, "the stores")
        yield from _heads(evidence, service)
        cases = {row["key"]: row for row in evidence.snapshot.tables[service.name]["cases"]}
        yield from _compared(f"{service.name}.cases", cases, _cases(topic), "the topic")
    yield from _counts(evidence)


def _doubled(evidence: Evidence) -> Iterator[Violation]:
    for place, events in evidence.by_place.items():
        if len(events) > 1:
            yield Violation("I4", f"{place[0]}@{place[1]}", "stands in the stores twice")
    for origin, events in evidence.by_origin.items():
        if len(events) > 1:
            yield Violation("I4", "/".join(origin), f"was promoted {len(events)} times")
    yield from _repetitions(evidence)
    yield from _effects(evidence)


def _repetitions(evidence: Evidence) -> Iterator[Violation]:
    """Check that what comes again in the topic is the same, and the same as in the store."""
    for logged in evidence.logged:
        first = evidence.first[logged.place]
        if logged.record.hash != first.record.hash or logged.attributes != first.attributes:
            yield Violation("I4", logged.name, f"is another event than {first.name}")
        for event in evidence.by_place.get(logged.place, ()):
            if (logged.record.record, logged.record.hash) != (
                event.row["record"], event.row["hash"],
            ):  # fmt: skip
                yield Violation("I4", logged.name, "differs from the store")


def _effects(evidence: Evidence) -> Iterator[Violation]:
    """Check that no cause led to the same twice."""
    effects: Counter[tuple[Any, ...]] = Counter()
    for event in evidence.stored:
        attributes = event.attributes
        if attributes["actor"].startswith("service:") and "causationid" in attributes:
            data = orjson.dumps(attributes["data"], option=orjson.OPT_SORT_KEYS)
            effects[attributes["causationid"], event.row["stream"], event.row["type"], data] += 1
    for (cause, stream, type_, _), times in effects.items():
        if times > 1:
            yield Violation("I4", stream, f"{cause} led to {type_} {times} times")


# --- read models ----------------------------------------------------------------------------------


def _facts(topic: Iterable[Logged], evidence: Evidence | None = None) -> list[Fact]:
    """Return the topic's facts in its order, or, with ``evidence``, as the stores have them."""
    facts: list[Fact] = []
    for logged in topic:
        attributes = logged.attributes
        if evidence is not None:
            stored = evidence.by_place.get(logged.place)
            if not stored:
                continue
            attributes = stored[0].attributes
        envelope = from_attributes(attributes)
        event = decode(envelope)
        if event is not None:
            facts.append(Fact(envelope, event, logged.record.offset))
    return facts


def _models(
    evidence: Evidence, service: Service, facts: list[Fact], whence: str
) -> Iterator[Violation]:
    """Fold every projection of a service, and compare."""
    for projection in service.projections:
        rows: dict[Any, Row | None] = {}
        for fact in facts:
            if isinstance(fact.event, projection.handles):
                key = projection.key(fact)
                if key is not None:
                    rows[key] = projection.fold(rows.get(key), fact)
        wanted = {key: row for key, row in rows.items() if row is not None}
        column = next(iter(projection.table.columns)).name
        found = {
            row[column]: row for row in evidence.snapshot.models[service.name][projection.name]
        }
        yield from _compared(f"{service.name}.{projection.name}", found, wanted, whence)


def _heads(evidence: Evidence, service: Service) -> Iterator[Violation]:
    """Fold every stream of a service, and what is kept inside the append transaction."""
    store = Store(service, SystemClock(), KeyRing(service.name, None))
    inline: dict[str, dict[Any, Row]] = {table.name: {} for table in service.inline}
    wanted: dict[str, Row] = {}
    for stream, events in evidence.by_stream.items():
        mine = [event for event in events if event.service == service.name]
        if mine:
            wanted[stream] = _head(store, service, mine, inline)
    rows = evidence.snapshot.tables[service.name]["streams"]
    found = {row["stream"]: {name: row[name] for name in _HEAD} for row in rows}
    yield from _compared(f"{service.name}.streams", found, wanted, "the store")
    for table in service.inline:
        key = table.columns[0]
        kept = {row[key]: row for row in evidence.snapshot.models[service.name][table.name]}
        folded = {name: row | {key: name} for name, row in inline[table.name].items()}
        yield from _compared(f"{service.name}.{table.name}", kept, folded, "the store")


_HEAD = ("version", "hash", "state")


def _head(
    store: Store, service: Service, events: list[Stored], inline: Mapping[str, dict[Any, Row]]
) -> Row:
    family = store.family(events[0].row["stream"])
    state = family.initial
    for stored in events:
        envelope = from_attributes(stored.attributes)
        event = decode(envelope)
        if event is None:
            continue
        before, state = state, family.evolve(state, event, envelope)
        for table in service.inline:
            table.fold(inline[table.name], Appended(Fact(envelope, event), before, state))
    last = events[-1].row
    text = store.dump_state(last["stream"], state)
    return {"version": last["version"], "hash": last["hash"], "state": orjson.loads(text)}


def _compared(
    name: str, found: Mapping[Any, Row], wanted: Mapping[Any, Row], whence: str
) -> Iterator[Violation]:
    for key, row in found.items():
        if key not in wanted:
            yield Violation("I4", f"{name} {key}", f"does not follow from {whence}")
            continue
        for column, value in row.items():
            if _canonical(value) != _canonical(wanted[key][column]):
                yield Violation("I4", f"{name} {key}", f"{column} is not what {whence} says")
    for key in wanted.keys() - found.keys():
        yield Violation("I4", f"{name} {key}", f"is missing, and follows from {whence}")


def _canonical(value: object) -> bytes:
    """Return a value as bytes that are equal only for the same value."""
    if isinstance(value, bytes):
        return value
    return orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS)


# --- in plain Python ------------------------------------------------------------------------------


def _cases(topic: Iterable[Logged]) -> dict[str, Row]:
    """Return what every service must know of each case."""
    cases: dict[str, Row] = {}
    for logged in topic:
        attributes = logged.attributes
        key, stream, data = attributes["partitionkey"], attributes["subject"], attributes["data"]
        case = cases.setdefault(
            key,
            {"key": key, "versions": {}, "source_sequence": 0, "organisation": None,
             "requester": None, "team": None, "assignee": None, "origin": None},
        )  # fmt: skip
        slot = stream.removesuffix(f"/{key}")
        case["versions"][slot] = [attributes["streamversion"], attributes["recordedtime"]]
        if attributes.get("sourcesequence") == case["source_sequence"] + 1:
            case["source_sequence"] += 1
        if case["origin"] != "live":
            case["origin"] = attributes["origin"]
        if attributes["type"] == "casebook.request.submitted.v1":
            case["organisation"] = data.get("organisation")
            case["requester"] = data.get("requester")
        if attributes["type"] in _TEAM:
            case["team"] = data.get("team")
        if attributes["type"] in _AGENT:
            case["assignee"] = data.get("agent")
    return cases


def _counts(evidence: Evidence) -> Iterator[Violation]:
    """Add up the topic and the tables, each for itself."""
    types: Counter[str] = Counter()
    cases: dict[str, set[str]] = defaultdict(set)
    timeline = breaches = moves = 0
    for logged in evidence.first.values():
        attributes = logged.attributes
        name = attributes["type"].removeprefix("casebook.").removesuffix(".v1")
        data, live = attributes["data"], attributes["origin"] == "live"
        types[name] += 1
        types[f"{name} {attributes['origin']}"] += 1
        cases[name].add(attributes["partitionkey"])
        cases[name.partition(".")[0]].add(attributes["partitionkey"])
        timeline += attributes["subject"].startswith(_ON_TIMELINE)
        breaches += live and name.endswith("target-breached") and data["clock"] == "resolution"
        moves += name.endswith((".reassigned-to-team", ".returned-to-queue"))
        moves += name.endswith(".assigned-to-team") and not data["initial"]
    models = evidence.snapshot.models
    facts, control = models["monitoring"]["kpi_facts"], models["quality"]["closure_control"]
    resolved = cases["work-order.resolved"] | cases["work-order.resolution-amended"]
    sums = {
        "intake.timeline rows": (len(models["intake"]["timeline"]), timeline),
        "intake.work rows": (len(models["intake"]["work"]), len(cases["work-order"])),
        "kpi_facts.reopenings": (_sum(facts, "reopenings"), types["request.reopened"]),
        "kpi_facts.group_changes": (_sum(facts, "group_changes"), moves),
        "kpi_facts opened": (_some(facts, "opened_at"), types["request.submitted"]),
        "kpi_facts resolved": (_some(facts, "resolved_at"), len(resolved)),
        "kpi_facts closed": (_some(facts, "closed_at"), len(cases["request.closed"])),
        "risk.resolution_breaches": (len(models["risk"]["resolution_breaches"]), breaches),
        **{
            f"closure_control.closings_{origin}": (
                _sum(control, f"closings_{origin}"), types[f"request.closed {origin}"],
            )
            for origin in ("live", "observed")
        },
        "work orders of live requests": (
            types["work-order.opened"], types["request.submitted live"],
        ),
    }  # fmt: skip
    for name, (found, wanted) in sums.items():
        if found != wanted:
            yield Violation("I4", name, f"is {found}, and the topic adds up to {wanted}")


def _sum(rows: Iterable[Row], column: str) -> int:
    return sum(row[column] for row in rows)


def _some(rows: Iterable[Row], column: str) -> int:
    return sum(row[column] is not None for row in rows)
