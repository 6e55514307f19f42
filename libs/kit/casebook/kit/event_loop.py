"""Which event loop the processes of Casebook run on: uvloop's, where the system has it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

try:
    from uvloop import new_event_loop
except ImportError:  # a system without it, such as Windows
    from asyncio import new_event_loop

__all__ = ["new_event_loop", "run"]

Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run ``work`` on a loop of its own, as ``asyncio.run`` does; return what it gives."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)
