"""HTTP servers beside each other: a process each, on ports of their own, ended with the bench."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bench.client import HOST
from bench.measuring import BadBench
from bench.peers import ROOT, peer_python, peer_variables
from tests.support.ports import free_port
from tests.support.watchdog import Watchdog

READY_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 20.0


@asynccontextmanager
async def serving(
    command: Sequence[str | Path], port: int, variables: Mapping[str, str]
) -> AsyncGenerator[int]:
    """Run a server until the end of the block; yield its port once it takes connections.

    :raises BadBench: when it does not start.
    """
    with tempfile.TemporaryFile() as log:
        child = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=dict(variables), stdin=asyncio.subprocess.DEVNULL,
            stdout=log, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        watchdog = Watchdog("sh", "-c", 'kill -9 -- "-$0"', str(child.pid))
        try:
            for _ in range(round(READY_SECONDS_MAX / 0.1)):
                if child.returncode is not None or await _takes(port):
                    break
                await asyncio.sleep(0.1)
            if child.returncode is not None or not await _takes(port):
                log.seek(0)
                raise BadBench(f"{command[0]} did not serve:\n{log.read().decode()[-3000:]}")
            yield port
        finally:
            if child.returncode is None:
                child.terminate()
                await _ended(child)
            watchdog.cancel()


async def _ended(child: asyncio.subprocess.Process) -> None:
    """Wait for the end of a process that was asked to end."""
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()


@asynccontextmanager
async def limit_server(**variables: str) -> AsyncGenerator[int]:
    """Serve the bare application (:mod:`bench.bare_app`) with one worker, as Casebook is served."""
    port = free_port()
    words = ["bench.bare_app:create_app", "--factory", "--port", str(port), "--no-access-log"]
    command = [sys.executable, "-m", "uvicorn", *words]
    async with serving(command, port, {**os.environ, **variables}):
        yield port


@asynccontextmanager
async def helpdesk_server(dsn: str, workers: int = 2) -> AsyncGenerator[int]:
    """Serve django-helpdesk as its guide recommends: gunicorn, with connections that stay open."""
    port = free_port()
    words = ["--chdir", ROOT / "bench" / "peers", "--bind", f"{HOST}:{port}", "--threads", "8"]
    command = [
        await peer_python(), "-m", "gunicorn", *words, "--workers", str(workers),
        "django.core.wsgi:get_wsgi_application()",
    ]  # fmt: skip
    variables = {"HELPDESK_DSN": dsn, "DJANGO_SETTINGS_MODULE": "helpdesk_settings"}
    async with serving(command, port, peer_variables() | variables):
        yield port


async def _takes(port: int) -> bool:
    """Say whether somebody takes connections."""
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True
