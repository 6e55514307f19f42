"""The matcher: gives queued work to agents, as soon as there is somebody for it (handbook 2.2).

It looks when something was appended or applied, and every second. A round first plans over what
it reads without locks, and then decides again under them: first the heads of the work orders,
then the load of the teams' agents. So any number of matchers may run, and none of them can give
an agent too much, or one work order to two agents.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from casebook.dispatch.domain import assignment, matching
from casebook.dispatch.domain.matching import Workload
from casebook.dispatch.domain.work_order import WorkOrder
from casebook.dispatch.projections.agent_load import workloads
from casebook.events.envelope import Envelope
from casebook.events.work_order import (
    WorkOrderAssignedToTeam,
    WorkOrderCancelled,
    WorkOrderEvent,
    WorkOrderReassignedToAgent,
    WorkOrderReassignedToTeam,
    WorkOrderReleased,
    WorkOrderRequirementChanged,
    WorkOrderResolved,
    WorkOrderReturnedToQueue,
)
from casebook.events.workforce import (
    AgentAvailabilityChanged,
    AgentCapacityChanged,
    AgentRegistered,
    AgentSkillGranted,
    AgentTeamChanged,
)
from casebook.kit.clock import Clock
from casebook.kit.decider import Refused
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS, REBUILDING, Connection, Database
from casebook.kit.signals import Signals, wait
from casebook.kit.store.store import Cause, Store, UnitOfWork

if TYPE_CHECKING:
    from casebook.kit.runtime import Runtime

FOLLOWS = (
    WorkOrderAssignedToTeam, WorkOrderReassignedToTeam, WorkOrderRequirementChanged,
    WorkOrderReturnedToQueue, WorkOrderReleased,
    WorkOrderReassignedToAgent, WorkOrderResolved, WorkOrderCancelled,
    AgentRegistered, AgentSkillGranted, AgentCapacityChanged, AgentTeamChanged,
    AgentAvailabilityChanged,
)  # fmt: skip
"""After these, there is work to give, or somebody to give it to."""

ORDERS_MAX = 100
"""How many work orders one transaction decides about."""

LOOK_MAX = 5_000
"""How many queued work orders one round looks at.

First those that somebody could take now or that nobody has looked at, the most urgent first; so
work that waits for people who are not there never stands before work that need not wait.
"""

PAUSE_SECONDS = 0.05
"""The least time between two rounds, so that a stream of wakes costs little."""

INDEX = """
CREATE INDEX work_orders_unassigned ON streams ((state->>'team'))
WHERE stream LIKE 'work-order/%' AND state->>'status' = 'queued' AND state->>'origin' = 'live'
"""
_UNASSIGNED = """
WITH queued AS MATERIALIZED (
    SELECT s.stream, s.state, s.case_key, s.state->>'team' AS team,
        coalesce(s.state->>'skill', '') AS skill,
        coalesce((s.state->>'skill_level')::int, 1) AS skill_level
    FROM streams s
    WHERE s.stream LIKE 'work-order/%' AND s.state->>'status' = 'queued'
        AND s.state->>'origin' = 'live' AND s.state->>'team' IS NOT NULL
), possible AS MATERIALIZED (
    SELECT team, skill, skill_level FROM (SELECT DISTINCT team, skill, skill_level FROM queued) w
    WHERE EXISTS (
        SELECT FROM agent_load l WHERE l.team = w.team AND l.available AND l.open < l.capacity
            AND (w.skill = '' OR (l.skills->>w.skill)::int >= w.skill_level)
    )
)
SELECT w.stream, w.state::text FROM queued w
LEFT JOIN possible p USING (team, skill, skill_level)
LEFT JOIN team_queue q ON q.key = w.case_key::uuid
ORDER BY p.team IS NULL AND w.state->>'excluded' IS NOT NULL,
    q.priority NULLS LAST, w.state->>'opened_at', w.stream LIMIT $1
"""
_CLAIM = """
SELECT stream FROM streams WHERE stream = ANY($1::text[])
ORDER BY stream FOR UPDATE SKIP LOCKED
"""
_LAST = """
SELECT e.stream, e.record FROM events e
JOIN unnest($1::text[], $2::int[]) AS h(stream, version)
    ON h.stream = e.stream AND h.version = e.version
