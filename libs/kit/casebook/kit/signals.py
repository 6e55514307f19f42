"""How the background work of one process wakes each other; polling covers other processes."""

import asyncio


class Signal:
    """Wakes everybody who waits; a waiter that comes late sees the signal too."""

    def __init__(self) -> None:
        self._events: dict[asyncio.Event, None] = {}

    def subscribe(self) -> asyncio.Event:
        """Return an event that is set at every signal; the subscriber clears it."""
        event = asyncio.Event()
        self._events[event] = None
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        """Stop setting an event."""
        self._events.pop(event, None)

    def set(self) -> None:
        """Wake everybody."""
        for event in self._events:
            event.set()


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event for at most ``seconds``, and clear it."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()


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
        self.ready_cases: set[str] = set()
        """Cases whose published events may be ready."""
