"""Reading a work order with the explanation of its assignment (handbook 1.3, 2.2)."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from casebook.dispatch.api import statements
from casebook.dispatch.api.parameters import DetailQuery
from casebook.dispatch.api.views import WorkOrderDetail, work_order_fields
from casebook.kit.http.commands import version_headers
from casebook.kit.http.exchange import Exchange, operation
from casebook.kit.http.openapi_details import VERSIONED
from casebook.kit.http.problems import PROBLEM_RESPONSES

router = APIRouter(tags=["work orders"])


@router.get(
    "/work-orders/{request_id}",
    operation_id="getWorkOrder",
    responses=PROBLEM_RESPONSES | VERSIONED,
)
async def get_work_order(
    request_id: UUID,
    exchange: Annotated[Exchange, operation("work-order.read")],
    response: Response,
    wanted: Annotated[DetailQuery, Query()],
) -> WorkOrderDetail:
    """Read the work order of a request, now or as it was, and why its agent has it."""
    stream = f"work-order/{request_id}"
    version, state = await exchange.state(stream, wanted.as_of)
    rows = await exchange.fetch(statements.queued_request(request_id))
    request = dict(rows[0]) if rows and wanted.as_of is None else dict[str, Any]()
    [summary] = await exchange.open([state.resolution_summary])
    response.headers.update(version_headers(stream, version))
    return WorkOrderDetail(
        **work_order_fields(stream, state),
        number=request.get("number"),
        priority=request.get("priority"),
        resolution_summary=summary,
    )
