"""Leaving without loss: on SIGTERM first unready, then deaf, then gone, with status 0.

A load balancer needs a moment to see that a process is about to go; until then it sends requests,
and they are answered. Then the server stops listening and answers what it has taken.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from casebook.kit.logging import get_logger

ANSWER_SECONDS_MAX = 5
"""How long requests in flight have, once the server has stopped listening."""

_LOG = get_logger("process")


@contextmanager
def draining(begin: Callable[[], None], *, notice_seconds: float) -> Generator[None]:
    """Answer SIGTERM by ``begin``, and stop the server of this process a little later.

    A second SIGTERM stops it at once. Without a uvicorn server around it, nothing is done: the
    process is somebody else's.
    """
    handler = signal.getsignal(signal.SIGTERM)
    server = getattr(handler, "__self__", None)
    if not isinstance(server, uvicorn.Server) or not _in_main_thread():
        yield
        return
    if server.config.timeout_graceful_shutdown is None:
        server.config.timeout_graceful_shutdown = ANSWER_SECONDS_MAX
    loop = asyncio.get_running_loop()
    told = False

    def stop() -> None:
        server.should_exit = True  # unlike its own handler, this leaves the exit status alone

    def drain() -> None:
        _LOG.info("process.draining", seconds=notice_seconds)
        begin()
        loop.call_later(notice_seconds, stop)

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        nonlocal told
        if told:
            server.handle_exit(number, frame)
        else:
            told = True
            loop.call_soon_threadsafe(drain)

    signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _in_main_thread() -> bool:
    """Say whether signals may be handled here."""
    return threading.current_thread() is threading.main_thread()
