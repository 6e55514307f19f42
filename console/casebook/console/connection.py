"""Which platform a command talks to: an address, the one on this home, or one of its own."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from casebook.console.client import Client
from casebook.platform.home import Home, HomeNotFound

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 90.0
"""The last checkpoint of the database may write a lot; more than that is not orderly."""


class NoToken(Exception):
    """No token was given, and there is no home that could mint one."""


@dataclass(frozen=True, slots=True)
class Connection:
    """The address of a platform, and how to get a token for it."""

    url: str
    home: Home

    def token(
        self, role: str = "admin", *, roles: Collection[str] = (), source: str | None = None
    ) -> str:
        """Return ``CASEBOOK_TOKEN``, else a token of the home for what the command needs.

        :raises NoToken: when there is neither, or the source has no name.
        """
        given = os.environ.get("CASEBOOK_TOKEN")
        if given:
            return given
        try:
            self.home.check()
        except HomeNotFound as error:
            raise NoToken("set CASEBOOK_TOKEN, or name a home with --home") from error
        usual = not roles and source is None and role == "admin"
        if usual and self.home.admin_token.exists():
            return self.home.admin_token.read_text(encoding="utf-8").strip()
        try:
            return self.home.signer().mint(
                source or role,
                list(roles or (role,)),
                sources=() if source is None else (source,),
                ttl=timedelta(hours=12),
            )
        except ValueError as error:
            raise NoToken(str(error)) from error


@asynccontextmanager
async def connected(home: Path, url: str | None, *, port: int = 0) -> AsyncGenerator[Connection]:
    """Find a platform, or start one on ``port`` for the duration of the command.

    What the started one logs goes to ``platform.log`` in the home.

    :raises RuntimeError: when the started one does not become ready, or ends too early.
    """
    place = Home(home)
    address = url or os.environ.get("CASEBOOK_URL") or place.running_url()
    if address is not None:
        yield Connection(address.rstrip("/"), place)
        return
    process = await asyncio.to_thread(_start, place, port)
    try:
        found = await _wait_until_ready(process, place)
        async with _while_it_runs(process, place):
            yield Connection(found, place)
    finally:
        await asyncio.to_thread(_stop, process)


@asynccontextmanager
async def administrator(home: Path, url: str | None) -> AsyncGenerator[Client]:
    """Find or start a platform, and talk to it as what the token at hand allows.

    :raises NoToken: when there is neither a token nor a home that has one.
    """
    async with (
        connected(home, url) as connection,
        Client(connection.url, connection.token()) as client,
    ):
        yield client


def _start(home: Home, port: int) -> "subprocess.Popen[bytes]":
    """Start a platform that ends with this process, however this process ends."""
    command = [sys.executable, "-m", "casebook.console", "--home", str(home.path)]
    home.prepare()
    with home.log.open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [*command, "up", "--port", str(port), "--exit-with-parent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )


async def _wait_until_ready(process: "subprocess.Popen[bytes]", home: Home) -> str:
    """Return the address of the started platform.

    :raises RuntimeError: when it ends, or is not ready in 60 s.
    """
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the platform did not start: {_last_words(process, home)}")
        address = home.running_url()
        if address is not None:
            return address
        await asyncio.sleep(0.05)
    raise RuntimeError(f"the platform is not ready after {START_SECONDS_MAX:.0f} s: {home.log}")


@asynccontextmanager
async def _while_it_runs(process: "subprocess.Popen[bytes]", home: Home) -> AsyncGenerator[None]:
    """End the block when the started platform ends: what it waits for would never come.

    :raises RuntimeError: when that happens.
    """
    scope = asyncio.timeout(None)

    async def watch() -> None:
        while process.poll() is None:  # noqa: ASYNC110 - it is not a child of the event loop
            await asyncio.sleep(0.2)
        scope.reschedule(asyncio.get_running_loop().time())

    watcher = asyncio.create_task(watch())
    try:
        async with scope:
            yield
    except TimeoutError:
        if not scope.expired():
            raise
        raise RuntimeError(f"the platform ended: {_last_words(process, home)}") from None
    finally:
        watcher.cancel()


def _last_words(process: "subprocess.Popen[bytes]", home: Home) -> str:
    """Return why a started platform ended, as far as it could say."""
    if process.returncode < 0:
        return f"it was killed by signal {-process.returncode}"
    lines = home.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1].removeprefix("casebook: ") if lines else f"its status is {process.returncode}"


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End the started platform and wait for it."""
    process.terminate()
    try:
        process.wait(timeout=STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
