"""The targets of a priority, 24 × 7 (decisions 7.3; handbook 2.1 and 2.2 give no more than means).

Assumption: see ``SERVICE_LEVELS`` in ``casebook.events.definitions``.
"""

from typing import Literal

from casebook.events.definitions import SERVICE_LEVELS

PAUSING_REASON = "customer"
"""Of all reasons to wait, the one that is not our time (decisions 7.3)."""


def target_seconds(clock: Literal["response", "resolution"], priority: int) -> int:
    """Return the target in seconds of a priority, 1 (the highest) to 4."""
    levels = SERVICE_LEVELS.body
    targets = levels.response_seconds if clock == "response" else levels.resolution_seconds
    return targets[priority - 1]
