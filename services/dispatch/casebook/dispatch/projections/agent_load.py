"""What every agent holds open, kept inside the append transaction (handbook 2.2).

This table is the guard of capacity (decisions 3.11): whoever gives an agent work locks their
row, always after the heads of the streams, and always in the order of the agents' ids. It counts
live work alone; what another system's people do is none of our capacity.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from casebook.dispatch.domain.agent import Agent
from casebook.dispatch.domain.matching import Workload
from casebook.dispatch.domain.work_order import WorkOrder, holder
from casebook.events.work_order import (
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderReassignedToAgent,
    WorkOrderReassignedToTeam,
)
from casebook.events.workforce import AgentRegistered, AgentTeamChanged
from casebook.kit.decider import Refused
from casebook.kit.postgres.database import Connection
from casebook.kit.service import Appended

TABLE = """
CREATE TABLE agent_load (
    agent text PRIMARY KEY,
    team text,
    open integer NOT NULL DEFAULT 0,
    capacity integer NOT NULL DEFAULT 0,
    available boolean NOT NULL DEFAULT true,
    skills jsonb NOT NULL DEFAULT '{}',
    last_assigned timestamptz
) WITH (fillfactor = 70)
"""
COLUMNS = ("agent", "team", "open", "capacity", "available", "skills", "last_assigned")
INDEX = "CREATE INDEX agent_load_by_team ON agent_load (team)"

_REGISTER = """
INSERT INTO agent_load AS l (agent, team, capacity, available, skills)
SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::bool[], $5::jsonb[]) ORDER BY 1
ON CONFLICT (agent) DO UPDATE SET team = excluded.team, capacity = excluded.capacity,
    available = excluded.available, skills = excluded.skills
"""
_COUNT = """
INSERT INTO agent_load AS l (agent, open, last_assigned)
SELECT * FROM unnest($1::text[], $2::int[], $3::timestamptz[]) ORDER BY 1
ON CONFLICT (agent) DO UPDATE SET open = l.open + excluded.open,
    last_assigned = greatest(l.last_assigned, excluded.last_assigned)
