"""What dispatch does about facts of requests: opens, routes, reopens and cancels work.

Only live facts lead to anything; the kit never runs a reaction for observed history.
"""

from casebook.dispatch.domain import assignment, routing
from casebook.dispatch.domain.work_order import WorkOrder
from casebook.events.definitions import ROUTING
from casebook.events.request import (
    RequestCancelled,
    RequestClassified,
    RequestPrioritised,
    RequestReclassified,
    RequestReopened,
    RequestReprioritised,
    RequestSubmitted,
)
from casebook.events.work_order import WorkOrderEvent
from casebook.kit.decider import Fact, Reaction


def open_work_order(order: WorkOrder, fact: Fact) -> list[WorkOrderEvent]:
    """Open a work order for a submitted request (handbook 2.1, resource allocation)."""
    return assignment.open_for_request(order)


def route_work_order(order: WorkOrder, fact: Fact) -> list[WorkOrderEvent]:
    """Give the work to the team that the classification asks for (handbook 2.1)."""
    event = fact.event
    assert isinstance(event, RequestClassified | RequestReclassified)
    to = routing.find(ROUTING, problem_type=event.problem_type, category=event.category)
    return assignment.route(order, to=to)


def triage_work_order(order: WorkOrder, fact: Fact) -> list[WorkOrderEvent]:
    """Give unclassified work to the team that assesses it (handbook 2.1, needs assessment)."""
    event = fact.event
    assert isinstance(event, RequestPrioritised | RequestReprioritised)
    return assignment.triage(order, otherwise=routing.default(ROUTING), priority=event.priority)


def reopen_work_order(order: WorkOrder, fact: Fact) -> list[WorkOrderEvent]:
    """Open the work again when its request is reopened."""
    return assignment.reopen(order, otherwise=routing.default(ROUTING))


def cancel_work_order(order: WorkOrder, fact: Fact) -> list[WorkOrderEvent]:
    """Stop the work when its request is cancelled."""
    return assignment.cancel(order)


REACTIONS: tuple[Reaction, ...] = (
    Reaction(on=(RequestSubmitted,), family="work-order", decide=open_work_order),
    Reaction(
        on=(RequestClassified, RequestReclassified), family="work-order", decide=route_work_order
    ),
    Reaction(
        on=(RequestPrioritised, RequestReprioritised),
        family="work-order",
        decide=triage_work_order,
    ),
    Reaction(on=(RequestReopened,), family="work-order", decide=reopen_work_order),
    Reaction(on=(RequestCancelled,), family="work-order", decide=cancel_work_order),
)
"""Which fact leads to what."""
