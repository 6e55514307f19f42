"""An event loop without a machine: its time is a number, and nothing waits for real.

Real coroutines run on it: tasks, timeouts, events and semaphores of asyncio work as they are. What
the loop does not do is choose: whatever is ready runs in order, and the scheduler of the world
(:mod:`tests.simulation.world`) decides what becomes ready next, and when the time moves.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs callbacks in order, and timers when somebody moves the time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = 0

    def __enter__(self) -> "VirtualLoop":
        asyncio._set_running_loop(self)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio._set_running_loop(None)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self.now

    def get_debug(self) -> bool:
        """Say no."""
        return False

    def is_running(self) -> bool:
        """Say yes: nobody asks in between."""
        return True

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Ignore what is said about tasks of killed processes."""

    def create_future(self) -> "asyncio.Future[Any]":
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[Any]":
        """Run a coroutine as a task."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run a callback when its turn comes."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run a callback ``delay`` seconds from now."""
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run a callback at a moment of the virtual time."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer is dropped when its time comes."""

    def settle(self) -> None:
        """Run what is ready until nothing is."""
        ready = self._ready
        while ready:
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def advance(self) -> bool:
        """Move the time to the next timer and run it; say whether there was one."""
        timers = self._timers
        while timers:
            when, _, handle = heapq.heappop(timers)
            if handle._cancelled:
                continue
            self.now = max(self.now, when)
            handle._run()
            return True
        return False

    def close(self) -> None:
        """Forget what was to come."""
        self._ready.clear()
        self._timers.clear()