RETURNING agent, team, open, capacity
"""
_READ = """
SELECT agent, team, capacity, available, open, skills, last_assigned
FROM agent_load WHERE team = ANY($1::text[]) ORDER BY agent
"""


@dataclass(slots=True)
class _Changes:
    """What a transaction changes: the agents themselves, and what they hold."""

    agents: dict[str, Agent] = field(default_factory=dict[str, Agent])
    moved: set[str] = field(default_factory=set[str])
    open_items: Counter[str] = field(default_factory=Counter[str])
    last_assigned: dict[str, datetime] = field(default_factory=dict[str, datetime])
    given: dict[str, str | None] = field(default_factory=dict[str, str | None])
    named_teams: set[str] = field(default_factory=set[str])

    def add(self, change: Appended) -> None:
        """Take one appended fact into account."""
        if isinstance(change.after, WorkOrder):
            self._count(change, holder(change.before), holder(change.after))
        elif isinstance(change.after, Agent) and change.after.agent is not None:
            self.agents[change.after.agent] = change.after
            if change.before.team not in (None, change.after.team):
                self.moved.add(change.after.agent)
        if change.fact.envelope.originsource is None:
            self._decided(change)

    def _count(self, change: Appended, previous: str | None, current: str | None) -> None:
        """Move a work order from the hands of one agent to those of another."""
        if previous == current:
            return
        if previous is not None:
            self.open_items[previous] -= 1
        if current is not None:
            self.open_items[current] += 1
            time = change.fact.envelope.time
            self.last_assigned[current] = max(self.last_assigned.get(current, time), time)

    def _decided(self, change: Appended) -> None:
        """Remember whom and what a decision taken here names; it must be there."""
        event = change.fact.event
        match event:
            case WorkOrderAssignedToAgent() | WorkOrderReassignedToAgent():
                self.given[event.agent] = change.after.team
            case WorkOrderAssignedToTeam() | WorkOrderReassignedToTeam():
                if event.routing is None:
                    self.named_teams.add(event.team)
            case AgentRegistered() | AgentTeamChanged():
                self.named_teams.add(event.team)
            case _:
                pass


async def keep(connection: Connection, appended: Sequence[Appended]) -> None:
    """Follow appended facts with the load of the agents whom they concern.

    What another system published counts, and is never refused.

    :raises Refused: ``agent-unknown`` or ``agent-at-capacity`` for work that cannot be given to
        this agent; ``agent-has-open-work`` for one who cannot
        move; ``team-unknown`` for a team that a person named and nobody created.
    """
    changes = _Changes()
    for change in appended:
        changes.add(change)
    if changes.named_teams:
        await _check_teams(connection, changes.named_teams)
    if changes.agents:
        await _register(connection, changes)
    if changes.open_items or changes.given:
        await _count(connection, changes)


def fold(rows: dict[Any, dict[str, Any]], change: Appended) -> None:
    """Change ``rows``, agents by id, as :func:`keep` changes the table."""
    before, after = change.before, change.after
    if isinstance(after, Agent) and after.agent is not None:
        _row(rows, after.agent).update(
            team=after.team,
            capacity=after.capacity,
            available=after.available,
            skills=dict(after.skills),
        )
    elif isinstance(after, WorkOrder) and holder(before) != holder(after):
        previous, current = holder(before), holder(after)
        if previous is not None:
            _row(rows, previous)["open"] -= 1
        if current is not None:
            row, time = _row(rows, current), change.fact.envelope.time
            row["open"] += 1
            row["last_assigned"] = max(row["last_assigned"] or time, time)


def _row(rows: dict[Any, dict[str, Any]], agent: str) -> dict[str, Any]:
    """Return the row of an agent; a new one has the defaults of the table."""
    return rows.setdefault(
        agent,
        {
            "team": None,
            "open": 0,
            "capacity": 0,
            "available": True,
            "skills": {},
            "last_assigned": None,
        },
    )


async def workloads(
    connection: Connection, teams: Sequence[str], *, lock: bool = False
) -> list[Workload]:
    """Return the agents of ``teams`` by id; ``lock`` keeps their load as it is until the end."""
    rows = await connection.fetch(_READ + (" FOR UPDATE" if lock else ""), list(teams))
    return [workload(row) for row in rows]


def workload(row: Any) -> Workload:
    """Return an agent as matching sees them."""
    return Workload(
        agent=row["agent"],
        team=row["team"],
        capacity=row["capacity"],
        available=row["available"],
        open_items=row["open"],
        skills=row["skills"],
        last_assigned=row["last_assigned"],
    )


async def _check_teams(connection: Connection, teams: Collection[str]) -> None:
    """Refuse teams that nobody created; what the routing table names needs no creation.

    :raises Refused: ``team-unknown``.
    """
    streams = [f"team/{team}" for team in teams]
    found = await connection.fetchval(
        "SELECT count(*) FROM streams WHERE stream = ANY($1::text[])", streams
    )
    if found < len(streams):
        raise Refused("team-unknown", "there is no such team; an administrator creates teams")


async def _register(connection: Connection, changes: _Changes) -> None:
    """Write what the agents are; a move needs empty hands.

    :raises Refused: ``agent-has-open-work``.
    """
    agents = [changes.agents[agent] for agent in sorted(changes.agents)]
    await connection.execute(
        _REGISTER,
        [agent.agent for agent in agents],
        [agent.team for agent in agents],
        [agent.capacity for agent in agents],
        [agent.available for agent in agents],
        [dict(agent.skills) for agent in agents],
    )
    if changes.moved and await connection.fetchval(
        "SELECT count(*) FROM agent_load WHERE agent = ANY($1::text[]) AND open > 0",
        sorted(changes.moved),
    ):
        raise Refused("agent-has-open-work", "first give what the agent holds to somebody else")


async def _count(connection: Connection, changes: _Changes) -> None:
    """Add up what the agents hold, and check those who were given something here.

    :raises Refused: when one of them cannot have it.
    """
    moved = {agent for agent, delta in changes.open_items.items() if delta}
    names = sorted(moved | changes.given.keys() | changes.last_assigned.keys())
    if not names:
        return
    rows = await connection.fetch(
        _COUNT,
        names,
        [changes.open_items[name] for name in names],
        [changes.last_assigned.get(name) for name in names],
    )
    for row in rows:
        if row["agent"] in changes.given:
            _check(row, changes.given[row["agent"]])


def _check(row: Any, team: str | None) -> None:
    """Refuse work for an agent who is not there, not in the team, or has enough."""
    # One answer for both: a lead must not learn who works in teams that they may not see.
    if row["team"] is None or row["team"] != team:
        raise Refused("agent-unknown", "the team that has the work has no agent of this id")
    if row["open"] > row["capacity"]:
        raise Refused("agent-at-capacity", "the agent holds as much open work as they can")
