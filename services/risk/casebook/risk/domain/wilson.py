"""The lower end of Wilson's 95 % interval in millionths, by integers alone (handbook 5.1).

What goes into an event has to come out the same on every machine and for ever, so no floating
point takes part. The result is rounded down: the rule it serves rather misses than imagines.
"""

from math import isqrt

MILLION = 10**6
_SCALE = 10**12
_SQUARE = 3_841_458_820_694
"""z² for 95 %, in units of 1 / ``_SCALE``: the square of 1.959963984540."""


def lower_bound_millionths(successes: int, n: int) -> int:
    """Return the lower end for the rate ``successes / n``, 0 to 1,000,000; 0 when ``n`` is 0.

    :raises ValueError: when ``successes`` is not within 0 and ``n``.
    """
    if not 0 <= successes <= n:
        raise ValueError("successes lie between 0 and n")
    if successes == 0:
        return 0
    # (2k + z² − sqrt(z⁴ + 4 z² k (n − k) / n)) / (2 (n + z²)), every term times _SCALE.
    under = _SQUARE * _SQUARE + 4 * _SQUARE * _SCALE * successes * (n - successes) // n
    numerator = 2 * successes * _SCALE + _SQUARE - (isqrt(under) + 1)
    return max(0, numerator * MILLION // (2 * (n * _SCALE + _SQUARE)))
