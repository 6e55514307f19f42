"""The HTTP interface of monitoring, under ``/monitoring/v1`` (handbook 2.3, 6.1)."""

from fastapi import APIRouter

from casebook.monitoring.api import definitions, kpis, service_levels

router = APIRouter(prefix="/monitoring/v1")
router.include_router(service_levels.router)
router.include_router(kpis.router)
router.include_router(definitions.router)
