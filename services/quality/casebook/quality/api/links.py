"""What a request is linked with: knowledge and a problem (handbook 4.3)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response

from casebook.kit.http.commands import version_headers
from casebook.kit.http.exchange import Exchange, operation
from casebook.kit.http.openapi_details import VERSIONED
from casebook.kit.http.problems import PROBLEM_RESPONSES
from casebook.quality.api.views import RequestLinksView

router = APIRouter(tags=["links"])


@router.get(
    "/request-links/{request_id}",
    operation_id="getRequestLinks",
    responses=PROBLEM_RESPONSES | VERSIONED,
)
async def get_request_links(
    request_id: UUID,
    exchange: Annotated[Exchange, operation("request-link.read")],
    response: Response,
) -> RequestLinksView:
    """Read what a request is linked with; 404 when it never was linked with anything."""
    stream = f"request-link/{request_id}"
    version, links = await exchange.state(stream)
    response.headers.update(version_headers(stream, version))
    return RequestLinksView.of(stream, links)
