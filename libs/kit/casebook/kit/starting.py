"""Starting a process: what it must have, and one line for the operator when it has it not.

The order in which things are started does not matter: a database that is away is waited for,
and so is Kafka, for as long as it takes. What no waiting mends is refused.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from casebook.kit import failpoints
from casebook.kit.access.tokens import Signer
from casebook.kit.logging import get_logger
from casebook.kit.postgres.pool import Pool
from casebook.kit.settings import Settings

CONNECT_SECONDS_MAX = 30.0
RETRY_SECONDS = 0.5
INIT = "run casebook init"
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
)
_NOT_ADMITTED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)


class StartRefused(Exception):
    """This process must not run as it was started; the text says what to do about it."""


class StartRefusals:
    """Tells the server about a refused start in one line, without a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; hold back why the start failed until it is known."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        failed: list[Message] = []

        async def hold(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                failed.append(message)
            else:
                await send(message)

        try:
            await self._app(scope, receive, hold)
        except StartRefused as refused:
            await send({"type": "lifespan.startup.failed", "message": f"casebook: {refused}"})
        except BaseException:
            for message in failed:
                await send(message)
            raise


def settings_of_process() -> Settings:
    """Return the settings that the environment gives.

    :raises SystemExit: with one line, when a value or the signing key cannot be read.
    """
    try:
        settings = Settings()
        if settings.signing_key is not None:
            Signer(settings.signing_key, settings.jwt_issuer, settings.jwt_audience)
    except ValidationError as error:
        names = sorted({f"CASEBOOK_{problem['loc'][0]}".upper() for problem in error.errors()})
        raise SystemExit(f"casebook: cannot be read: {', '.join(names)}") from None
    except ValueError as error:
        raise SystemExit(f"casebook: CASEBOOK_SIGNING_KEY: {error}; {INIT}") from None
    return settings


def check_settings(settings: Settings) -> None:
    """Check that a service has all that it needs to start, and arm the failpoints of a test.

    :raises StartRefused: when something is not set, or is a file that is not there.
    """
    needed: dict[str, str | Path | None] = {
        "CASEBOOK_DATABASE_URL": settings.database_url,
        "CASEBOOK_JWKS": settings.jwks,
        "CASEBOOK_SIGNING_KEY": settings.signing_key,
        "CASEBOOK_MASTER_KEY_FILE": settings.master_key_file,
    }
    missing = [name for name, value in needed.items() if not value]
    if missing:
        raise StartRefused(f"not set: {', '.join(missing)}")
    if settings.master_key_file is not None and not settings.master_key_file.is_file():
        raise StartRefused(f"CASEBOOK_MASTER_KEY_FILE names no file; {INIT}")
    if "://" not in settings.jwks and not Path(settings.jwks).is_file():
        raise StartRefused(f"CASEBOOK_JWKS names no file; {INIT}")
    if settings.clock_file is not None and not settings.testing:
        raise StartRefused("CASEBOOK_CLOCK_FILE moves the clock: for tests, with CASEBOOK_TESTING")
    if settings.failpoints and not settings.testing:
        raise StartRefused("CASEBOOK_FAILPOINTS kills processes: for tests, with CASEBOOK_TESTING")
    try:
        failpoints.arm(settings.failpoints)
    except ValueError as error:
        raise StartRefused(f"CASEBOOK_FAILPOINTS: {error}") from error


async def connect(
    pool: Pool, *, given_up: Callable[[], bool], seconds_max: float = CONNECT_SECONDS_MAX
) -> None:
    """Connect a pool of a service; a database that is away is waited for.

    :raises StartRefused: when it does not admit us, stays away, or waiting was given up.
    """
    log = get_logger(pool.schema)
    deadline = time.monotonic() + seconds_max
    while True:
        try:
            return await pool.open()
        except _NOT_ADMITTED as error:
            raise StartRefused(f"the database does not admit us: {error}; {INIT}") from error
        except (asyncpg.ClientConfigurationError, ValueError) as error:
            raise StartRefused(f"CASEBOOK_DATABASE_URL: {error}") from error
        except _AWAY as error:
            if given_up() or time.monotonic() >= deadline:
                raise StartRefused(f"the database cannot be reached: {error}") from error
            log.warning("database.waiting", error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)
