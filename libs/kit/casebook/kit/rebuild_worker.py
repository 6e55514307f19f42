"""The process that makes one read model anew and ends: ``python -m casebook.kit.rebuild_worker``.

Its task comes as a line on standard input, which stays open as long as somebody wants the result.
It writes lines on standard output: ``{"share": 0.4}`` now and then, and at the end what it made.
"""

import asyncio
import gc
import logging
import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from threading import Thread
from typing import Any

import orjson

from casebook.kit.logging import configure_logging, get_logger
from casebook.kit.rebuild import rebuild_here
from casebook.kit.rebuild_process import Made, Task
from casebook.kit.runtime import Runtime
from casebook.kit.service import Service
from casebook.kit.settings import Settings
from casebook.kit.starting import connect

GARBAGE_ALLOCATIONS = 50_000
"""How many more objects there are when cycles are looked for: batches have none, and are large."""
_LOG = get_logger("rebuild")


def main() -> None:
    """Do the task that standard input holds; the exit status is 1 if that failed."""
    say = _speaker()
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit(1)
    Thread(target=_end_with_parent, daemon=True).start()
    task: Task = orjson.loads(line)
    sys.path[:] = task["path"]
    configure_logging(logging.getLevelName(task["level"]))
    try:
        made = asyncio.run(_made(task, say))
    except Exception as error:  # noqa: BLE001 - told here, where its traceback is
        _LOG.critical("rebuild.failed", projection=task["projection"], exc_info=error)
        sys.exit(1)
    say(asdict(made))


def load(name: str) -> Service:
    """Return the service that ``module:attribute`` names."""
    module, _, attribute = name.partition(":")
    service: Service = getattr(import_module(module), attribute)
    return service


async def _made(task: Task, say: Callable[[dict[str, Any]], None]) -> Made:
    """Rebuild as the task says; a database that is away is waited for."""
    service = load(task["service"])
    (projection,) = (one for one in service.projections if one.name == task["projection"])
    runtime = Runtime(service, Settings(**task["settings"]))
    gc.freeze()
    gc.set_threshold(GARBAGE_ALLOCATIONS)
    try:
        await connect(runtime.database.work, given_up=lambda: False, seconds_max=math.inf)
        await runtime.log.start()
        return await rebuild_here(runtime, projection, lambda share: say({"share": share}))
    finally:
        await runtime.stop()


def _speaker() -> Callable[[dict[str, Any]], None]:
    """Return what writes a line to the service; whatever else is printed goes to the log."""
    channel = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return lambda told: _write(channel, orjson.dumps(told) + b"\n")


def _write(channel: int, line: bytes) -> None:
    """Write a line, which is short enough for one call."""
    os.write(channel, line)


def _end_with_parent() -> None:
    """End this process when standard input ends: nobody waits for its work any more."""
    while os.read(sys.stdin.fileno(), 1024):  # a buffered read would lock the exit
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
