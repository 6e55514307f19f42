"""Definitions in their first version: the approved data that decisions are taken under.

A definition belongs to the service whose decisions it governs. Version 1 ships here, is the same
in every service, and is effective from the beginning; later versions travel as events. The event
of a decision carries the id and version it used, with the resolved values.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from casebook.events.values import DefinitionReference

Body_co = TypeVar("Body_co", covariant=True)

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Before every event: what the first versions are effective from."""


@dataclass(frozen=True, slots=True)
class Definition(Generic[Body_co]):
    """One approved version of a definition, valid from ``effective_from`` until the next."""

    id: str
    version: int
    effective_from: datetime
    body: Body_co

    @property
    def reference(self) -> DefinitionReference:
        """Return what the event of a decision names it by."""
        return DefinitionReference(id=self.id, version=self.version)


# --- intake -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PriorityMatrix:
    """Impact × urgency → priority; ``rows[impact - 1][urgency - 1]``, where 1 is the highest."""

    rows: tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]


PRIORITY_MATRIX = Definition(
    id="priority-matrix",
    version=1,
    effective_from=BEGINNING,
    body=PriorityMatrix(rows=((1, 2, 3), (2, 3, 4), (3, 4, 4))),
)
"""Assumption: the sum of impact and urgency decides: 2 → 1, 3 → 2, 4 → 3, 5 and 6 → 4.

Handbook 2.1 names impact scope and urgency as what requests are classified by, and no formula.
"""


@dataclass(frozen=True, slots=True)
class ClosurePolicy:
    """When a resolution that nobody answers ends the request, in days after it was proposed.

    Between the two, the requester has notice.
    """

    announced_days: int
    closed_days: int


CLOSURE_POLICY = Definition(
    id="closure-policy",
    version=1,
    effective_from=BEGINNING,
    body=ClosurePolicy(announced_days=4, closed_days=5),
)
"""Assumption: announced after four days without an answer, closed after five.

Handbook 2.1 ends a request with its final confirmation, and does not say what to do without one.
"""

# --- quality ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SatisfactionSurvey:
    """One question, answered from 1 to ``scale_max``; satisfied from ``satisfied_min`` on."""

    scale_max: int
    satisfied_min: int


CLOSURE_SURVEY = Definition(
    id="closure-survey",
    version=1,
    effective_from=BEGINNING,
    body=SatisfactionSurvey(scale_max=5, satisfied_min=4),
)
"""Assumption: one question after every closure, satisfied are 4 and 5 of 5.

Handbook 1.3 asks for regular satisfaction surveys and names no scale.
"""


@dataclass(frozen=True, slots=True)
class Control:
    """What a control demands of every case, and how grave a failure is."""

    title: str
    clause: str
    grade: str


CLOSURE_CONTROL = Definition(
    id="closure-agreed",
    version=1,
    effective_from=BEGINNING,
    body=Control(
        title="No request is closed that was not confirmed or whose closure was not announced",
        clause="handbook 2.1 (final confirmation), 3.4",
        grade="major",
    ),
)
"""Assumption: announced counts from the announced moment on; a failure is a major one.

Handbook 2.1 ends a request with its final confirmation, and 3.4 has only a heading.
"""

# --- risk ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RiskScale:
    """Score = likelihood × impact, 1 to 5 each; a rating begins at its score, lowest first."""

    ratings: tuple[tuple[str, int], ...]


RISK_SCALE = Definition(
    id="risk-scale",
    version=1,
    effective_from=BEGINNING,
    body=RiskScale(ratings=(("low", 1), ("medium", 5), ("high", 10), ("extreme", 20))),
)
"""Assumption: the 5 × 5 product scale; of handbook 5.1 only the heading is known."""


@dataclass(frozen=True, slots=True)
class BreachRateRule:
    """When breaches of the resolution target make a service a candidate risk.

    ``measured_min`` clocks are needed in a window of ``window_days``; the tolerance is a rate.
    """

    window_days: int
    measured_min: int
    tolerance_millionths: int


