"""The HTTP interface of dispatch, under ``/dispatch/v1`` (handbook 2.2, 2.3)."""

from fastapi import APIRouter

from casebook.dispatch.api import handling, queues, work_orders, workforce

router = APIRouter(prefix="/dispatch/v1")
router.include_router(work_orders.router)
router.include_router(handling.router)
router.include_router(queues.router)
router.include_router(workforce.router)
