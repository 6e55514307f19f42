"""The values of the KPI table (handbook 6.1): each is one of the definitions, measured.

The definitions themselves are :mod:`casebook.events.kpi_definitions` (decisions 3.8).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from casebook.events.kpi_definitions import (
    MICROSECONDS_PER_HOUR,
    Count,
    KpiDefinition,
    Mean,
    NearestRank,
    Share,
    Total,
)

Origin: TypeAlias = Literal["live", "observed"]
Dimension: TypeAlias = Literal["priority", "month", "team"]

ORIGINS: tuple[Origin, Origin] = ("live", "observed")


@dataclass(frozen=True, slots=True)
class KpiValue:
    """One row of the KPI table; ``n`` is the denominator, for counts the value itself."""

    kpi: KpiDefinition
    value: int | float | None
    n: int
    dims: tuple[tuple[str, str | None], ...] = ()

    @property
    def place(self) -> tuple[str, tuple[tuple[str, bool, str], ...]]:
        """Return where the row stands: by id, then dimensions, what is unknown last."""
        return self.kpi.id, tuple((name, key is None, key or "") for name, key in self.dims)


def value_of(kpi: KpiDefinition, raw: int | None, n: int) -> int | float | None:
    """Return the value from what the query counted, summed or ranked; ``None`` where n is 0.

    ``raw`` is the numerator of a share, the sum of a mean, the ranked value, or the count.
    """
    match kpi.body.measure:
        case Count() | Total():
            return raw or 0
        case Mean():
            return None if raw is None or n == 0 else raw / n / MICROSECONDS_PER_HOUR
        case NearestRank():
            return None if raw is None or n == 0 else raw / MICROSECONDS_PER_HOUR
        case Share():
            return None if raw is None or n == 0 else raw / n


def dimensions(
    kpi: KpiDefinition, origin: Origin | None, key: Mapping[str, str | None]
) -> tuple[tuple[str, str | None], ...]:
    """Return the dimensions of a row in the order of their names."""
    dims = {**key, "origin": origin} if kpi.body.by_origin else key
    return tuple(sorted(dims.items()))
