"""How big a risk is: likelihood × impact on a 5 × 5 scale (handbook 5.1).

Assumption: handbook 5.1 has only a heading; the product scale is the one that people know, and
serves communication. It is an approved definition, so that a rating names what it was made by.
"""

from casebook.events.definitions import RISK_SCALE

RATINGS = tuple(name for name, _ in RISK_SCALE.body.ratings)
"""The ratings, from the lowest to the highest."""


def score_of(likelihood: int, impact: int) -> int:
    """Return the score, 1 to 25."""
    return likelihood * impact


def rating_of(score: int) -> str:
    """Return the rating that a score has: the last one that begins at or below it."""
    return [name for name, score_min in RISK_SCALE.body.ratings if score_min <= score][-1]
