"""What people read: one's own writes, in real time (I5), and nothing beyond one's scope (I6)."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.chaos.evidence import Evidence, Violation
from tests.chaos.history import Op, Person

STAFF = frozenset({"agent", "lead"})
ALL = frozenset({"auditor", "admin"})


# --- I5: real time --------------------------------------------------------------------------------


def real_time(evidence: Evidence) -> Iterator[Violation]:
    """I5: versions follow real time; a read shows what was acknowledged before it began."""
    ended: dict[str, list[tuple[float, int]]] = defaultdict(list)
    done = [command.ok for command in evidence.commands if command.outcome == "ok"]
    for op in sorted(done, key=lambda op: op.ended):
        newest = ended[op.stream][-1][1] if ended[op.stream] else 0
        ended[op.stream].append((op.ended, max(newest, op.version)))
    firsts = {command.ok.key: command.first.started for command in evidence.commands
              if command.outcome == "ok"}  # fmt: skip
    for op in done:
        before = _before(ended[op.stream], firsts[op.key])
        if op.version < before:
            reason = f"got version {op.version} after {before} was acknowledged"
            yield Violation("I5", f"{op.name} {op.stream}", reason)
    for op in evidence.history.reads():
        if op.version:
            yield from _read(evidence, op, _before(ended.get(op.stream, []), op.started))
        if op.minimum:
            yield from _read_elsewhere(evidence, op)


def _before(ended: list[tuple[float, int]], moment: float) -> int:
    """Return the newest version that was acknowledged before a moment."""
    place = bisect_left(ended, (moment, 0))
    return ended[place - 1][1] if place else 0


def _read(evidence: Evidence, op: Op, acknowledged: int) -> Iterator[Violation]:
    place = f"{op.name} {op.stream} by {op.person.subject}"
    if op.version < acknowledged:
        yield Violation("I5", place, f"shows {op.version}; {acknowledged} was acknowledged before")
    if (op.stream, op.version) not in evidence.by_place:
        yield Violation("I5", place, f"shows version {op.version}, which the store has not")


def _read_elsewhere(evidence: Evidence, op: Op) -> Iterator[Violation]:
    """Check that a timeline shows a stream up to the version that was asked for."""
    stream, _, version = op.minimum.rpartition("@")
    for event in evidence.by_stream.get(stream, [])[: int(version)]:
        visible = op.person.role in STAFF | ALL or event.attributes["audience"] == "customer"
        if visible and event.attributes["id"] not in op.rows:
            yield Violation("I5", f"{op.name} by {op.person.subject}", f"{event.name} is missing")


# --- I6: scope ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Owner:
    """Whom a request belongs to, and where its work ever was."""

    requester: str | None = None
    organisation: str | None = None
    teams: set[str] = field(default_factory=set[str])


def scope(evidence: Evidence) -> Iterator[Violation]:
    """I6: every row of every answer is in the scope of who asked."""
    owners = _owners(evidence)
    cases = {event.attributes["id"]: event.attributes for event in evidence.stored}
    for op in evidence.history.reads():
        for id_ in op.rows:
            place = f"{op.name} by {op.person.subject}"
            if op.name != "timeline":
                if not _reaches(op.person, owners.get(id_)):
                    yield Violation("I6", place, f"shows {id_}, which is not theirs")
                continue
            fact = cases.get(id_)
            if fact is None or fact["partitionkey"] != op.stream.rpartition("/")[2]:
                yield Violation("I6", place, f"shows {id_}, which is of no such case")
            elif not _told(op.person, fact["audience"]):
                yield Violation("I6", place, f"shows {id_}, which is for {fact['audience']} only")


def _owners(evidence: Evidence) -> dict[str, _Owner]:
    owners: dict[str, _Owner] = defaultdict(_Owner)
    for event in evidence.stored:
        data, owner = event.attributes["data"], owners[event.row["case_key"]]
        if event.row["type"] == "casebook.request.submitted.v1":
            owner.requester, owner.organisation = data.get("requester"), data.get("organisation")
        if event.row["stream"].startswith("work-order/") and data.get("team"):
            owner.teams.add(data["team"])
    return dict(owners)


def _reaches(person: Person, owner: _Owner | None) -> bool:
    if owner is None:
        return False
    if person.role in ALL:
        return True
    if person.role in STAFF:
        return bool(owner.teams & set(person.teams))
    colleagues = person.organisation is not None and person.organisation == owner.organisation
    return owner.requester == person.subject or colleagues


def _told(person: Person, audience: str) -> bool:
    if audience == "restricted":
        return person.role == "auditor"
    return audience == "customer" or person.role in STAFF | ALL
