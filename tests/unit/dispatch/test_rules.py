"""What every rule about a work order asks first, question by question over all its states."""

from collections.abc import Callable

import pytest

from casebook.dispatch.domain import rules
from casebook.dispatch.domain.work_order import WorkOrder
from tests.unit.dispatch.given import (
    ACCEPTED_ORDER,
    ASSIGNED_ORDER,
    CANCELLED_ORDER,
    OBSERVED_ORDER,
    QUEUED_ORDER,
    RESOLVED_ORDER,
    STARTED_ORDER,
    UNROUTED_ORDER,
    WAITING_ORDER,
    refusal,
)

UNKNOWN = WorkOrder()
TAKEN = (ACCEPTED_ORDER, STARTED_ORDER, WAITING_ORDER)
UNTAKEN = (UNROUTED_ORDER, QUEUED_ORDER, ASSIGNED_ORDER)
OVER = (RESOLVED_ORDER, CANCELLED_ORDER)

# A question, the states that it accepts, and what it says to others.
QUESTIONS = [
    (rules.ensure_known, (*UNTAKEN, *TAKEN, *OVER), {"work-order-unknown": (UNKNOWN,)}),
    (
        rules.ensure_open,
        (*UNTAKEN, *TAKEN),
        {"already-resolved": (RESOLVED_ORDER,), "work-order-cancelled": (CANCELLED_ORDER,)},
    ),
    (
        rules.ensure_ours,
        (*UNTAKEN, *TAKEN, *OVER),
        {"work-order-unknown": (UNKNOWN,), "observed-history": (OBSERVED_ORDER,)},
    ),
    (
        rules.ensure_workable,
        (*UNTAKEN, *TAKEN),
        {
            "work-order-unknown": (UNKNOWN,),
            "observed-history": (OBSERVED_ORDER,),
            "already-resolved": (RESOLVED_ORDER,),
            "work-order-cancelled": (CANCELLED_ORDER,),
        },
    ),
    (rules.ensure_taken, TAKEN, {"not-accepted": (*UNTAKEN, *OVER)}),
    (rules.ensure_untaken, UNTAKEN, {"already-accepted": TAKEN}),
    (
        rules.ensure_started,
        (STARTED_ORDER, WAITING_ORDER),
        {"not-accepted": UNTAKEN, "not-started": (ACCEPTED_ORDER,)},
    ),
    (
        rules.ensure_not_waiting,
        (*UNTAKEN, ACCEPTED_ORDER, STARTED_ORDER),
        {"already-waiting": (WAITING_ORDER,)},
    ),
    (rules.ensure_waiting, (WAITING_ORDER,), {"not-waiting": (ACCEPTED_ORDER, STARTED_ORDER)}),
    (rules.ensure_team, (QUEUED_ORDER, *TAKEN), {"not-routed": (UNROUTED_ORDER,)}),
    (rules.ensure_no_team, (UNROUTED_ORDER,), {"already-routed": (QUEUED_ORDER, *TAKEN)}),
    (rules.ensure_agent, (ASSIGNED_ORDER, *TAKEN), {"not-assigned": (QUEUED_ORDER,)}),
    (rules.ensure_no_agent, (UNROUTED_ORDER, QUEUED_ORDER), {"already-assigned": TAKEN}),
]


@pytest.mark.parametrize(
    ("ensure", "accepted", "refused"), QUESTIONS, ids=[row[0].__name__ for row in QUESTIONS]
)
def test_a_question_accepts_or_says_why_not(
    ensure: Callable[[WorkOrder], None],
    accepted: tuple[WorkOrder, ...],
    refused: dict[str, tuple[WorkOrder, ...]],
) -> None:
    for order in accepted:
        ensure(order)
    for code, orders in refused.items():
        for order in orders:
            assert refusal(lambda order=order: ensure(order)) == code


def test_every_question_is_asked_here() -> None:
    assert {row[0].__name__ for row in QUESTIONS} == {
        name for name in vars(rules) if name.startswith("ensure_")
    }
