"""The candidate rule: a service that breaches its resolution target too often (handbook 5.1).

Assumption: handbook 5.1 has only a heading. A request's resolution clock counts once: when it
stopped, or breached, within the window; it counts as breached when a breach of it stands, that
is, was not withdrawn. The service is a candidate when the lower end of the 95 % Wilson interval
of that rate is above the tolerance; it has recovered when it no longer is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID, uuid5

from casebook.events.definitions import BREACH_RATE_RULE
from casebook.risk.domain.wilson import lower_bound_millionths

UNSPECIFIED = "unspecified"
"""The service of requests that name none."""
EVIDENCE_MAX = 4_000
"""How many breaches an event can name."""
_CANDIDATES = UUID("0b1f8f0e-4f0e-5d0e-9c5b-3a6d1f6f0d52")


@dataclass(frozen=True, slots=True)
class ResolutionClock:
    """One request's resolution clock: when it stopped, and the breach of it that stands."""

    stopped_at: datetime | None = None
    breached_at: datetime | None = None
    breach: UUID | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """How many clocks were measured, and how many of them breached."""

    measured: int
    breached: int

    @property
    def lower_bound_millionths(self) -> int:
        """Return the lower end of the 95 % Wilson interval of the rate."""
        return lower_bound_millionths(self.breached, self.measured)

    @property
    def tolerated(self) -> bool:
        """Say whether the rate may still be within the tolerance."""
        return self.lower_bound_millionths <= BREACH_RATE_RULE.body.tolerance_millionths

    @property
    def alarming(self) -> bool:
        """Say whether the service is a candidate: surely above, from enough clocks."""
        return self.measured >= BREACH_RATE_RULE.body.measured_min and not self.tolerated


@dataclass(frozen=True, slots=True)
class Measurement:
    """The rate of one service in one window, and the breaches that it counts in their order."""

    window_start: datetime
    window_end: datetime
    rate: Rate
    evidence: tuple[UUID, ...]


def window_start(end: datetime) -> datetime:
    """Return the moment after which a clock must end to count in the window up to ``end``."""
    return end - timedelta(days=BREACH_RATE_RULE.body.window_days)


def measure(clocks: Sequence[ResolutionClock], *, start: datetime, end: datetime) -> Measurement:
    """Measure the clocks of one service, in a window from after ``start`` to ``end``.

    With more breaches than an event can name the window begins later, so that the evidence is
    always all of what was counted.
    """
    ended = [(at, clock.breach) for clock in clocks if (at := _ended_at(clock, start, end))]
    breaches = sorted((at, breach) for at, breach in ended if breach is not None)
    if len(breaches) > EVIDENCE_MAX:
        return measure(clocks, start=breaches[-EVIDENCE_MAX - 1][0], end=end)
    return Measurement(
        window_start=start,
        window_end=end,
        rate=Rate(measured=len(ended), breached=len(breaches)),
        evidence=tuple(breach for _, breach in breaches),
    )


def _ended_at(clock: ResolutionClock, start: datetime, end: datetime) -> datetime | None:
    """Return when the clock stopped or breached within the window; ``None`` when it did not."""
    for moment in (clock.stopped_at, clock.breached_at):
        if moment is not None and start < moment <= end:
            return moment
    return None


def candidate_id(service: str, generation: int) -> UUID:
    """Return the id of a service's candidate; ``generation`` counts those that have recovered.

    It derives from both, so that looking twice can never raise two.
    """
    return uuid5(_CANDIDATES, f"{BREACH_RATE_RULE.id}:{service}:{generation}")


def current_candidate(service: str, recovered: Mapping[UUID, bool]) -> tuple[UUID, bool]:
    """Return the id of a service's open candidate, or of its next one, and whether it is open.

    ``recovered`` says of every candidate that was ever raised whether it has recovered.
    """
    for generation in count():
        candidate = candidate_id(service, generation)
        if not recovered.get(candidate, False):
            return candidate, candidate in recovered
    raise AssertionError("unreachable")
