"""How far a long verification has come, for the person who waits."""

import time
from collections.abc import Callable

QUIET_SECONDS = 5.0
Say = Callable[[str], None]


class Progress:
    """Says every five seconds how much was read, how fast, and how long the rest will take.

    What ends sooner says nothing; without ``say``, nothing is said at all.
    """

    def __init__(
        self, say: Say | None = None, label: str = "verify", seconds: float = QUIET_SECONDS
    ) -> None:
        self._say = say
        self._label = label
        self._seconds = seconds
        self._started = self._said = time.monotonic()
        self._total = 0
        self._done = 0

    def expect(self, count: int) -> None:
        """Expect so many more events or records."""
        self._total += count

    def done(self, count: int) -> None:
        """Count what was read."""
        self._done += count
        now = time.monotonic()
        if self._say is None or now - self._said < self._seconds:
            return
        self._said = now
        rate = self._done / (now - self._started)
        left = max(0, self._total - self._done) / rate if rate else 0.0
        self._say(
            f"{self._label}: {self._done:,} of {self._total:,} read, "
            f"{rate:,.0f}/s, about {left:,.0f} s left"
        )
