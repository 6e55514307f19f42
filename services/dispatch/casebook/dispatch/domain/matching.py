"""Matching: which agent gets a work order, and why (handbook 2.2).

Eligible is who is in the team, available, skilled enough and below capacity. Among them the
policy (:data:`casebook.events.definitions.MATCHING`) chooses by the fewest open work orders in
relation to capacity, the smallest surplus of skill, the longest time since the last assignment,
and at last by id. All arithmetic is exact, and the choice follows from the explanation alone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from casebook.dispatch.domain.work_order import WorkOrder
from casebook.events.definitions import MATCHING
from casebook.events.envelope import timestamp
from casebook.events.work_order import AssignmentExplanation, Candidate

CANDIDATES_MAX = 5
"""How many candidates an explanation shows."""


@dataclass(frozen=True, slots=True)
class Workload:
    """An agent as matching sees them: what they can, may and do hold open."""

    agent: str
    team: str
    capacity: int
    available: bool
    open_items: int
    skills: Mapping[str, int]
    last_assigned: datetime | None = None

    @property
    def free(self) -> int:
        """Return how many more work orders fit."""
        return max(0, self.capacity - self.open_items)


@dataclass(frozen=True, slots=True)
class Choice:
    """The agent whom matching chose, or none, with the reasons for it."""

    agent: str | None
    explanation: AssignmentExplanation


def choose(order: WorkOrder, agents: Iterable[Workload]) -> Choice:
    """Choose an agent for the work order among ``agents``."""
    excluded: Counter[str] = Counter()
    eligible: list[Candidate] = []
    for agent in agents:
        reason = obstacle(order, agent)
        if reason is None:
            eligible.append(_candidate(order, agent))
        else:
            excluded[reason] += 1
    explanation = AssignmentExplanation(
        policy=MATCHING.reference,
        considered=len(eligible) + excluded.total(),
        excluded=dict(sorted(excluded.items())),
        candidates=tuple(sorted(eligible, key=_rank)[:CANDIDATES_MAX]),
    )
    return Choice(agent=recompute(explanation), explanation=explanation)


def recompute(explanation: AssignmentExplanation) -> str | None:
    """Return the agent whom an explanation leads to, by its own terms; none if nobody could."""
    best = min(explanation.candidates, key=_rank, default=None)
    return None if best is None else best.agent


def obstacle(order: WorkOrder, agent: Workload) -> str | None:
    """Return the first reason why an agent cannot take the work; none if they can."""
    if agent.team != order.team:
        return "other-team"
    if not agent.available:
        return "unavailable"
    if order.skill is not None:
        level = agent.skills.get(order.skill)
        if level is None:
            return "skill-missing"
        if level < (order.skill_level or 1):
            return "skill-level"
    return "at-capacity" if agent.free == 0 else None


def _candidate(order: WorkOrder, agent: Workload) -> Candidate:
    """Return an eligible agent with every term of the choice."""
    surplus = 0
    if order.skill is not None:
        surplus = agent.skills[order.skill] - (order.skill_level or 1)
    return Candidate(
        agent=agent.agent,
        open_items=agent.open_items,
        capacity=agent.capacity,
        load_thousandths=agent.open_items * 1000 // agent.capacity,
        surplus_level=surplus,
        last_assigned="" if agent.last_assigned is None else timestamp(agent.last_assigned),
    )


def _rank(candidate: Candidate) -> tuple[Fraction, int, str, str]:
    """Return what candidates are compared by; the smallest is chosen.

    Moments compare as text, because all have one form, and never comes before every moment.
    """
    return (
        Fraction(candidate.open_items, candidate.capacity),
        candidate.surplus_level,
        candidate.last_assigned,
        candidate.agent,
    )
