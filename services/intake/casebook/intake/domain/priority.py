"""Priority from impact scope and urgency (handbook 2.1), by the approved matrix."""

from casebook.events.definitions import PRIORITY_MATRIX, Definition, PriorityMatrix
from casebook.kit.decider import Refused

LEVELS = (1, 2, 3)
DEFAULT_LEVEL = 2
"""Assumption: what nobody assessed yet has medium impact and medium urgency."""


def resolve(impact: int, urgency: int, matrix: Definition[PriorityMatrix] = PRIORITY_MATRIX) -> int:
    """Return the priority, 1 (highest) to 4, of an impact and an urgency of 1 (high) to 3 (low).

    :raises Refused: ``unknown-level`` for anything else.
    """
    if impact not in LEVELS or urgency not in LEVELS:
        raise Refused("unknown-level", "impact and urgency are 1 (high), 2 (medium) or 3 (low)")
    return matrix.body.rows[impact - 1][urgency - 1]
