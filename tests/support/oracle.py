"""A second opinion on the KPI table: read from the audit log itself, with the standard library.

Nothing here comes from the product, and nothing in the product comes from here. The product
computes its KPIs from events; this module never builds an event, it looks at the rows. Where both
give the same figures, the mapping, the log, the projections and the arithmetic are right together.

A request gives samples, each a time and a number; a KPI is one way to collect samples and one way
to sum them up.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Literal

from tests.support.audit_log import Request, enters

By = Literal["priority", "month", "team"]
Sample = tuple[datetime, float]
Json = dict[str, Any]

DEFINITION_VERSION = 1
HOUR = timedelta(hours=1)
NOTHING = timedelta(0)
RESOLUTION_TARGETS: dict[str, float] = {"1": 4, "2": 8, "3": 24, "4": 48}  # hours, by priority
RESPONSE_TARGETS: dict[str, float] = {"1": 0.25, "2": 0.5, "3": 2, "4": 4}  # hours, by priority


@dataclass(frozen=True)
class Stop:
    """A clock that has stopped: when, and whether its target was met."""

    at: datetime
    met: bool


# --- what one request gives -------------------------------------------------------------------


def handling(request: Request) -> Iterator[tuple[datetime, timedelta]]:
    """From submission to the last resolution."""
    if resolution := request.last_resolution:
        yield resolution.at, resolution.at - request.submitted


def handling_unpaused(request: Request) -> Iterator[tuple[datetime, timedelta]]:
    """The same, less every wait, each clipped to the time between the two ends."""
    for end, whole in handling(request):
        waited = NOTHING
        for row, after in pairwise(request.rows):
            if row.waiting:
                overlap = min(after.at, end) - max(row.at, request.submitted)
                waited += max(overlap, NOTHING)
        yield end, whole - waited


def group_changes(request: Request) -> list[datetime]:
    """Times at which the team differs from the row before; none counts as a team."""
    return [row.at for before, row in pairwise(request.rows) if row.team != before.team]


def reopenings(request: Request) -> list[datetime]:
    """Times at which the source counted a reopening."""
    return [
        row.at for before, row in pairwise(request.rows) if row.reopen_count > before.reopen_count
    ]


def source_result(request: Request) -> bool | None:
    """The source's own flag, read from the last row; nothing while that is open and unbroken.

    What becomes of it is known with the last row of all.
    """
    if not request.complete:
        return None
    last = request.rows[-1]
    if not last.made_sla:
        return False
    return True if last.state == "Closed" else None


# --- Casebook's own targets -------------------------------------------------------------------


class Clock:
    """Time spent under a target that follows the priority; a breach stays a breach."""

    def __init__(self, started: datetime, targets: dict[str, float]) -> None:
        self.targets = targets
        self.priority: str | None = None
        self.paused = False
        self.stopped = False
        self.breached = False
        self.elapsed = NOTHING
        self.counted_to = started
        self.last_stop: Stop | None = None

    def reach(self, at: datetime) -> None:
        """Let time pass until ``at``."""
        if not (self.paused or self.stopped):
            self.elapsed += at - self.counted_to
        self.counted_to = at
        self.judge()

    def judge(self) -> None:
        """A running clock that is past the target of the moment is breached from then on."""
        if not (self.paused or self.stopped) and not self.within():
            self.breached = True

    def within(self) -> bool:
        """Whether the time spent is within the target of the priority of the moment."""
        target = self.targets.get(self.priority or "")
        return target is None or self.elapsed <= target * HOUR

    def stop(self) -> None:
        """Stop a clock that runs or rests; a clock that stands already is left alone."""
        if not self.stopped:
            met = self.within() and not self.breached
            self.stopped, self.last_stop = True, Stop(self.counted_to, met)


def resolution_stop(request: Request) -> Stop | None:
    """The last stop of the clock that runs from submission to resolution."""
    clock = Clock(request.submitted, RESOLUTION_TARGETS)
    for before, row in request.steps():
        clock.reach(row.at)
        clock.priority = row.priority
        clock.judge()
        if before and row.reopen_count > before.reopen_count:
            clock.stopped = False
            clock.judge()
        clock.paused = row.state == "Awaiting User Info"
        if enters(before, row, "Resolved"):
            clock.stop()
    return clock.last_stop


def response_stop(request: Request) -> Stop | None:
    """The end of the clock that runs from submission to the first sign of an agent."""
    clock = Clock(request.submitted, RESPONSE_TARGETS)
    for before, row in request.steps():
        clock.reach(row.at)
        clock.priority = row.priority
        clock.judge()
        began = row.state == "Active" and (before is None or before.state == "New")
        if row.agent or began or row.state == "Resolved":
            clock.stop()
            return clock.last_stop
        clock.paused = row.state == "Awaiting User Info"
    return None


# --- the table --------------------------------------------------------------------------------


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _nearest_rank(percent: int) -> Callable[[list[float]], float]:
    def rank(values: list[float]) -> float:
        return sorted(values)[-(-len(values) * percent // 100) - 1]

    return rank


@dataclass(frozen=True)
class Kpi:
    """How one indicator takes samples from a request, and sums them up."""

    unit: Literal["count", "hours", "share"]
    samples: Callable[[Request], Iterable[Sample]]
    total: Callable[[list[float]], float] = _mean
    per_origin: bool = False

    def figures(self, values: list[float]) -> Json:
        """Value and n of these samples."""
        if self.unit == "count":
            return {"value": len(values), "n": len(values)}
        return {"value": self.total(values) if values else None, "n": len(values)}


def _at(moment: datetime | None) -> list[Sample]:
    return [(moment, 1)] if moment else []


def _hours(pairs: Iterable[tuple[datetime, timedelta]]) -> list[Sample]:
    return [(end, lasted / HOUR) for end, lasted in pairs]


def _handled_within(hours: int) -> Callable[[Request], Iterable[Sample]]:
    return lambda request: [(end, lasted <= hours * HOUR) for end, lasted in handling(request)]


def _resolved(request: Request) -> list[Sample]:
    return [(end, 1) for end, _ in handling(request)]


def _met(stop: Stop | None) -> list[Sample]:
    return [(stop.at, stop.met)] if stop else []


def _source_met(request: Request) -> list[Sample]:
    result = source_result(request)
    return [] if result is None else [(request.submitted, result)]


def _whole(request: Request) -> list[Sample]:
    return _hours(handling(request))


def _unpaused(request: Request) -> list[Sample]:
    return _hours(handling_unpaused(request))


KPIS = {
    "requests_opened": Kpi("count", lambda r: _at(r.submitted)),
    "requests_resolved": Kpi("count", _resolved),
    "requests_closed": Kpi("count", lambda r: _at(r.last_closure)),
    "handling_hours_mean": Kpi("hours", _whole),
    "handling_hours_median": Kpi("hours", _whole, _nearest_rank(50)),
    "handling_hours_p90": Kpi("hours", _whole, _nearest_rank(90)),
    "handling_unpaused_hours_mean": Kpi("hours", _unpaused),
    "handling_unpaused_hours_median": Kpi("hours", _unpaused, _nearest_rank(50)),
    "handling_unpaused_hours_p90": Kpi("hours", _unpaused, _nearest_rank(90)),
    "handled_within_24h_share": Kpi("share", _handled_within(24)),
    "handled_within_48h_share": Kpi("share", _handled_within(48)),
    "imported_sla_met_share": Kpi("share", _source_met),
    "reopen_rate": Kpi("share", lambda r: [(r.submitted, bool(reopenings(r)))]),
    "reopenings_total": Kpi("count", lambda r: [(at, 1) for at in reopenings(r)]),
    "group_changes_total": Kpi("count", lambda r: [(at, 1) for at in group_changes(r)]),
    "never_reassigned_share": Kpi("share", lambda r: [(r.submitted, not group_changes(r))]),
    "resolution_target_met_share": Kpi(
        "share", lambda r: _met(resolution_stop(r)), per_origin=True
    ),
    "response_target_met_share": Kpi("share", lambda r: _met(response_stop(r)), per_origin=True),
}


def kpi_table(
    requests: Iterable[Request],
    *,
    by: By | None = None,
    origins: tuple[str, ...] = ("observed",),
) -> Json:
    """The KPI table of a log that holds these observed requests and nothing live.

    With ``by``, every indicator has a row for every value that occurs, also where n is 0. A
    priority or a team may be missing, so there is a row for ``None`` too. ``origins`` are those
    for which the indicators of Casebook's own targets have rows.
    """
    samples: dict[str, dict[str | None, list[float]]] = {name: {} for name in KPIS}
    for request in requests:
        for name, kpi in KPIS.items():
            for at, number in kpi.samples(request):
                samples[name].setdefault(_dimension(request, at, by), []).append(number)
    values: set[str | None] = set().union(*samples.values())
    if by in ("priority", "team"):
        values.add(None)
    rows: list[Json] = []
    for name, kpi in KPIS.items():
        for dims in [{"origin": origin} for origin in origins] if kpi.per_origin else [{}]:
            groups = {} if dims.get("origin") == "live" else samples[name]
            everything = [number for group in groups.values() for number in group]
            rows.append(_table_row(name, kpi, everything, dims))
            if by:
                rows += [
                    _table_row(name, kpi, groups.get(value, []), dims | {by: value})
                    for value in values
                ]
    return {"kpis": sorted(rows, key=_place)}


def _dimension(request: Request, at: datetime, by: By | None) -> str | None:
    match by:
        case "priority":
            return request.priority
        case "team":
            return request.team
        case "month":
            return f"{at:%Y-%m}"
        case None:
            return None


def _table_row(name: str, kpi: Kpi, values: list[float], dims: Json) -> Json:
    shape = {"id": name, "definition_version": DEFINITION_VERSION, "unit": kpi.unit}
    return shape | kpi.figures(values) | {"dims": dims}


def _place(row: Json) -> tuple[str, list[tuple[str, bool, str]]]:
    """By id, then dimensions: totals first, a missing value last."""
    dims = [(key, value is None, value or "") for key, value in sorted(row["dims"].items())]
    return row["id"], dims


# --- comparing --------------------------------------------------------------------------------


def differences(expected: Json, actual: Json) -> list[str]:
    """What the product's table has otherwise than this one, one line each; order is ignored.

    Counts and shares are exact, means within 0.01 h, percentiles and medians within 1 %.
    """
    wanted, found = _keyed(expected), _keyed(actual)
    lines = [f"missing: {key}" for key in wanted if key not in found]
    lines += [f"surplus: {key}" for key in found if key not in wanted]
    for key in wanted.keys() & found.keys():
        for field in ("definition_version", "unit", "n", "value"):
            want, have = wanted[key][field], found[key][field]
            near = _near(wanted[key], have) if field == "value" else want == have
            if not near:
                lines.append(f"{key} {field}: expected {want}, found {have}")
    return sorted(lines)


def _keyed(table: Json) -> dict[str, Json]:
    return {f"{row['id']} {json.dumps(row['dims'], sort_keys=True)}": row for row in table["kpis"]}


def _near(row: Json, have: float | None) -> bool:
    want = row["value"]
    if want is None or have is None:
        return want is have
    if row["unit"] == "hours":
        return abs(want - have) <= (0.01 if row["id"].endswith("_mean") else abs(want) * 0.01)
    return abs(want - have) <= 1e-12
