"""Interleaved measurements of the product, its limit and its peers, and what is said about them.

All sides are measured in turns, so that what the machine does beside them falls on each, and the
order changes from turn to turn. Each measurement counts in the database what it has done: a bench
that does nothing fails.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

PAIRS_MIN = 3
LIMIT = "limit"
"""The name of the limit among the other sides of a turn."""

Report = Callable[[str], None]
"""Called with a line about how far a bench is."""


class BadBench(RuntimeError):
    """A bench did not do what it was to measure, or not under the same conditions."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: so many turns, of ``scale`` times the usual amount of work."""

    pairs: int = PAIRS_MIN
    scale: float = 1.0

    def amount(self, usual: int, *, least: int = 1) -> int:
        """Return how much work ``usual`` is at this scale."""
        return max(least, round(usual * self.scale))


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement: ``events`` counted in the database, ``seconds`` by the wall clock.

    ``notes`` are further figures by name, with the unit last in it.
    """

    events: int
    seconds: float
    notes: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def rate(self) -> float:
        """Return the events of a second."""
        return self.events / self.seconds

    def figure(self, name: str) -> float:
        """Return one of its figures: the ``rate``, or a note."""
        return self.rate if name == "rate" else self.notes[name]


@dataclass(frozen=True, slots=True)
class Turn:
    """All sides of a bench, measured one after the other; the others by name."""

    product: Run
    others: Mapping[str, Run]


Measure = Callable[[], Awaitable[Run]]


@dataclass(frozen=True, slots=True)
class Peer:
    """What somebody would use instead, as released; ``target`` is how many times faster we aim."""

    name: str
    what: str
    target: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What a figure of the product may be at most, in its unit or as so many times the limit's."""

    figure: str
    at_most: float
    times_limit: bool = False


@dataclass(frozen=True, slots=True)
class Bench:
    """One bench: what is measured, beside what, and what is aimed at (``None``: nothing).

    ``target`` is the least ratio to the limit. ``figure`` is what ratios are of: the rate, where
    more is better, or a note, where less is.
    """

    name: str
    product: str
    limit: str | None
    target: float | None
    measure: Callable[[Effort, Report], Awaitable["Measured"]]
    peers: tuple[Peer, ...] = ()
    budgets: tuple[Budget, ...] = ()
    unit: str = "events/s"
    figure: str = "rate"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a bench found, and the settings of the PostgreSQL that it ran on."""

    turns: Sequence[Turn]
    server: Mapping[str, str]


async def interleaved(
    effort: Effort,
    product: Measure,
    others: Mapping[str, Measure],
    say: Report,
    figure: str = "rate",
) -> list[Turn]:
    """Measure in turns; every other turn goes backwards. ``figure`` is what is said of each."""
    sides = {"product": product, **others}
    turns: list[Turn] = []
    for number in range(effort.pairs):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        found = {name: await sides[name]() for name in order}
        turns.append(Turn(found["product"], {name: found[name] for name in others}))
        say(described(number, turns[-1], figure))
    return turns


async def turn_by_turn(
    effort: Effort,
    turn: Callable[[], Awaitable[tuple[Turn, Mapping[str, str]]]],
    say: Report,
    figure: str = "rate",
) -> Measured:
    """Measure where a turn needs a home of its own; it returns the settings of its server, too."""
    turns: list[Turn] = []
    settings: Mapping[str, str] = {}
    for number in range(effort.pairs):
        found, settings = await turn()
        turns.append(found)
        say(described(number, found, figure))
    return Measured(turns, settings)


def described(number: int, turn: Turn, figure: str = "rate") -> str:
    """Return a line about a turn."""
    sides = {"Casebook": turn.product, **turn.others}
    figures = (f"{name} {run.figure(figure):,.4g}" for name, run in sides.items())
    return f"turn {number + 1}: {', '.join(figures)} ({figure})"


def check(what: str, found: int, expected: int) -> int:
    """Return what was counted.

    :raises BadBench: when it is not what the bench was to do.
    """
    if found != expected:
        raise BadBench(f"the bench wrote {found:,} {what} instead of {expected:,}")
    return found


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median and the 95th percentile of some latencies by nearest rank, ms."""
    ordered = sorted(seconds)
    return {
        f"p{share}_ms": 1000 * ordered[-(-len(ordered) * share // 100) - 1] for share in (50, 95)
    }
