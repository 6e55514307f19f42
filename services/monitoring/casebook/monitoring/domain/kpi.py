"""The KPI definitions, version 1 (handbook 2.1, 6.1; decisions 7.2 and 8).

A KPI is one entry of :data:`KPIS`: what is measured over the rows of the projection
``kpi_facts``, one per request, and which month a request counts in. The query, the HTTP operation,
the command ``casebook kpi`` and the documentation follow from the entry.

Every percentile and median is by nearest rank. Assumption: of these figures handbook 2.1 names
only the mean handling time of about 24 hours, up to 48 at peak; the rest is what handbook 6.1,
of which only the heading is known, needs to begin with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Unit: TypeAlias = Literal["count", "hours", "share"]
Origin: TypeAlias = Literal["live", "observed"]
Dimension: TypeAlias = Literal["priority", "month", "team"]

ORIGINS: tuple[Origin, Origin] = ("live", "observed")
MICROSECONDS_PER_HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Count:
    """How many requests have a value in the column."""

    column: str


@dataclass(frozen=True, slots=True)
class Total:
    """The sum of a count per request; ``months`` is the column with its parts by month."""

    column: str
    months: str


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean, in hours, of a column in microseconds."""

    column: str


@dataclass(frozen=True, slots=True)
class NearestRank:
    """The smallest value that at least ``percent`` of all are not above, in hours."""

    column: str
    percent: int


@dataclass(frozen=True, slots=True)
class Share:
    """The part of the requests with a value in ``of`` for which ``column`` compares as said."""

    of: str
    column: str
    compare: Literal["=", "<=", ">"]
    value: int | str | bool


Measure: TypeAlias = Count | Total | Mean | NearestRank | Share


@dataclass(frozen=True, slots=True)
class Kpi:
    """One indicator; ``month_of`` is the column with the month that a request counts in.

    ``by_origin`` keeps live and observed requests apart in every row.
    """

    id: str
    unit: Unit
    measure: Measure
    month_of: str
    description: str
    version: int = 1
    by_origin: bool = False


_HANDLING = "handling_microseconds"
_UNPAUSED = "handling_unpaused_microseconds"

KPIS: tuple[Kpi, ...] = (
    Kpi(
        "requests_opened",
        "count",
        Count("opened_at"),
        "opened_month",
        "Requests submitted.",
    ),
    Kpi(
        "requests_resolved",
        "count",
        Count("resolved_at"),
        "resolved_month",
        "Requests that were resolved; the last resolution counts.",
    ),
    Kpi(
        "requests_closed",
        "count",
        Count("closed_at"),
        "closed_month",
        "Requests that were closed; the last closure counts.",
    ),
    Kpi(
        "handling_hours_mean",
        "hours",
        Mean(_HANDLING),
        "resolved_month",
        "Mean calendar time from submission to last resolution (handbook 2.1: about 24 hours).",
    ),
    Kpi(
        "handling_hours_median",
        "hours",
        NearestRank(_HANDLING, 50),
        "resolved_month",
        "Median calendar time from submission to last resolution.",
    ),
    Kpi(
        "handling_hours_p90",
        "hours",
        NearestRank(_HANDLING, 90),
        "resolved_month",
        "Calendar time from submission to last resolution that 90 % do not exceed.",
    ),
    Kpi(
        "handling_unpaused_hours_mean",
        "hours",
        Mean(_UNPAUSED),
        "resolved_month",
        "Mean time from submission to last resolution without any waiting state.",
    ),
    Kpi(
        "handling_unpaused_hours_median",
        "hours",
        NearestRank(_UNPAUSED, 50),
        "resolved_month",
        "Median time from submission to last resolution without any waiting state.",
    ),
    Kpi(
        "handling_unpaused_hours_p90",
        "hours",
        NearestRank(_UNPAUSED, 90),
        "resolved_month",
        "Time without any waiting state that 90 % do not exceed.",
    ),
    Kpi(
        "handled_within_24h_share",
        "share",
        Share(of=_HANDLING, column=_HANDLING, compare="<=", value=24 * MICROSECONDS_PER_HOUR),
        "resolved_month",
        "Resolved within 24 calendar hours, of all resolved (handbook 2.1).",
    ),
    Kpi(
        "handled_within_48h_share",
        "share",
        Share(of=_HANDLING, column=_HANDLING, compare="<=", value=48 * MICROSECONDS_PER_HOUR),
        "resolved_month",
        "Resolved within 48 calendar hours, of all resolved (handbook 2.1: at peak).",
    ),
    Kpi(
        "imported_sla_met_share",
        "share",
        Share(of="source_result", column="source_result", compare="=", value="met"),
        "opened_month",
        "Service level met by the account of another system, of all that have such an account.",
    ),
    Kpi(
        "reopen_rate",
        "share",
        Share(of="opened_at", column="reopenings", compare=">", value=0),
        "opened_month",
        "Reopened at least once, of all submitted.",
    ),
    Kpi(
        "reopenings_total",
        "count",
        Total("reopenings", months="reopening_months"),
        "reopening_months",
        "Reopenings, each in its own month.",
    ),
    Kpi(
        "group_changes_total",
        "count",
        Total("group_changes", months="group_change_months"),
        "group_change_months",
        "Changes of the team, also to and from none, each in its own month.",
    ),
    Kpi(
        "never_reassigned_share",
        "share",
        Share(of="opened_at", column="group_changes", compare="=", value=0),
        "opened_month",
        "Requests whose team never changed, of all submitted.",
    ),
    Kpi(
        "resolution_target_met_share",
        "share",
        Share(of="resolution_met", column="resolution_met", compare="=", value=True),
        "resolution_month",
        "Resolution target met by Casebook's own clock, of all whose clock has stopped.",
        by_origin=True,
    ),
    Kpi(
        "response_target_met_share",
        "share",
        Share(of="response_met", column="response_met", compare="=", value=True),
        "response_month",
        "Response target met by Casebook's own clock, of all whose clock has stopped.",
        by_origin=True,
    ),
)


@dataclass(frozen=True, slots=True)
class KpiValue:
    """One row of the KPI table; ``n`` is the denominator, for counts the value itself."""

    kpi: Kpi
    value: int | float | None
    n: int
    dims: tuple[tuple[str, str | None], ...] = ()

    @property
    def place(self) -> tuple[str, tuple[tuple[str, bool, str], ...]]:
        """Return where the row stands: by id, then dimensions, what is unknown last."""
        return self.kpi.id, tuple((name, key is None, key or "") for name, key in self.dims)


def value_of(kpi: Kpi, raw: int | None, n: int) -> int | float | None:
    """Return the value from what the query counted, summed or ranked; ``None`` where n is 0.

    ``raw`` is the numerator of a share, the sum of a mean, the ranked value, or the count.
    """
    match kpi.measure:
        case Count() | Total():
            return raw or 0
        case Mean():
            return None if raw is None or n == 0 else raw / n / MICROSECONDS_PER_HOUR
        case NearestRank():
            return None if raw is None or n == 0 else raw / MICROSECONDS_PER_HOUR
        case Share():
            return None if raw is None or n == 0 else raw / n


def dimensions(
    kpi: Kpi, origin: Origin | None, key: Mapping[str, str | None]
) -> tuple[tuple[str, str | None], ...]:
    """Return the dimensions of a row in the order of their names."""
    dims = {**key, "origin": origin} if kpi.by_origin else key
    return tuple(sorted(dims.items()))