BREACH_RATE_RULE = Definition(
    id="resolution-breach-rate",
    version=1,
    effective_from=BEGINNING,
    body=BreachRateRule(window_days=28, measured_min=20, tolerance_millionths=100_000),
)
"""Assumption: the 95 % Wilson lower bound of 28 days against a tolerated rate of 10 %.

Handbook 5.1 names risk identification, and no rule.
"""

# --- monitoring ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServiceLevels:
    """Targets by priority, 1 to 4, in seconds of 24 × 7 time; a warning at a share of them."""

    response_seconds: tuple[int, int, int, int]
    resolution_seconds: tuple[int, int, int, int]
    warning_percent: int


SERVICE_LEVELS = Definition(
    id="service-levels",
    version=1,
    effective_from=BEGINNING,
    body=ServiceLevels(
        response_seconds=(15 * 60, 30 * 60, 2 * 3600, 4 * 3600),
        resolution_seconds=(4 * 3600, 8 * 3600, 24 * 3600, 48 * 3600),
        warning_percent=75,
    ),
)
"""Assumption: one policy for all, around the clock, warned at 75 % and breached above 100 %.

Handbook 2.1 gives about 24 hours as the mean handling time and up to 48 at peak, and 2.2 a set
time to respond in; the targets of the single priorities are ours.
"""

# --- dispatch -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RoutingRow:
    """Requests of this problem type and category go to this team; ``None`` matches everything.

    ``skill`` at ``level`` (1 to 5) is what an agent needs; without one, anybody will do.
    """

    team: str
    problem_type: str | None = None
    category: str | None = None
    skill: str | None = None
    level: int | None = None


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Rows in the order they are searched: the first match wins, the last matches everything.

    Building one raises ``ValueError`` if another row than the last matches everything, or the
    last does not.
    """

    rows: tuple[RoutingRow, ...]

    def __post_init__(self) -> None:
        """Check that one default row ends the search."""
        defaults = [row.problem_type is None and row.category is None for row in self.rows]
        if not defaults or not defaults[-1] or any(defaults[:-1]):
            raise ValueError("a routing table ends with its one default row")


ROUTING = Definition(
    id="routing",
    version=1,
    effective_from=BEGINNING,
    body=RoutingTable(
        rows=(
            RoutingRow(
                problem_type="infrastructure-maintenance",
                category="network",
                team="network",
                skill="networking",
                level=3,
            ),
            RoutingRow(
                problem_type="infrastructure-maintenance",
                team="network",
                skill="infrastructure",
                level=2,
            ),
            RoutingRow(
                problem_type="system-configuration-management",
                team="network",
                skill="configuration",
                level=2,
            ),
            RoutingRow(problem_type="security-policy", team="security", skill="security", level=3),
            RoutingRow(
                problem_type="application-development",
                team="applications",
                skill="development",
                level=3,
            ),
            RoutingRow(problem_type="data-processing", team="applications", skill="data", level=2),
            RoutingRow(
                problem_type="system-integration",
                team="applications",
                skill="integration",
                level=3,
            ),
            RoutingRow(team="service-desk"),
        )
    ),
)
"""Assumption: four teams, and a skill with a level for each of the six problem types.

Handbook 2.1 wants every request assigned to the right team, and 2.2 the demanding ones given to
engineers with the technical qualification; neither names teams or levels.
"""


@dataclass(frozen=True, slots=True)
class MatchingPolicy:
    """Agents are compared by these terms, one after the other; less is better."""

    terms: tuple[str, ...]


MATCHING = Definition(
    id="matching",
    version=1,
    effective_from=BEGINNING,
    body=MatchingPolicy(terms=("load", "surplus-level", "last-assigned", "agent")),
)
"""Assumption: least loaded first, then least over-qualified, then longest without an assignment.

Handbook 2.2 matches by complexity, availability and skill, and gives no formula.
"""
