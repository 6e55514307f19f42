"""A snapshot and a history, read once and indexed for the checks; and what a check finds."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from tests.chaos.history import Command, History
from tests.chaos.snapshot import Record, Row, Snapshot

Invariant = Literal["I1", "I2", "I3", "I4", "I5", "I6", "I7"]
Place = tuple[str, int]
"""A stream and a version in it."""


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold, and where."""

    invariant: Invariant
    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Stored:
    """An event in the store of its service."""

    service: str
    row: Row
    attributes: dict[str, Any]

    @property
    def place(self) -> Place:
        """Return where the columns say that it stands."""
        return self.row["stream"], self.row["version"]

    @property
    def name(self) -> str:
        """Return the place for people."""
        return f"{self.row['stream']}@{self.row['version']}"

    @property
    def trace(self) -> str:
        """Return the trace id that it carries."""
        return str(self.attributes.get("traceparent") or "")[3:35]


@dataclass(frozen=True, slots=True)
class Logged:
    """An event in the topic."""

    record: Record
    attributes: dict[str, Any]

    @property
    def place(self) -> Place:
        """Return the stream and version that it claims."""
        return self.attributes["subject"], self.attributes["streamversion"]

    @property
    def name(self) -> str:
        """Return the place for people."""
        stream, version = self.place
        return f"{stream}@{version} at {self.record.partition}/{self.record.offset}"


@dataclass(slots=True)
class Evidence:
    """What was found, by whatever the checks ask for."""

    snapshot: Snapshot
    history: History
    commands: list[Command]
    stored: list[Stored]
    logged: list[Logged]
    first: dict[Place, Logged] = field(default_factory=dict[Place, Logged])
    """The first occurrence of each event in the topic: the topic without repetitions."""
    by_place: dict[Place, list[Stored]] = field(default_factory=lambda: defaultdict(list))
    by_stream: dict[str, list[Stored]] = field(default_factory=lambda: defaultdict(list))
    by_trace: dict[tuple[str, str], list[Stored]] = field(default_factory=lambda: defaultdict(list))
    """What people did: by trace id and actor."""
    by_origin: dict[tuple[str, str], list[Stored]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """What was published: by source and id."""
    ids: set[str] = field(default_factory=set[str])

    @classmethod
    def of(cls, snapshot: Snapshot, history: History) -> "Evidence":
        """Read the records and index them."""
        found = cls(
            snapshot,
            history,
            history.commands(),
            [
                Stored(name, row, orjson.loads(row["record"]))
                for name, row in snapshot.rows("events")
            ],
            [
                Logged(record, orjson.loads(record.record))
                for record in snapshot.topic
                if not record.malformed
            ],
        )
        for logged in found.logged:
            found.first.setdefault(logged.place, logged)
        for event in found.stored:
            attributes = event.attributes
            found.ids.add(attributes["id"])
            found.by_place[event.place].append(event)
            found.by_stream[event.row["stream"]].append(event)
            if "originid" in attributes:
                origin = attributes["originsource"], attributes["originid"]
                found.by_origin[origin].append(event)
            elif attributes["actor"].startswith("user:"):
                found.by_trace[event.trace, attributes["actor"]].append(event)
        for events in found.by_stream.values():
            events.sort(key=lambda event: event.row["version"])
        return found

    def of_command(self, command: Command) -> list[Stored]:
        """Return the events that a command led to, itself and not by reactions."""
        first = command.first
        return self.by_trace.get((first.trace, f"user:{first.person.subject}"), [])
