"""Turns anticipated failures of a command into one line for a person."""

import asyncpg
import httpx

from casebook.console.connection import NoToken
from casebook.kit.postgres.embedded import EmbeddedPostgresError
from casebook.kit.starting import StartRefused
from casebook.platform.home import HomeNotFound

_OURS = (NoToken, EmbeddedPostgresError, StartRefused, HomeNotFound, RuntimeError, LookupError)


def explain(error: BaseException) -> str | None:
    """Return what to tell the person; ``None`` for a bug, which shows its traceback."""
    if isinstance(error, _OURS) and str(error):
        return str(error)
    if isinstance(error, httpx.TransportError):
        return f"the platform cannot be reached: {error}"
    if isinstance(error, asyncpg.PostgresError):
        return f"the database does not do it: {error}"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return None
