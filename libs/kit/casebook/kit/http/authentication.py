"""Authentication: every path needs a bearer token, but the few that are open (decisions 3.10)."""

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from casebook.kit.access.identity import Unauthenticated, Verifier
from casebook.kit.access.jwks import KeysUnavailable
from casebook.kit.http.context import respond
from casebook.kit.http.problems import Problem

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="casebook"'}
RETRY_AFTER = {"Retry-After": "5"}
_SCHEME = b"bearer "


class Authentication:
    """Puts the principal into ``scope["state"]``, or answers 401, the same for every cause.

    An item of ``open_paths`` is a path, or with a ``/`` at its end all paths below it.
    """

    def __init__(self, app: ASGIApp, verifier: Verifier, open_paths: Collection[str] = ()) -> None:
        self._app = app
        self._verifier = verifier
        self._open = frozenset(path for path in open_paths if not path.endswith("/"))
        self._below = tuple(path for path in open_paths if path.endswith("/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in whoever proves who they are."""
        if scope["type"] != "http" or self._is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        try:
            state["principal"] = await self._verifier.verify(_token(scope))
        except Unauthenticated as error:
            state["authentication_reason"] = error.reason
            await respond(Problem(401, headers=CHALLENGE), scope)(scope, receive, send)
        except KeysUnavailable:
            problem = Problem(503, "keys-unavailable", headers=RETRY_AFTER)
            await respond(problem, scope)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        """Say whether a path needs no token."""
        return path in self._open or path.startswith(self._below)


def _token(scope: Scope) -> str:
    """Return the bearer token of a request.

    :raises Unauthenticated: when there is none, or more than one.
    """
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1 or not values[0].lower().startswith(_SCHEME):
        raise Unauthenticated("no bearer token")
    return values[0][len(_SCHEME) :].strip().decode("latin-1")
