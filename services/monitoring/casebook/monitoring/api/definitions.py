"""The definitions that monitoring decides and measures by: targets and KPIs (decisions 3.8)."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from casebook.events.definitions import SERVICE_LEVELS
from casebook.events.kpi_definitions import KPIS, Unit
from casebook.kit.access.policy import AccessColumns
from casebook.kit.http.exchange import Exchange, operation
from casebook.kit.http.problems import PROBLEM_RESPONSES
from casebook.monitoring.domain.targets import PAUSING_REASON

router = APIRouter(tags=["definitions"])


class TargetView(BaseModel):
    """What is promised for one priority; 1 is the highest."""

    model_config = ConfigDict(frozen=True)
    priority: int
    response_seconds: int
    resolution_seconds: int


class ServiceLevelsView(BaseModel):
    """The targets by priority, in seconds of 24 × 7 time."""

    model_config = ConfigDict(frozen=True)
    id: str
    version: int
    warning_percent: int
    pausing_reason: str
    targets: list[TargetView]


class KpiDefinitionView(BaseModel):
    """One indicator: what it measures, and which month a request counts in."""

    model_config = ConfigDict(frozen=True)
    id: str
    version: int
    unit: Unit
    description: str
    month_of: str
    by_origin: bool


_EXAMPLE: dict[str, Any] = {
    "service_levels": {
        "id": "service-levels",
        "version": 1,
        "warning_percent": 75,
        "pausing_reason": "customer",
        "targets": [{"priority": 1, "response_seconds": 900, "resolution_seconds": 14400}],
    },
    "kpis": [
        {
            "id": "requests_opened",
            "version": 1,
            "unit": "count",
            "description": "Requests submitted.",
            "month_of": "opened_month",
            "by_origin": False,
        }
    ],
}


class DefinitionsView(BaseModel):
    """The definitions in force."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"example": _EXAMPLE})
    service_levels: ServiceLevelsView
    kpis: list[KpiDefinitionView]


@router.get("/definitions", operation_id="listDefinitions", responses=PROBLEM_RESPONSES)
async def list_definitions(
    exchange: Annotated[Exchange, operation("definition.read")],
) -> DefinitionsView:
    """List the targets and the KPI definitions in force."""
    exchange.scope(AccessColumns())  # the same for everybody who may ask
    levels = SERVICE_LEVELS.body
    targets = zip(levels.response_seconds, levels.resolution_seconds, strict=True)
    return DefinitionsView(
        service_levels=ServiceLevelsView(
            id=SERVICE_LEVELS.id,
            version=SERVICE_LEVELS.version,
            warning_percent=levels.warning_percent,
            pausing_reason=PAUSING_REASON,
            targets=[
                TargetView(
                    priority=priority, response_seconds=response, resolution_seconds=resolution
                )
                for priority, (response, resolution) in enumerate(targets, start=1)
            ],
        ),
        kpis=[
            KpiDefinitionView(
                id=kpi.id,
                version=kpi.version,
                unit=kpi.body.unit,
                description=kpi.body.description,
                month_of=kpi.body.month_of,
                by_origin=kpi.body.by_origin,
            )
            for kpi in KPIS
        ],
    )
