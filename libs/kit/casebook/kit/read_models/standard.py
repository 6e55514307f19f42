"""Small tables that every service keeps from the log: team membership and publishing sources."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from casebook.events.request import SourceRegistered
from casebook.events.workforce import AgentRegistered, AgentTeamChanged
from casebook.kit.log.event_log import LogRecord
from casebook.kit.postgres.database import Connection

_MEMBERSHIP = frozenset({AgentRegistered.type, AgentTeamChanged.type})
STANDARD_TABLES: Mapping[str, str] = MappingProxyType(
    {**dict.fromkeys(sorted(_MEMBERSHIP), "members"), SourceRegistered.type: "sources"}
)
"""What these tables follow, and which of them shows it."""
STANDARD_TYPES = frozenset(STANDARD_TABLES)


def membership(attributes: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the agent and the team of a fact about membership; ``None`` for any other fact."""
    if attributes["type"] not in _MEMBERSHIP:
        return None
    return attributes["subject"].removeprefix("agent/"), attributes["data"]["team"]


def source_of(attributes: Mapping[str, Any]) -> SourceRegistered | None:
    """Return the registration that a fact is; ``None`` for any other fact."""
    if attributes["type"] != SourceRegistered.type:
        return None
    return SourceRegistered.tolerant(attributes["data"])


async def apply_standard(connection: Connection, records: Sequence[LogRecord]) -> None:
    """Follow membership and source facts; both are rare, so one statement each will do."""
    for record in records:
        if record.type not in STANDARD_TYPES:
            continue
        member, source = membership(record.attributes()), source_of(record.attributes())
        if member is not None:
            await connection.execute(
                """INSERT INTO members VALUES ($1, $2)
                ON CONFLICT (agent) DO UPDATE SET team = excluded.team""",
                *member,
            )
        if source is not None:
            await connection.execute(
                """INSERT INTO sources VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT (source) DO UPDATE SET types = excluded.types,
                    organisation = excluded.organisation, mode = excluded.mode,
                    publisher = excluded.publisher""",
                source.source,
                list(source.types),
                source.organisation,
                source.mode,
                source.publisher,
            )
