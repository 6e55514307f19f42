"""What a verification found."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

DIFFERENCES_MAX = 200
REASON_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where the tables do not say what the log says."""

    service: str
    table: str
    key: str
    column: str
    reason: str


@dataclass(slots=True)
class Report:
    """What was checked, and what was found."""

    events: int = 0
    streams: int = 0
    projections: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])

    def add(self, service: str, table: str, key: object, column: str, reason: str) -> None:
        """Remember a difference; beyond 200 they are not listed any more."""
        if len(self.differences) < DIFFERENCES_MAX:
            difference = Difference(service, table, str(key), column, reason[:REASON_LENGTH_MAX])
            self.differences.append(difference)

    @classmethod
    def merged(cls, reports: Iterable["Report"]) -> "Report":
        """Return what several checks of one database found, each difference once."""
        total = cls()
        found: dict[Difference, None] = {}
        for report in reports:
            total.events += report.events
            total.streams += report.streams
            total.projections += report.projections
            found |= dict.fromkeys(report.differences)
        total.differences = list(found)[:DIFFERENCES_MAX]
        return total

    def as_dict(self) -> dict[str, Any]:
        """Return the report in the form of decisions §8."""
        return {"ok": not self.differences, **asdict(self)}
