"""The HTTP interface of quality, under ``/quality/v1`` (handbook 1.3, 3.4, 4.3)."""

from fastapi import APIRouter

from casebook.quality.api import controls, links, surveys

router = APIRouter(prefix="/quality/v1")
router.include_router(surveys.router)
router.include_router(controls.router)
router.include_router(links.router)
