"""The control over closures: was every closing agreed with the requester (handbook 2.1, 3.4).

Assumption: the handbook ends a request with its final confirmation and knows no control of it;
a closing is agreed when, after the last proposed resolution, the requester confirmed, or was
told of the closure and the announced moment has come. What the closing says of itself (its
basis) is not believed but compared.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID, uuid5

from casebook.events.definitions import CLOSURE_CONTROL

Finding = Literal["not-agreed", "claim-not-backed"]
"""``claim-not-backed``: the closing claims an agreement that the log does not hold."""

_CLAIMS = ("confirmed", "announced")


def finding(
    *, basis: str, confirmed: bool, closes_at: datetime | None, closed_at: datetime
) -> Finding | None:
    """Return what is wrong with a closing; ``None`` when it was agreed.

    ``confirmed`` and ``closes_at`` are what the log holds since the last resolution.
    """
    if confirmed or (closes_at is not None and closes_at <= closed_at):
        return None
    return "claim-not-backed" if basis in _CLAIMS else "not-agreed"


def nonconformity_id(closing: UUID) -> UUID:
    """Return the id of the nonconformity about a closing, given the id of its event.

    It derives from the closing, so that looking twice can never raise two.
    """
    return uuid5(closing, f"nonconformity:{CLOSURE_CONTROL.id}")
