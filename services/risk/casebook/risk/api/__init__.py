"""The HTTP interface of risk, under ``/risk/v1`` (handbook 5)."""

from fastapi import APIRouter

from casebook.risk.api import commands, risks

router = APIRouter(prefix="/risk/v1")
router.include_router(risks.router)
router.include_router(commands.router)
