"""The stream families that dispatch writes, with their rules in one place (handbook 2.2)."""

from casebook.dispatch.domain import agent, published, team, work_order
from casebook.kit.decider import StreamFamily

WORK_ORDER = StreamFamily(
    name="work-order",
    initial=work_order.WorkOrder(),
    evolve=work_order.evolve,
    guard=published.guard,
    access=work_order.access,
)

TEAM = StreamFamily(
    name="team",
    initial=team.Team(),
    evolve=team.evolve,
    guard=team.guard,
    access=team.access,
)

AGENT = StreamFamily(
    name="agent",
    initial=agent.Agent(),
    evolve=agent.evolve,
    guard=agent.guard,
    access=agent.access,
)
