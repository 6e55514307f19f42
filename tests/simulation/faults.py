"""What can go wrong at a touch of the outside, how often, and what it is called.

Every seed draws its own mix: some faults often, most rarely, others never. A schedule in which
everything fails all the time hides as much as one in which nothing does.
"""

import random
from dataclasses import dataclass

FAULTS = (
    "lose",  # the connection breaks before the statement, or the commit, reached the server
    "lose-answer",  # the commit happened, or the log has the batch; the caller sees an error
    "kill",  # the process ends here; what it held open is rolled back
    "kill-after",  # the commit happened, or the log has the batch; then the process ends
    "still",  # the process stands still for a while, its locks held
    "zombie",  # it stands still and is declared dead: its sessions end, a successor starts
    "second",  # another process of the service starts beside it: two relays, two readers
    "clock",  # the wall clock jumps, mostly forward, by seconds to days
    "rewind",  # the reader gets old records again
)
_AT = {
    "statement": ("lose", "kill", "still", "zombie", "second", "clock"),
    "lock": ("kill", "still", "zombie"),
    "commit": ("lose", "lose-answer", "kill", "kill-after", "still", "zombie"),
    "send": ("lose", "kill", "still", "zombie", "second"),
    "ack": ("lose-answer", "kill-after", "still", "zombie"),
    "poll": ("lose", "kill", "still", "rewind", "second"),
    "heads": ("lose", "still"),
}
FAULTS_OF_CALLS = tuple(
    fault for fault in FAULTS if any(fault in _AT[kind] for kind in ("statement", "lock", "commit"))
)
"""Those that can hit a call: the others hit what the relay and the reader do."""

_COMMON = 0.35
_RATE_MAX = 0.05


@dataclass(slots=True)
class FaultMix:
    """The faults of one seed: for each kind of touch, which, and how often."""

    rates: dict[str, float]
    choices: dict[str, tuple[str, ...]]

    @classmethod
    def draw(cls, rng: random.Random) -> "FaultMix":
        """Return the mix of a seed."""
        used = {fault for fault in FAULTS if rng.random() < _COMMON} or {rng.choice(FAULTS)}
        rate = rng.random() ** 2 * _RATE_MAX
        choices = {kind: tuple(f for f in faults if f in used) for kind, faults in _AT.items()}
        # Where most is at stake there are few touches.
        rates = {
            kind: rate * (1 if kind == "statement" else 4)
            for kind, faults in choices.items()
            if faults
        }
        return cls(rates, choices)

    def choose(self, kind: str, rng: random.Random) -> str | None:
        """Return what goes wrong at a touch; mostly nothing."""
        if rng.random() >= self.rates.get(kind, 0.0):
            return None
        return rng.choice(self.choices[kind])
