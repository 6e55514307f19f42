"""Wilson's score interval: how sure a share is, for few answers too (handbook 1.3, 3.2).

The usual interval (Wald's) promises 95 % and holds far less for small numbers and for shares
near 0 or 1, which satisfaction is; Wilson's stays within 0 and 1 (Newcombe 1998, method 3).
"""

from dataclasses import dataclass
from math import sqrt

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution, for a two-sided 95 %."""


@dataclass(frozen=True, slots=True)
class Interval:
    """The two ends of an interval of shares, 0 to 1."""

    low: float
    high: float


def interval(successes: int, n: int, *, z: float = Z_95) -> Interval | None:
    """Return the interval of the share ``successes / n``; ``None`` when ``n`` is 0.

    :raises ValueError: when ``successes`` is not within 0 and ``n``.
    """
    if not 0 <= successes <= n:
        raise ValueError("successes lie between 0 and n")
    if n == 0:
        return None
    square = z * z
    centre = 2 * successes + square
    spread = z * sqrt(square + 4 * successes * (n - successes) / n)
    whole = 2 * (n + square)
    # The exact ends of no and of every success, which rounding would miss by an ulp.
    low = 0.0 if successes == 0 else (centre - spread) / whole
    high = 1.0 if successes == n else (centre + spread) / whole
    return Interval(low=low, high=high)
