"""The stream families that intake writes, each with its rules (handbook 2.1, 2.4)."""

from casebook.intake.domain import closure, published, request, source
from casebook.kit.decider import StreamFamily

REQUEST = StreamFamily(
    name="request",
    initial=request.Request(),
    evolve=request.evolve,
    guard=published.guard,
    deadlines=closure.deadlines,
    on_deadline=closure.on_deadline,
    access=request.access,
)

SOURCE = StreamFamily(
    name="definition/source",
    initial=source.Source(),
    evolve=source.evolve,
    guard=source.guard,
)
