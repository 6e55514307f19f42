"""How every service speaks HTTP: the layers around its routes, in their order (decisions 3.9).

Context (trace, log, metrics, headers), host, authentication, limits, then the routes. Nobody is
told anything before they have proved who they are, and nothing is parsed before it is measured.
"""

from collections.abc import Collection
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from casebook.kit.access.identity import Principal, Verifier
from casebook.kit.http.authentication import Authentication
from casebook.kit.http.context import RequestContext
from casebook.kit.http.limits import HostAllowList, LimitedInput, Limits
from casebook.kit.http.problems import Problem, install_problems


def install_http(
    app: FastAPI,
    *,
    service: str,
    verifier: Verifier,
    open_paths: Collection[str] = (),
    hosts: Collection[str] = (),
    limits: Limits | None = None,
) -> None:
    """Put the layers around the app, and let it answer every refusal with a problem.

    An item of ``open_paths`` needs no token; with a ``/`` at its end, all below it needs none.
    ``hosts`` are the names that the service answers to; none means any.
    """
    install_problems(app)
    app.add_middleware(LimitedInput, limits=limits or Limits())
    app.add_middleware(Authentication, verifier=verifier, open_paths=tuple(open_paths))
    if hosts:
        app.add_middleware(HostAllowList, hosts=tuple(hosts))
    app.add_middleware(RequestContext, service=service)  # added last: the outermost


def principal_of(request: Request) -> Principal:
    """Return who is asking.

    :raises Problem: 401 on an open path, where nobody was asked who they are.
    """
    principal = getattr(request.state, "principal", None)
    if not isinstance(principal, Principal):
        raise Problem(401)
    return principal


CurrentPrincipal = Annotated[Principal, Depends(principal_of)]
"""The parameter of a route that wants to know who is asking."""
