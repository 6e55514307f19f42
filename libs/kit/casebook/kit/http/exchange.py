"""One HTTP request as an endpoint sees it: who asks, for which operation, and the two doors.

An endpoint takes ``Annotated[Commands, operation("request.confirm")]`` to change state or
``Annotated[Queries, operation("request.get")]`` to read it. The operation's name is the row of
the policy table; the documentation and the tests find it on the route.
"""

from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel

from casebook.events.values import Moment
from casebook.kit import metrics
from casebook.kit.access.principals import with_teams
from casebook.kit.http.commands import Commands
from casebook.kit.http.problems import Problem
from casebook.kit.http.queries import MINIMUM_VERSION, Queries

if TYPE_CHECKING:
    from casebook.kit.access.identity import Principal
    from casebook.kit.runtime import Runtime


AsOf = Annotated[
    Moment | None,
    Query(description="Only what had happened by then, as RFC 3339 with a zone"),
]


class Exchange(Commands, Queries):
    """What an endpoint gets: commands and queries under one operation."""


class Named(Protocol):
    """A dependency that knows the operation it was made for."""

    operation: str


def runtime_of(request: Request) -> "Runtime":
    """Return the runtime of the service that a request came to."""
    return cast("Runtime", request.app.state.runtime)


def operation(name: str) -> Any:
    """Return the dependency that opens an exchange for the operation ``name``."""

    async def open_exchange(request: Request) -> Exchange:
        runtime = runtime_of(request)
        principal = cast("Principal", request.scope["state"]["principal"])
        _refuse_unknown_parameters(request)
        if not runtime.service.policy.permits(principal, name):
            metrics.AUTHZ_DENIED.labels(runtime.service.name, name).inc()
            raise Problem(403, "forbidden", "your roles do not allow this operation")
        waits = request.method in {"GET", "HEAD"} and MINIMUM_VERSION in request.headers
        principal = await with_teams(runtime, principal, name, always=waits)
        exchange = Exchange(runtime, request, principal, name)
        if waits:
            await exchange.wait_for_minimum_version()
        return exchange

    cast("Named", open_exchange).operation = name
    return Depends(open_exchange)


def _refuse_unknown_parameters(request: Request) -> None:
    """Refuse what the operation does not take, rather than answer another question.

    :raises Problem: 422 ``unknown-parameter``.
    """
    if not request.query_params:
        return
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    known = _parameters(route.dependant)
    if not request.query_params.keys() <= known:
        raise Problem(422, "unknown-parameter", f"the query takes: {', '.join(sorted(known))}")


def _parameters(dependant: Dependant) -> frozenset[str]:
    """Return the names of a route's query parameters, also of those that a model holds."""
    fields = list(dependant.query_params)
    for dependency in dependant.dependencies:
        fields += dependency.query_params
    names: set[str] = set()
    for field in fields:
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names |= {one.alias or name for name, one in kind.model_fields.items()}
        else:
            names.add(field.alias)
    return frozenset(names)
