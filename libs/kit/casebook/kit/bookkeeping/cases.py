"""The ``cases`` rows: what a service has applied of every case, and who may see it.

One row serves deduplication, scope, minimum-version reads and the order of published events
(decisions 3.2). ``versions`` maps a stream, without the case's key, to its last applied version
and recorded time.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from casebook.kit.decider import Access
from casebook.kit.postgres.database import Connection


class LogForked(Exception):
    """The log holds another history for a version that was applied: a restored backup wrote it."""


@dataclass(slots=True)
class Case:
    """What one reader knows of one case."""

    key: str
    versions: dict[str, list[Any]] = field(default_factory=dict)
    source_sequence: int = 0
    organisation: str | None = None
    requester: str | None = None
    team: str | None = None
    assignee: str | None = None
    origin: str | None = None

    def access(self) -> Access:
        """Return who the case belongs to."""
        return Access(self.requester, self.organisation, self.team, self.assignee)

    def admit(self, attributes: Mapping[str, Any]) -> bool:
        """Take the next event of a stream; say whether it is new.

        :raises LogForked: when a version comes again with a later recorded time.
        """
        if not self.count(attributes):
            return False
        if self.origin != "live":
            self.origin = attributes["origin"]
        change = _ACCESS.get(attributes["type"])
        if change is not None:
            change(self, attributes["data"])
        return True

    def count(self, attributes: Mapping[str, Any]) -> bool:
        """Count the next event of a stream as applied, whatever it says; say whether it is new.

        A repetition and an event after a gap are not; the one that fills the gap comes later,
        and then what follows it comes again.

        :raises LogForked: when a version comes again with a later recorded time.
        """
        name = slot(attributes["subject"], self.key)
        applied = self.versions.get(name)
        version, recorded = attributes["streamversion"], attributes["recordedtime"]
        last = 0 if applied is None else applied[0]
        if version <= last:
            if applied is not None and recorded > applied[1]:
                raise LogForked(f"{attributes['subject']} version {version} was rewritten")
            return False
        if version > last + 1:
            return False
        self.versions[name] = [version, recorded]
        sequence = attributes.get("sourcesequence")
        if sequence is not None and sequence == self.source_sequence + 1:
            self.source_sequence = sequence
        return True


def slot(stream: str, key: str) -> str:
    """Return the name of a stream inside its case: the key is left out where it ends the name."""
    return stream[: -len(key) - 1] if stream.endswith(f"/{key}") else stream


def _submitted(case: Case, data: Mapping[str, Any]) -> None:
    case.organisation = data.get("organisation")
    case.requester = data.get("requester")


def _team(case: Case, data: Mapping[str, Any]) -> None:
    case.team = data.get("team")


def _agent(case: Case, data: Mapping[str, Any]) -> None:
    case.assignee = data.get("agent")


_ACCESS: Mapping[str, Callable[[Case, Mapping[str, Any]], None]] = {
    "casebook.request.submitted.v1": _submitted,
    "casebook.work-order.assigned-to-team.v1": _team,
    "casebook.work-order.reassigned-to-team.v1": _team,
    "casebook.work-order.returned-to-queue.v1": _team,
    "casebook.work-order.assigned-to-agent.v1": _agent,
    "casebook.work-order.reassigned-to-agent.v1": _agent,
    "casebook.work-order.released.v1": _agent,
    "casebook.work-order.reopened.v1": _agent,
}

_COLUMNS = "key, versions::text, source_sequence, organisation, requester, team, assignee, origin"


class CaseTable:
    """Loads and writes case rows; a rebuild has a table of its own."""

    def __init__(self, name: str = "cases") -> None:
        self._select = f'SELECT {_COLUMNS} FROM "{name}" WHERE key = ANY($1::text[])'
        self._upsert = f"""
        INSERT INTO "{name}" SELECT u.key, u.versions::jsonb, u.source_sequence, u.organisation,
            u.requester, u.team, u.assignee, u.origin
        FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[],
            $7::text[], $8::text[])
            AS u(key, versions, source_sequence, organisation, requester, team, assignee, origin)
        ON CONFLICT (key) DO UPDATE SET versions = excluded.versions,
            source_sequence = excluded.source_sequence, organisation = excluded.organisation,
            requester = excluded.requester, team = excluded.team,
            assignee = excluded.assignee, origin = excluded.origin
        """

    async def load(self, connection: Connection, keys: Iterable[str]) -> dict[str, Case]:
        """Return the case of every key; a new one where there is no row."""
        cases = {key: Case(key) for key in keys}
        for row in await connection.fetch(self._select, list(cases)):
            cases[row[0]] = Case(row[0], orjson.loads(row[1]), *row[2:])
        return cases

    async def write(self, connection: Connection, cases: Iterable[Case]) -> None:
        """Write the cases, in key order."""
        ordered = sorted(cases, key=lambda case: case.key)
        if not ordered:
            return
        await connection.execute(
            self._upsert,
            [case.key for case in ordered],
            [orjson.dumps(case.versions).decode() for case in ordered],
            [case.source_sequence for case in ordered],
            [case.organisation for case in ordered],
            [case.requester for case in ordered],
            [case.team for case in ordered],
            [case.assignee for case in ordered],
            [case.origin for case in ordered],
        )


async def load_case(connection: Connection, key: str) -> Case:
    """Return one case."""
    return (await CaseTable().load(connection, [key]))[key]
