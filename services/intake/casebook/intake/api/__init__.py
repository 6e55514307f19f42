"""The HTTP interface of intake, under ``/intake/v1`` (handbook 1.2: one platform for all)."""

from fastapi import APIRouter

from casebook.intake.api import commands, requests, sources

router = APIRouter(prefix="/intake/v1")
router.include_router(commands.router)
router.include_router(requests.router)
router.include_router(sources.router)
