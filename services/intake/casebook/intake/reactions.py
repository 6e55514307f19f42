"""What intake does about the facts of other services; never about observed history."""

from casebook.events.request import RequestEvent
from casebook.events.work_order import WorkOrderResolutionAmended, WorkOrderResolved
from casebook.intake.domain import lifecycle
from casebook.intake.domain.request import Request
from casebook.kit.decider import Fact, Reaction


def propose_resolution(request: Request, fact: Fact) -> list[RequestEvent]:
    """Ask the requester to confirm when dispatch says that the work is done (handbook 2.1)."""
    return lifecycle.propose_resolution(
        request,
        resolved_at=fact.envelope.time,
        amended=isinstance(fact.event, WorkOrderResolutionAmended),
    )


REACTIONS = (
    Reaction(
        on=(WorkOrderResolved, WorkOrderResolutionAmended),
        family="request",
        decide=propose_resolution,
    ),
)
