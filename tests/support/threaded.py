"""Something with a loop of its own, in a thread of this process, while a test looks at it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

Value = TypeVar("Value")


@contextlib.contextmanager
def in_thread(
    opened: Callable[[], AbstractAsyncContextManager[Value]], *, ready_seconds_max: float
) -> Iterator[Value]:
    """Keep open what ``opened`` gives until the end of the block; its errors are raised here."""
    found: list[Value] = []
    failed: list[BaseException] = []
    ready, stop = threading.Event(), threading.Event()

    async def keep() -> None:
        async with opened() as value:
            found.append(value)
            ready.set()
            await asyncio.to_thread(stop.wait)

    def work() -> None:
        try:
            asyncio.run(keep())
        except BaseException as error:  # noqa: BLE001 - raised where it was asked for
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        assert ready.wait(ready_seconds_max), "it did not become ready"
        if failed:
            raise failed[0]
        yield found[0]
    finally:
        stop.set()
        thread.join(ready_seconds_max)
    if failed:
        raise failed[0]
