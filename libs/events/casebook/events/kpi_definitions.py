"""The KPI definitions in their first version (handbook 2.1, 6.1; decisions 7.2 and 8).

A KPI is one entry of :data:`KPIS`: what is measured over one row per request, and which month a
request counts in. Columns are those of monitoring's read model ``kpi_facts``. The query, the HTTP
operation, the command ``casebook kpi`` and the documentation follow from the entry.

Every percentile and median is by nearest rank. Assumption: of these figures handbook 2.1 names
only the mean handling time of about 24 hours, up to 48 at peak; the rest is what handbook 6.1,
of which only the heading is known, needs to begin with.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from casebook.events.definitions import BEGINNING, Definition

Unit: TypeAlias = Literal["count", "hours", "share"]

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

    unit: Unit
    measure: Measure
    month_of: str
    description: str
    by_origin: bool = False


KpiDefinition: TypeAlias = Definition[Kpi]


def _kpi(
    id_: str,
    unit: Unit,
    measure: Measure,
    month_of: str,
    description: str,
    *,
    by_origin: bool = False,
    version: int = 1,
) -> KpiDefinition:
    """Return the definition of an indicator, in force from the beginning."""
    body = Kpi(unit, measure, month_of, description, by_origin)
    return Definition(id=id_, version=version, effective_from=BEGINNING, body=body)


_HANDLING = "handling_microseconds"
_UNPAUSED = "handling_unpaused_microseconds"

KPIS: tuple[KpiDefinition, ...] = (
    _kpi(
        "requests_opened",
        "count",
        Count("opened_at"),
        "opened_month",
        "Requests submitted.",
    ),
    _kpi(
        "requests_resolved",
        "count",
        Count("resolved_at"),
        "resolved_month",
        "Requests that were resolved; the last resolution counts.",
    ),
    _kpi(
        "requests_closed",
        "count",
        Count("closed_at"),
        "closed_month",
        "Requests that were closed; the last closure counts.",
    ),
    _kpi(
        "handling_hours_mean",
        "hours",
        Mean(_HANDLING),
        "resolved_month",
        "Mean calendar time from submission to last resolution (handbook 2.1: about 24 hours).",
    ),
    _kpi(
        "handling_hours_median",
        "hours",
        NearestRank(_HANDLING, 50),
        "resolved_month",
        "Median calendar time from submission to last resolution.",
    ),
    _kpi(
        "handling_hours_p90",
        "hours",
        NearestRank(_HANDLING, 90),
        "resolved_month",
        "Calendar time from submission to last resolution that 90 % do not exceed.",
    ),
    _kpi(
        "handling_unpaused_hours_mean",
        "hours",
        Mean(_UNPAUSED),
        "resolved_month",
        "Mean time from submission to last resolution without any waiting state.",
    ),
    _kpi(
        "handling_unpaused_hours_median",
        "hours",
        NearestRank(_UNPAUSED, 50),
        "resolved_month",
        "Median time from submission to last resolution without any waiting state.",
    ),
    _kpi(
        "handling_unpaused_hours_p90",
        "hours",
        NearestRank(_UNPAUSED, 90),
        "resolved_month",
        "Time without any waiting state that 90 % do not exceed.",
    ),
    _kpi(
        "handled_within_24h_share",
        "share",
        Share(of=_HANDLING, column=_HANDLING, compare="<=", value=24 * MICROSECONDS_PER_HOUR),
        "resolved_month",
        "Resolved within 24 calendar hours, of all resolved (handbook 2.1).",
    ),
    _kpi(
        "handled_within_48h_share",
        "share",
        Share(of=_HANDLING, column=_HANDLING, compare="<=", value=48 * MICROSECONDS_PER_HOUR),
        "resolved_month",
        "Resolved within 48 calendar hours, of all resolved (handbook 2.1: at peak).",
    ),
    _kpi(
        "imported_sla_met_share",
        "share",
        Share(of="source_result", column="source_result", compare="=", value="met"),
        "opened_month",
        "Service level met by the account of another system, of all that have such an account.",
    ),
    _kpi(
        "reopen_rate",
        "share",
        Share(of="opened_at", column="reopenings", compare=">", value=0),
        "opened_month",
        "Reopened at least once, of all submitted.",
    ),
    _kpi(
        "reopenings_total",
        "count",
        Total("reopenings", months="reopening_months"),
        "reopening_months",
        "Reopenings, each in its own month.",
    ),
    _kpi(
        "group_changes_total",
        "count",
        Total("group_changes", months="group_change_months"),
        "group_change_months",
        "Changes of the team, also to and from none, each in its own month.",
    ),
    _kpi(
        "never_reassigned_share",
        "share",
        Share(of="opened_at", column="group_changes", compare="=", value=0),
        "opened_month",
        "Requests whose team never changed, of all submitted.",
    ),
    _kpi(
        "resolution_target_met_share",
        "share",
        Share(of="resolution_met", column="resolution_met", compare="=", value=True),
        "resolution_month",
        "Resolution target met by Casebook's own clock, of all whose clock has stopped.",
        by_origin=True,
    ),
    _kpi(
        "response_target_met_share",
        "share",
        Share(of="response_met", column="response_met", compare="=", value=True),
        "response_month",
        "Response target met by Casebook's own clock, of all whose clock has stopped.",
        by_origin=True,
    ),
)
