"""What a piece of fuzzing has done: how many cases of what kind, and what went wrong."""

from collections import Counter
from dataclasses import dataclass, field

FAILURES_KEPT = 50


@dataclass
class Outcome:
    """Counts and failures; two of them add up."""

    cases: Counter[str] = field(default_factory=Counter[str])
    answers: Counter[str] = field(default_factory=Counter[str])
    done: Counter[str] = field(default_factory=Counter[str])
    """How often an operation took something nasty as what it is, a text like any other."""

    failures: list[str] = field(default_factory=list[str])

    @property
    def total(self) -> int:
        """Return how many cases there were."""
        return self.cases.total()

    def fail(self, what: str) -> None:
        """Keep a failure; of very many, the first."""
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(what[:1_000])

    def add(self, other: "Outcome") -> None:
        """Take over what another has done."""
        self.cases += other.cases
        self.answers += other.answers
        self.done += other.done
        self.failures += other.failures[: FAILURES_KEPT - len(self.failures)]
