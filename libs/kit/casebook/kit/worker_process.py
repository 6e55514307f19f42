"""Computing beside the event loop: in a process, because a thread would share its core."""

import asyncio
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")

_pool: ProcessPoolExecutor | None = None


async def in_process(work: Callable[..., Result], *arguments: object) -> Result:
    """Return what a function of a module gives in the worker process, one call after the other.

    The process is started by the first call and kept; one that was killed is started again.
    """
    global _pool  # noqa: PLW0603 - one for all services of a process
    for attempt in range(2):
        if _pool is None:
            _pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_prepare)
        used = _pool
        try:
            return await asyncio.get_running_loop().run_in_executor(used, work, *arguments)
        except BrokenProcessPool:
            if _pool is used:
                _pool = None
            if attempt:
                raise
    raise AssertionError("unreachable")


def _prepare() -> None:
    """Leave interrupts at the terminal to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the parent to end."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
