"""What every rule about a work order asks first; commands and published facts share it.

Each function accepts, or says no with a code of its own (handbook 2.2, 2.3).
"""

from casebook.dispatch.domain.work_order import TAKEN, Status, WorkOrder
from casebook.kit.decider import Refused


def ensure_known(order: WorkOrder) -> None:
    """Accept a work order that exists; else ``work-order-unknown``."""
    if order.status is Status.UNKNOWN:
        raise Refused("work-order-unknown", "no request needs work under this id")


def ensure_open(order: WorkOrder) -> None:
    """Accept work that is still to do; else ``already-resolved`` or ``work-order-cancelled``."""
    if order.status is Status.RESOLVED:
        raise Refused("already-resolved", "the work is done; only a reopened request goes on")
    if order.status is Status.CANCELLED:
        raise Refused("work-order-cancelled", "the request was cancelled; nothing is left to do")


def ensure_ours(order: WorkOrder) -> None:
    """Accept work that people do here; else ``work-order-unknown`` or ``observed-history``."""
    ensure_known(order)
    if not order.live:
        raise Refused(
            "observed-history",
            "another system does this work; a reopened request is worked on here",
        )


def ensure_workable(order: WorkOrder) -> None:
    """Accept open work that people do here; else the code of what is wrong with it."""
    ensure_ours(order)
    ensure_open(order)


def ensure_taken(order: WorkOrder) -> None:
    """Accept work that an agent has accepted; else ``not-accepted``."""
    if order.status not in TAKEN:
        raise Refused("not-accepted", "no agent has accepted the work yet")


def ensure_untaken(order: WorkOrder) -> None:
    """Accept work that no agent has accepted; else ``already-accepted``."""
    if order.status in TAKEN:
        raise Refused("already-accepted", "an agent has accepted the work already")


def ensure_started(order: WorkOrder) -> None:
    """Accept work that has begun, even if it waits; else ``not-accepted`` or ``not-started``."""
    ensure_taken(order)
    if order.status is Status.ACCEPTED:
        raise Refused("not-started", "the work has not begun")


def ensure_not_waiting(order: WorkOrder) -> None:
    """Accept work that does not wait; else ``already-waiting``."""
    if order.status is Status.WAITING:
        raise Refused("already-waiting", f"the work waits: {order.waiting_reason}")


def ensure_waiting(order: WorkOrder) -> None:
    """Accept work that waits; else ``not-waiting``."""
    if order.status is not Status.WAITING:
        raise Refused("not-waiting", "the work does not wait for anything")


def ensure_team(order: WorkOrder) -> None:
    """Accept work that a team has; else ``not-routed``."""
    if order.team is None:
        raise Refused("not-routed", "the work has no team yet")


def ensure_no_team(order: WorkOrder) -> None:
    """Accept work that no team has; else ``already-routed``."""
    if order.team is not None:
        raise Refused("already-routed", "a team has the work; this would be a change of teams")


def ensure_agent(order: WorkOrder) -> None:
    """Accept work that an agent has; else ``not-assigned``."""
    if order.agent is None:
        raise Refused("not-assigned", "no agent has the work")


def ensure_no_agent(order: WorkOrder) -> None:
    """Accept work that no agent has; else ``already-assigned``."""
    if order.agent is not None:
        raise Refused("already-assigned", "an agent has the work; this would be a change of agents")
