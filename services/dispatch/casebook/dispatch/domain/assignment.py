"""Who has the work: teams by routing, agents by matching, both by a lead's word (handbook 2.2)."""

from collections.abc import Mapping
from dataclasses import replace

from casebook.dispatch.domain.handling import end_of_wait
from casebook.dispatch.domain.routing import Route
from casebook.dispatch.domain.rules import ensure_team, ensure_workable
from casebook.dispatch.domain.work_order import OPEN, UNTAKEN, Status, WorkOrder
from casebook.events.work_order import (
    AssignmentExplanation,
    WorkOrderAssignedToAgent,
    WorkOrderAssignedToTeam,
    WorkOrderCancelled,
    WorkOrderEvent,
    WorkOrderOpened,
    WorkOrderQueued,
    WorkOrderReassignedToAgent,
    WorkOrderReassignedToTeam,
    WorkOrderReleased,
    WorkOrderReopened,
    WorkOrderRequirementChanged,
)

# --- what a request leads to ----------------------------------------------------------------


def open_for_request(order: WorkOrder) -> list[WorkOrderEvent]:
    """Count the effort that a submitted request will need, once."""
    return [WorkOrderOpened()] if order.status is Status.UNKNOWN else []


def route(order: WorkOrder, *, to: Route) -> list[WorkOrderEvent]:
    """Give the work to the team that its classification asks for, and ask for its skill.

    Assumption: a corrected classification moves the work only while nobody has accepted it;
    later a lead decides. What another system works on is not moved.
    """
    if not order.live or order.status not in UNTAKEN:
        return []
    if order.team is None:
        return [first_team(order, to=to)]
    if order.team == to.team:
        return _require(order, to=to)
    return [
        *_release(order),
        WorkOrderReassignedToTeam(
            team=to.team,
            routing=to.routing,
            skill=to.skill,
            skill_level=to.skill_level,
        ),
    ]


def _require(order: WorkOrder, *, to: Route) -> list[WorkOrderEvent]:
    """Ask for another skill or level, and match again: who has the work may lack it.

    A team that a lead has chosen by hand keeps the work as it is.
    """
    if order.routing is None or (order.skill, order.skill_level) == (to.skill, to.skill_level):
        return []
    required = WorkOrderRequirementChanged(
        routing=to.routing, skill=to.skill, skill_level=to.skill_level
    )
    return [*_release(order), required]


def triage(order: WorkOrder, *, otherwise: Route, priority: int | None) -> list[WorkOrderEvent]:
    """Give work that nobody has classified to a team that will assess the request.

    Assumption: without this nobody but an administrator would see the request, because a team
    has to have it first. Its priority comes after the classification that it was submitted with.
    """
    if not order.live or order.status not in UNTAKEN or order.team is not None:
        return []
    return [first_team(replace(order, priority=priority), to=otherwise)]


def reopen(order: WorkOrder, *, otherwise: Route) -> list[WorkOrderEvent]:
    """Open the work again: its team keeps it, and matching looks for an agent anew.

    History that another system published becomes live by this; work that never had a team, or
    lost it, is routed to ``otherwise``.
    """
    if order.live and order.status in OPEN:
        return []
    if order.status is Status.UNKNOWN:
        return [WorkOrderOpened(), first_team(order, to=otherwise)]
    events: list[WorkOrderEvent] = [*end_of_wait(order), WorkOrderReopened()]
    if order.agent is not None:
        events.append(WorkOrderReleased())
    if order.team is None:
        events.append(first_team(order, to=otherwise))
    return events


def cancel(order: WorkOrder) -> list[WorkOrderEvent]:
    """Stop the work of a cancelled request; what is resolved stays resolved."""
    if order.status not in OPEN:
        return []
    return [*end_of_wait(order), WorkOrderCancelled()]


def first_team(order: WorkOrder, *, to: Route) -> WorkOrderAssignedToTeam:
    """Return the fact that brings work to a team from none; ``initial`` if it never had one."""
    return WorkOrderAssignedToTeam(
        team=to.team,
        initial=not order.had_team,
        routing=to.routing,
        skill=to.skill,
        skill_level=to.skill_level,
        priority=order.priority,
    )


# --- what the matcher does ------------------------------------------------------------------


def unassigned(order: WorkOrder) -> bool:
    """Say whether matching has to look for an agent."""
    return (
        order.live
        and order.status is Status.QUEUED
        and order.team is not None
        and order.agent is None
    )


def assign(
    order: WorkOrder, *, agent: str, explanation: AssignmentExplanation
) -> list[WorkOrderEvent]:
    """Give the work to the agent whom matching chose, if it still has none."""
    if not unassigned(order):
        return []
    return [WorkOrderAssignedToAgent(agent=agent, explanation=explanation)]


def queue(order: WorkOrder, *, excluded: Mapping[str, int]) -> list[WorkOrderEvent]:
    """Record why nobody could take the work, unless that is known already."""
    if not unassigned(order) or order.excluded == excluded:
        return []
    return [WorkOrderQueued(excluded=dict(excluded))]


# --- what people decide ---------------------------------------------------------------------


def reassign_to_agent(order: WorkOrder, *, agent: str, reason: str) -> list[WorkOrderEvent]:
    """Give the work to a certain agent, who still has to accept it.

    :raises Refused: ``not-routed``, or because there is nothing to do here.
    """
    ensure_workable(order)
    ensure_team(order)
    if order.agent == agent:
        return []
    if order.agent is None:
        return [WorkOrderAssignedToAgent(agent=agent, reason=reason)]
    return [*end_of_wait(order), WorkOrderReassignedToAgent(agent=agent, reason=reason)]


def reassign_to_team(order: WorkOrder, *, team: str, reason: str) -> list[WorkOrderEvent]:
    """Give the work to another team, where matching looks for an agent.

    Assumption: the skill that the routing asked for is one of the former team, so the new one
    may give it to anybody.

    :raises Refused: because there is nothing to do here.
    """
    ensure_workable(order)
    if order.team is None:
        return [WorkOrderAssignedToTeam(team=team, initial=not order.had_team, reason=reason)]
    if order.team == team:
        return []
    return [*_release(order), WorkOrderReassignedToTeam(team=team, reason=reason)]


def release(order: WorkOrder) -> list[WorkOrderEvent]:
    """Give the work back to the team's queue, where matching looks for an agent.

    :raises Refused: because there is nothing to do here.
    """
    ensure_workable(order)
    return _release(order)


def _release(order: WorkOrder) -> list[WorkOrderEvent]:
    """Return the facts that leave open work without an agent."""
    if order.agent is None:
        return []
    return [*end_of_wait(order), WorkOrderReleased()]
