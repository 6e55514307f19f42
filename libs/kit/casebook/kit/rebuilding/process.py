"""A rebuild's own process, seen from the service: begun when needed, watched, ended with it.

Folding the whole log takes minutes, and beside the event loop it would take them from everybody
who asks (decisions 3.5). The process is given a task on standard input, tells how far it is on
standard output, and logs where the service does. It ends when its standard input does, so that it
outlives the service in no case. Killed, it is begun again and goes on where it had committed.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import orjson

from casebook.kit.logging import get_logger

if TYPE_CHECKING:
    from casebook.kit.runtime import Runtime

WORKER = "casebook.kit.rebuild_worker"
AGAIN_SECONDS = 0.5
KILLS_MAX = 5
"""Whoever kills it that often, for want of memory say, would do it again."""
REAPED_SECONDS = 0.005
# What the worker connects with: a reader in its own transaction, and one beside it.
_CONNECTIONS = {"http_connections": 1, "background_connections": 2}
# What it has no use for: it opens no text, signs nothing, and answers nobody.
_WITHHELD = {"signing_key": None, "master_key_file": None, "jwks": "", "failpoints": ""}
_LOG = get_logger("rebuild")

Tell = Callable[[float], None]
"""Takes how far a rebuild is, 0 to 1."""


class Task(TypedDict):
    """What a worker is given, as JSON."""

    service: str
    projection: str
    settings: dict[str, Any]
    path: list[str]
    level: int


@dataclass(frozen=True, slots=True)
class Made:
    """The generation that was swapped in, and how many records were read for it."""

    generation: int
    records: int


class RebuildFailed(Exception):
    """The process of a rebuild has failed, and has logged why."""


async def rebuild_in_process(runtime: "Runtime", name: str, projection: str, tell: Tell) -> Made:
    """Rebuild one projection of the service ``name`` in a process of its own.

    :raises RebuildFailed: when that failed; being killed now and then is no failure.
    """
    for _ in range(KILLS_MAX):
        ended = await _run(task_of(runtime, name, projection), tell)
        if isinstance(ended, Made):
            return ended
        if ended >= 0:
            raise RebuildFailed(f"the rebuild of {projection} ended with status {ended}")
        _LOG.warning("rebuild.killed", projection=projection, signal=-ended)
        await asyncio.sleep(AGAIN_SECONDS)
    raise RebuildFailed(f"the rebuild of {projection} was killed {KILLS_MAX} times")


def task_of(runtime: "Runtime", name: str, projection: str) -> Task:
    """Return what the worker of a rebuild has to know."""
    settings = runtime.settings.model_copy(update=_CONNECTIONS | _WITHHELD)
    return Task(
        service=name,
        projection=projection,
        settings=settings.model_dump(mode="json"),
        path=sys.path,
        level=_LOG.get_effective_level(),
    )


async def _run(task: Task, tell: Tell) -> Made | int:
    """Let a process do a task; return what it made, or the status that it ended with.

    It is gone when this returns, or is cancelled.
    """
    process = _start()
    try:
        async with _lines(process) as lines:
            _give(process, task)
            while line := await lines.readline():
                told = orjson.loads(line)
                if "records" in told:
                    return Made(**told)
                tell(told["share"])
            return await _reaped(process)
    finally:
        process.kill()
        try:
            await _reaped(process)
        finally:
            process.wait()  # cancelled once more: it was killed, and ends within milliseconds


def _start() -> "subprocess.Popen[bytes]":
    """Start a worker, out of reach of an interrupt at the terminal: the service ends it."""
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", WORKER],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


@asynccontextmanager
async def _lines(process: "subprocess.Popen[bytes]") -> AsyncGenerator[asyncio.StreamReader]:
    """Read what a worker tells; its standard input is closed at the end."""
    reader = asyncio.StreamReader()
    assert process.stdin is not None
    with process.stdin:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), process.stdout
        )
        try:
            yield reader
        finally:
            transport.close()


def _give(process: "subprocess.Popen[bytes]", task: Task) -> None:
    """Give a worker its task; its standard input stays open for as long as it is wanted."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it was killed already
        process.stdin.write(orjson.dumps(task) + b"\n")


async def _reaped(process: "subprocess.Popen[bytes]") -> int:
    """Wait until a process is gone; return its status, negative for a signal.

    Asked for again and again, because what else waits for a child depends on the loop and thread.
    """
    while (status := process.poll()) is None:  # noqa: ASYNC110
        await asyncio.sleep(REAPED_SECONDS)
    return status
