"""The background work of a process: an event loop in a thread of its own (ADR 0070).

Readers and promoters fold hundreds of events at a time. On the loop that answers people, each of
those steps would hold up every request in flight; here the interpreter lets both take turns.
"""

import asyncio
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from casebook.kit.logging import get_logger

Result = TypeVar("Result")

TURN_SECONDS = 0.0005
"""How long one thread computes while another one waits to; a request takes dozens of turns, so
that the default of the interpreter, ten times as long, would be felt."""

JOIN_SECONDS_MAX = 10.0
"""How long a process waits for the thread at its end, which takes it along in any case."""


class BackgroundLoop:
    """An event loop beside the one that answers requests; the services of a process share it."""

    def __init__(self) -> None:
        self._users = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._turn_seconds = 0.0

    def start(self) -> None:
        """Begin to use it; its thread starts with the first user."""
        self._users += 1
        if self._users > 1:
            return
        self._turn_seconds = sys.getswitchinterval()
        sys.setswitchinterval(TURN_SECONDS)
        started = threading.Event()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._serve(started),), name="background", daemon=True
        )
        self._thread.start()
        started.wait()

    def stop(self) -> None:
        """Give it up; its thread ends with the last user, and what still runs is cancelled."""
        self._users -= 1
        if self._users or self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(JOIN_SECONDS_MAX)
        if self._thread.is_alive():
            get_logger("background").critical("background.does-not-end")
        self._thread = self._loop = None
        sys.setswitchinterval(self._turn_seconds)

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what ``work`` gives, which runs there; whoever is cancelled here cancels it.

        :raises RuntimeError: when nobody has started it.
        """
        if self._loop is None:
            work.close()
            raise RuntimeError("the background has not been started")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _serve(self, started: threading.Event) -> None:
        """Run what is given, until stopped."""
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        started.set()
        await self._ended.wait()
