"""How the work of one process wakes each other; polling covers other processes.

What is set on one event loop wakes who waits on the other (:mod:`casebook.kit.background`).
"""

import asyncio
import threading
from collections.abc import Iterable

REST_SECONDS_MAX = 0.05


class Signal:
    """Wakes everybody who waits; a waiter that comes late sees the signal too."""

    def __init__(self) -> None:
        self._events: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def subscribe(self) -> asyncio.Event:
        """Return an event that is set at every signal; the subscriber clears it."""
        event = asyncio.Event()
        self._events[event] = asyncio.get_running_loop()
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        """Stop setting an event."""
        self._events.pop(event, None)

    def set(self) -> None:
        """Wake everybody, from whichever thread."""
        here = _running_loop()
        for event, loop in list(self._events.items()):
            if loop is here:
                event.set()
            elif not loop.is_closed():
                loop.call_soon_threadsafe(event.set)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event for at most ``seconds``, and clear it."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()


class Pace:
    """Lets work that is woken by every little thing rest as long as it worked.

    A round costs much the same for one event as for fifty. Under a stream of single events this
    leaves half of the time to whoever makes them, and the next round takes what came meanwhile;
    the first event after a silence never waits.
    """

    def __init__(self, full: int) -> None:
        self._full = full
        self._began = 0.0

    def begin(self) -> None:
        """Begin a round."""
        self._began = asyncio.get_running_loop().time()

    async def rest(self, done: int) -> None:
        """End a round that did so much; one that was half full ends without a rest."""
        if 0 < 2 * done < self._full:
            took = asyncio.get_running_loop().time() - self._began
            await asyncio.sleep(min(took, REST_SECONDS_MAX))


def is_cancelled() -> bool:
    """Say whether the running task was told to end.

    A library that cancels work of its own raises the same error in whoever awaits that work.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Signals:
    """The signals of one service in this process."""

    def __init__(self) -> None:
        self.outbox = Signal()
        """Something was appended."""
        self.applied = Signal()
        """The reader committed a batch."""
        self.timers = Signal()
        """The set of timers may have changed."""
        self.inbox = Signal()
        """A published event may have become ready."""
        self.cases = Names()
        """Cases whose published events may be ready."""


class Names:
    """Names that somebody is to look at; named and taken from whichever thread."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        """Say whether anything is named."""
        return bool(self._names)

    def add(self, names: Iterable[str]) -> None:
        """Name something."""
        with self._lock:
            self._names.update(names)

    def take(self) -> list[str]:
        """Return what is named, and forget it."""
        with self._lock:
            names, self._names = self._names, set()
        return list(names)