"""
_LOG = structlog.get_logger("casebook.matcher")


class Crew:
    """The agents of some teams with what they hold, counting on as work is given to them."""

    def __init__(self, agents: Sequence[Workload]) -> None:
        self._teams: dict[str | None, dict[str, Workload]] = defaultdict(dict)
        for agent in agents:
            self._teams[agent.team][agent.agent] = agent

    def decide(self, order: WorkOrder) -> list[WorkOrderEvent]:
        """Return what follows for a queued work order: its agent, or why it has none."""
        team = self._teams[order.team]
        choice = matching.choose(order, team.values())
        if choice.agent is None:
            return assignment.queue(order, excluded=choice.explanation.excluded)
        events = assignment.assign(order, agent=choice.agent, explanation=choice.explanation)
        if events:
            chosen = team[choice.agent]
            team[choice.agent] = replace(chosen, open_items=chosen.open_items + 1)
        return events


@dataclass(frozen=True, slots=True)
class Matcher:
    """Matches the queued work of one database; several of them never get in each other's way."""

    database: Database
    store: Store
    clock: Clock
    signals: Signals
    poll_seconds: float

    async def run(self) -> None:
        """Match until cancelled."""
        woken = self.signals.applied.subscribe()
        loop = asyncio.get_running_loop()
        while True:
            await wait(woken, self.poll_seconds)
            began, decided = loop.time(), 0
            try:
                decided = await self.match()
            except (*INFRASTRUCTURE_ERRORS, *REBUILDING, Refused) as error:
                _LOG.warning("matcher.retrying", error=repr(error))
                await asyncio.sleep(self.poll_seconds)
            # A long queue that nobody can take must not keep a core busy at every wake.
            took = 0.0 if decided else loop.time() - began
            await asyncio.sleep(max(PAUSE_SECONDS, 4 * took))

    async def match(self) -> int:
        """Decide about all queued work once; return how many decisions there were."""
        planned = await self._plan()
        decided = 0
        for start in range(0, len(planned), ORDERS_MAX):
            async with self.database.transaction() as connection:
                decided += await self._decide(connection, planned[start : start + ORDERS_MAX])
            self.signals.outbox.set()
        if decided:
            self.signals.applied.set()
        return decided

    async def _plan(self) -> list[str]:
        """Return the streams of the work orders that something can be decided about."""
        async with self.database.background() as connection:
            rows = await connection.fetch(_UNASSIGNED, LOOK_MAX)
            if not rows:
                return []
            orders = {row[0]: self._order(row[0], row[1]) for row in rows}
            crew = Crew(await workloads(connection, _teams(orders)))
        return [stream for stream, order in orders.items() if crew.decide(order)]

    async def _decide(self, connection: Connection, planned: Sequence[str]) -> int:
        """Decide about those of the planned work orders that nobody else is busy with."""
        claimed = {row[0] for row in await connection.fetch(_CLAIM, list(planned))}
        streams = [stream for stream in planned if stream in claimed]
        work = self.store.begin(connection)
        await work.lock(streams)
        orders = {stream: self._state(work, stream) for stream in streams}
        crew = Crew(await workloads(connection, _teams(orders), lock=True))
        decisions = {
            stream: events for stream, order in orders.items() if (events := crew.decide(order))
        }
        causes = await self._causes(connection, work, list(decisions))
        for stream, events in decisions.items():
            await work.append(stream, work.head(stream).case_key, events, causes[stream])
        await work.flush()
        return len(decisions)

    async def _causes(
        self, connection: Connection, work: UnitOfWork, streams: Sequence[str]
    ) -> Mapping[str, Cause]:
        """Return why each stream gets its decision: its last fact left it without an agent."""
        versions = [work.head(stream).version for stream in streams]
        rows = await connection.fetch(_LAST, list(streams), versions)
        last = {row[0]: Envelope.from_record(row[1]) for row in rows}
        now = self.clock.now()
        return {
            stream: Cause(
                actor=f"service:{self.store.service.name}",
                causationid=last[stream].id,
                after=last[stream].recordedtime,
                time=now,
                traceparent=last[stream].traceparent,
            )
            for stream in streams
        }

    def _order(self, stream: str, text: str) -> WorkOrder:
        """Return the work order of a head row."""
        state = self.store.load_state(stream, text)
        assert isinstance(state, WorkOrder)
        return state

    def _state(self, work: UnitOfWork, stream: str) -> WorkOrder:
        """Return the work order under its lock."""
        state = work.head(stream).state
        assert isinstance(state, WorkOrder)
        return state


async def run_matcher(runtime: "Runtime") -> None:
    """Match the work of a running service; the service's background worker."""
    await Matcher(
        database=runtime.database,
        store=runtime.store,
        clock=runtime.clock,
        signals=runtime.signals,
        poll_seconds=runtime.settings.poll_seconds,
    ).run()


def _teams(orders: Mapping[str, WorkOrder]) -> list[str]:
    """Return the teams that have the work, each once."""
    return sorted({order.team for order in orders.values() if order.team is not None})
