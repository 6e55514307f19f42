"""The process that makes one read model anew and ends (``python -m`` of this module).

Its task comes as a line on standard input, which stays open as long as somebody wants the result.
It writes lines on standard output: ``{"share": 0.4}`` now and then, and at the end what it made.
"""

import asyncio
import logging
import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from typing import Any

import orjson

from casebook.kit.child_process import collect_garbage_rarely, when_parent_ends
from casebook.kit.logging import configure_logging, get_logger
from casebook.kit.rebuilding.process import Made, Task
from casebook.kit.rebuilding.rebuild import rebuild_here
from casebook.kit.runtime import Runtime
from casebook.kit.service import Service
from casebook.kit.settings import Settings
from casebook.kit.starting import connect

_LOG = get_logger("rebuild")


def main() -> None:
    """Do the task that standard input holds; the exit status is 1 if that failed."""
    say = _speaker()
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit(1)
    when_parent_ends(lambda: os._exit(1))  # nobody waits for its work any more
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
    collect_garbage_rarely()
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


if __name__ == "__main__":
    main()
